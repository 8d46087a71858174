"""What a page is made of, as a stage has read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Material:
    """Tables and JSON values of one study.

    Attributes:
        study: its name.
        told: the specification of the page: kind, planned runs, exclusions, gates, fits and figures.
        curves: one row per run and evaluated step.
        points: those that the law was fitted on, checked.
        fits: by name (X and loss space), as ``fit.json`` has them.
        comparison: JSON of the tournament.
        ranking: its ranking.
        forecasts: forecasts of sealed sizes by X.
        findings: JSON of claims and of the law of reuse.
        sensitivity: how the law's numbers move with choices.
        steps: by run, one row per optimiser step; empty where nothing was trained.
        root: folder of the study, relative to the repository's root.
        files: what the page is made of, by what it is: curves, fit ...; paths from the repository's root.
        records: the records of those files, by the record's path; JSON values.
    """

    study: str
    told: Mapping[str, Any]
    curves: pd.DataFrame
    points: pd.DataFrame
    fits: Mapping[str, Any]
    comparison: Mapping[str, Any]
    ranking: pd.DataFrame
    forecasts: Mapping[str, Any]
    findings: Mapping[str, Any]
    sensitivity: pd.DataFrame
    steps: Mapping[str, pd.DataFrame]
    root: str
    files: Mapping[str, str]
    records: Mapping[str, Mapping[str, Any]]
