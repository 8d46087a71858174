"""The command that checks the data of a study before anything is trained."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlscale import cli_completion
from rlscale.cli_output import Json, print_json
from rlscale.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    Tables = dict[str, pd.DataFrame]


def lint(  # noqa: PLR0917 (on the command line the options are named)
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="A study with a parquet task; or else name files.",
            autocompletion=cli_completion.studies,
        ),
    ] = None,
    train: Annotated[list[Path] | None, typer.Option(help="Parquet file of training problems; repeat it.")] = None,
    suite: Annotated[list[Path] | None, typer.Option(help="Parquet file of test problems; repeat it.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Samples that each training file is to serve for.")] = None,
    pass_rate: Annotated[
        str | None, typer.Option(help="Key of extra_info that holds a problem's pass rate (GURU's of a 7B model).")
    ] = None,
    easy_from: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least pass rate of an easy problem (0.3).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Report what the data mean for the curves: leaks, difficulty, nesting, curriculum, reuse."""
    from rlscale.tasks.protocol_lint import EASY_FROM, RATE_KEY, lint_protocol

    if (study is None) == (not train):
        raise UserError("lint needs either a STUDY, or files with --train and --suite")
    if study is not None:
        trained, suites, samples = _of_study(study)
    else:
        trained, suites = _read(train or []), _read(suite or [])
    found = lint_protocol(
        trained,
        suites,
        samples=samples,
        pass_rate=pass_rate or RATE_KEY,
        easy_from=EASY_FROM if easy_from is None else easy_from,
    )
    if as_json:
        print_json({"observations": [asdict(one) for one in found]})
        return
    for one in found:
        typer.echo(f"{one.verdict.upper():8}{one.check}: {one.said}")
    warnings = sum(one.verdict == "warning" for one in found)
    typer.echo(f"{len(found)} observations, {warnings} to read the curves with")


def _read(files: list[Path]) -> "Tables":
    from rlscale.tasks.parquet import read_problems

    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        raise UserError(f"files must differ in name, got {', '.join(map(str, files))}")
    return {name: read_problems(file) for name, file in zip(names, files, strict=True)}


def _of_study(name: str) -> tuple["Tables", "Tables", int]:
    """Return the training problems of each tau of a study, its suites, and the samples of its longest run."""
    from rlscale.config import find_study, load_grid
    from rlscale.task_spec import ParquetTask
    from rlscale.tasks.parquet import ParquetProblems, read_problems
    from rlscale.tasks.sources import local_file
    from rlscale.tasks.subsets import subset

    path = find_study(name)
    study, _, grid = load_grid(path)
    if not isinstance(study.task, ParquetTask):
        raise UserError(f"{path}: task.kind is {study.task.kind}: only problems from files (parquet) can be linted")
    source = ParquetProblems(study.task)
    taus = sorted({run.tau for run in grid.runs.values()})
    pool = source.train((), 1.0, 0, study.train_problems)
    kept = {tau: study.train_problems // tau for tau in taus}
    how, seed = study.task.subsets, study.seed_offset
    trained = {f"tau={tau}": subset(pool, kept[tau], how, tau=tau, seed=seed) for tau in taus}
    suites = {suite: read_problems(local_file(file)) for suite, file in study.task.suites.items()}
    return trained, suites, study.budgets.steps[-1] * study.training.prompts_per_step
