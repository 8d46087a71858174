"""The examples that end the help of each command. A test parses every line, and runs those that are quick."""

_POINTS = "config/data/tan2025_base_curves.csv"

EXAMPLES: dict[str, tuple[str, ...]] = {
    "validate": ("validate mini", "validate path/to/my.yaml --json"),
    "cells": ("cells mini", "cells paper-63 --json"),
    "fit": (
        f"fit {_POINTS} --x compute",
        f"fit {_POINTS} --x samples --law additive",
        "fit results/mini/law/points.csv --x compute --intervals profile",
    ),
    "forecast": (
        "forecast results/mini/law/points.csv --x compute --protocol early-size",
        "forecast points.csv --x samples --protocol early-time --fraction 0.3",
    ),
    "compare": ("compare results/mini/law/points.csv", f"compare {_POINTS} --x compute --json"),
    "findings": ("findings mini", "findings mini --json"),
    "plan": (
        f"plan {_POINTS} --target-loss 0.45 --gpu H100",
        "plan published --budget 500gpuh --gpu A100",
        "plan mini --budget 1e12 --unique-problems 16000",
        "plan published --from-size 7e9 --at-compute 1e19 --budget 2e19",
        "plan results/mini/law/fit.json --target-loss 0.1 --json",
    ),
    "next": (
        "next published --goal n_0 --budget 2000gpuh --gpu H100 --size 7.2e10",
        "next mini --goal-size 330000 --goal-compute 1e13 --budget 1e13",
        "next mini --goal k_max --budget 1e13 --output my.yaml",
    ),
    "outlook": ("outlook mini", "outlook mini --blind-at 100 --json"),
    "grade": ("grade answers.jsonl", "grade answers.jsonl --deadline 5 --workers 4 --json"),
    "lint": (
        "lint paper-54",
        "lint --train subset_2048.parquet --suite test_500.parquet",
    ),
    "status": (
        "status mini",
        "status mini --state failed,stopped",
        "status mini --run 'q12k_*' --json",
    ),
    "jobs": ("jobs", "jobs --study mini --cancel", "jobs --wait"),
    "audit": (
        "audit mini",
        "audit --quick results/mini/figures/slope_compute.svg",
        "audit mini --rebuild --from rollouts --html audit.html",
    ),
    "diff": ("diff mini HEAD~1", "diff mini ../other-clone . --exit-code"),
    "gc": ("gc mini --dry-run", "gc mini --keep 1,40,500 --yes"),
    "crate": (
        "crate mini --out mini.crate.zip",
        'crate mini --agent "Josiah Carberry" --orcid 0000-0002-1825-0097',
    ),
    "snapshot": ("snapshot mini",),
    "summary": ("summary mini", "summary mini --markdown"),
}
"""By command: what follows `rlscale` on the command line."""


def epilogue(command: str) -> str | None:
    """Return the end of the help of a command; None where it has no examples."""
    lines = EXAMPLES.get(command, ())
    return "\n".join(["Examples:", *(f"rlscale {line}" for line in lines)]) if lines else None
