"""The job that makes the page of a study, from all of its results."""

from pathlib import Path
from typing import Any

from rlscale.files import read_json, write_text
from rlscale.job import logged_job
from rlscale.paths import StudyPaths


def report(study: str) -> None:
    """Make the page of the study: one file with its figures, planner and provenance."""
    from rlscale.provenance import write_record
    from rlscale.report import render_page

    paths = StudyPaths(study)
    with logged_job("report", paths.log("report", "report")) as started:
        told = read_json(paths.spec("study", "report"))
        files = {
            "curves": paths.curves,
            "points": paths.law_points,
            "fit": paths.fit,
            "comparison": paths.comparison,
            "ranking": paths.ranking,
            "forecasts": paths.forecasts,
            "findings": paths.findings,
            "sensitivity": paths.sensitivity,
        }
        steps = {run: paths.steps(run) for run in told["runs"]}
        inputs = [paths.spec("study", "report"), *files.values(), *steps.values()]
        write_text(paths.report, render_page(_material(paths, told, files, steps)))
        write_record(paths.report, study=study, stage="report", inputs=inputs, started=started)


def _material(paths: StudyPaths, told: dict[str, Any], files: dict[str, Path], steps: dict[str, Path]) -> Any:
    import pandas as pd

    from rlscale.paths import producing_record
    from rlscale.points import read_points
    from rlscale.report import Material

    # Of a run, what the cost is counted from; a column that its trainer does not keep is left out.
    wanted = ("tokens_rollout", "compute_flops", "flops_", "seconds_")
    tables = {run: pd.read_parquet(path) for run, path in steps.items()}
    records = {str(path): read_json(path) for file in files.values() if (path := producing_record(file))}
    return Material(
        study=paths.study,
        told=told,
        curves=pd.read_parquet(paths.curves),
        points=read_points(paths.law_points),
        fits=read_json(paths.fit)["fits"],
        comparison=read_json(paths.comparison),
        ranking=pd.read_csv(paths.ranking),
        forecasts=read_json(paths.forecasts),
        findings=read_json(paths.findings),
        sensitivity=pd.read_csv(paths.sensitivity),
        steps={run: rows[[name for name in rows if str(name).startswith(wanted)]] for run, rows in tables.items()},
        root=str(paths.root),
        files={name: str(path) for name, path in files.items()},
        records=records,
    )
