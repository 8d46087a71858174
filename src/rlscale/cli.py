"""The command line: parse, load, call, show.

Heavy libraries are imported inside the commands, so that `rlscale --help` answers at once. A user's mistake is one line
on stderr and exit code 2; anything else that escapes is a bug and keeps its traceback.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rlscale import (
    cli_audit,
    cli_crate,
    cli_diff,
    cli_gc,
    cli_grade,
    cli_jobs,
    cli_law,
    cli_lint,
    cli_next,
    cli_outlook,
    cli_plan,
    cli_snapshot,
    cli_status,
    stages,
)
from rlscale.cli_examples import epilogue
from rlscale.cli_output import Json, Study, emit, print_json
from rlscale.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure the scaling law of reinforcement-learning post-training.",
)

app.add_typer(stages.app, name="stage", hidden=True)


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit: 0, or 2 with a sentence on stderr where the input is wrong."""
    try:
        app(args=argv, prog_name="rlscale")
    except UserError as error:
        for line in str(error).splitlines():
            typer.echo(f"error: {line}", err=True)
        sys.exit(2)


@app.command(epilog=epilogue("validate"))
def validate(study: Study, as_json: Json = False) -> None:
    """Check a study and its ladder, and say what it would train."""
    from rlscale.config import find_study, load_grid, load_study
    from rlscale.study import PublishedStudy

    path = find_study(study)
    loaded = load_study(path)
    summary: dict[str, object] = {"study": path.stem, "path": str(path), "kind": loaded.kind}
    if isinstance(loaded, PublishedStudy):
        summary["points"] = loaded.points
        said = f"trains nothing; fits the law on {loaded.points}"
    else:
        grid = load_grid(path)[2]
        cells = sum(len(run.budgets) for run in grid.runs.values())
        summary |= {"runs": len(grid.runs), "cells": cells, "excluded": len(grid.excluded)}
        said = (
            f"{len(grid.runs)} runs, {cells} cells, {len(grid.bases)} base models, {len(grid.excluded)} runs excluded"
        )
    emit(summary, as_json, f"{path.stem} is valid: {said}")


@app.command(epilog=epilogue("cells"))
def cells(study: Study, as_json: Json = False) -> None:
    """List the runs and cells of a study, their ids, fingerprints, expected FLOPs, and GPUs where they are stated."""
    from rlscale.cli_tables import show_cells
    from rlscale.config import find_study, load_grid
    from rlscale.price import grid_price

    path = find_study(study)
    price = grid_price(*load_grid(path))
    if as_json:
        print_json({"study": path.stem, **price.to_json()})
    else:
        show_cells(path.stem, price)


for _command in (
    *(cli_law.fit, cli_law.forecast, cli_law.compare, cli_law.findings, cli_plan.plan),
    *(cli_grade.grade, cli_lint.lint, cli_status.status, cli_jobs.jobs, cli_audit.audit),
    *(cli_diff.diff, cli_gc.gc, cli_crate.crate, cli_snapshot.snapshot, cli_outlook.outlook),
):
    app.command(epilog=epilogue(_command.__name__))(_command)
app.command("next", epilog=epilogue("next"))(cli_next.next_runs)


@app.command(epilog=epilogue("summary"))
def summary(
    study: Study,
    as_json: Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown tables: law, forecasts, claims, digests of all results.")
    ] = False,
) -> None:
    """Show the fitted law of a finished study, and where its figures and tables are."""
    from rlscale.cli_tables import show_summary
    from rlscale.config import find_study
    from rlscale.paths import StudyPaths
    from rlscale.summary import study_summary
    from rlscale.summary_markdown import summary_markdown

    if as_json and markdown:
        raise UserError("--json and --markdown exclude each other; give one of them")
    paths = StudyPaths(find_study(study).stem)
    found = study_summary(paths)
    if as_json:
        print_json({"study": paths.study, **found.to_json()})
    elif markdown:
        typer.echo(summary_markdown(paths, found), nl=False)
    else:
        show_summary(paths.study, found)


@app.command(hidden=True)
def schema(
    folder: Annotated[Path, typer.Option(help="Where the files go.")] = Path("config/schema"), as_json: Json = False
) -> None:
    """Write the JSON Schemas of studies and ladders, which editors read."""
    from rlscale.files import write_text
    from rlscale.schema import schemas

    written = {}
    for name, text in schemas().items():
        path = folder / f"{name}.schema.json"
        write_text(path, text)
        written[name] = str(path)
    emit({"written": written}, as_json, "wrote " + ", ".join(written.values()))
