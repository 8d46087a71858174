"""A finished study, made in a moment: every file and record where a real run leaves it, with made-up bytes."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from rlscale.config import load_expanded
from rlscale.files import write_bytes, write_text
from rlscale.paths import StudyPaths, record_of
from rlscale.provenance import write_record
from rlscale.specifications import Specifications

REPOSITORY = Path(__file__).resolve().parents[1]
STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def copy_workflow(folder: Path) -> None:
    """Copy what of the repository says how a study is run."""
    for name in ("workflow", "config", "envs"):
        shutil.copytree(REPOSITORY / name, folder / name)
    shutil.copy2(REPOSITORY / "Snakefile", folder)


def finish_study(name: str) -> StudyPaths:
    """Let every job of a trained study of ``config/studies`` have ended, in the current folder."""
    paths = StudyPaths(name)
    study, ladder, grid = load_expanded(Path(f"config/studies/{name}.yaml"))
    assert grid
    specifications = Specifications(paths, study, ladder, grid)
    for path, text in specifications.texts():
        write_text(path, text)

    def job(
        stage: str, inputs: list[Path], outputs: list[Path], job_name: str = "", adapter: str | None = None
    ) -> None:
        for path in outputs:
            for file in (path / "model.safetensors", path / "config.json") if not path.suffix else (path,):
                write_bytes(file, f"made up: {file}\n".encode())
        write_record(
            outputs[0],
            study=name,
            stage=stage,
            name=job_name,
            adapter=adapter,
            inputs=inputs,
            outputs=outputs[1:],
            started=STARTED,
            facts={"seed": 0} if stage == "train" else {},
        )

    told = {stage: paths.spec("study", stage) for stage in ("suites", "evaluation", "curves", "law", "findings")}
    for pool in grid.pools:
        job("pool", [paths.spec("pools", pool)], [paths.pool(pool)], pool)
    job("suites", [told["suites"]], [paths.suites])
    for base in grid.bases:
        job("base", [paths.spec("bases", base)], [paths.base(base)], base)
    for run_id, run in grid.runs.items():
        checkpoints = [paths.checkpoint(run_id, step) for step in run.budgets]
        given = [paths.cell(run_id), paths.base(run.base_id), paths.pool(run.pool_id)]
        job("train", given, [paths.steps(run_id), *checkpoints], run_id, "local")
        given = [
            told["evaluation"],
            paths.suites,
            record_of(paths.steps(run_id)),
            paths.base(run.base_id),
            *checkpoints,
        ]
        job("evaluate", given, [paths.rollouts(run_id)], run_id, "local")
        given = [paths.rollouts(run_id), paths.suites, paths.cell(run_id)]
        job("grade", given, [paths.scores(run_id), paths.problem_scores(run_id)], run_id)
    scores = [path(run_id) for run_id in grid.runs for path in (paths.scores, paths.steps)]
    job("curves", [told["curves"], *scores], [paths.curves, paths.curves_csv, paths.all_scores])
    problems = [paths.problem_scores(run_id) for run_id in grid.runs]
    job("law", [told["law"], paths.curves, *problems], [paths.fit, paths.law_points])
    job("compare", [told["law"], paths.law_points], [paths.comparison, paths.ranking, paths.forecasts])
    job("sensitivity", [told["law"], paths.law_points], [paths.sensitivity])
    job("findings", [told["findings"], paths.curves, paths.fit, paths.all_scores], [paths.findings])
    job("metrics", [paths.fit, paths.ranking, paths.curves], [paths.metrics])
    shown = [paths.curves, paths.law_points, paths.fit, paths.comparison, paths.ranking, paths.forecasts]
    shown += [paths.findings, paths.sensitivity, *(paths.steps(run_id) for run_id in grid.runs)]
    job("report", [paths.spec("study", "report"), *shown], [paths.report])
    for figure in specifications.figures:
        given = [paths.spec("figures", figure), paths.curves, paths.fit]
        job("figure", given, [paths.figure(figure, "svg"), paths.figure(figure, "png")], figure)
    return paths
