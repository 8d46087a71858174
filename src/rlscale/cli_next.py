"""The command `rlscale next`: which runs to train next, and the study that adds them.

This module reads and writes; `rlscale.plan` decides, `rlscale.overlay` edits the study, `cli_next_tables` shows.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rlscale import cli_plan as options
from rlscale.cli_output import Json, print_json
from rlscale.cli_plan import read_fit, read_hardware
from rlscale.errors import UserError
from rlscale.paths import StudyPaths


def next_runs(  # noqa: PLR0917 (on the command line the options are named)
    source: options.Source,
    budget: Annotated[str | None, typer.Option(help="To spend: 1e21 (FLOPs of the law), 500gpuh or 2000usd.")] = None,
    goal: Annotated[str | None, typer.Option(help="Whose interval is to shrink: loss, n_0 or k_max.")] = None,
    goal_size: Annotated[float | None, typer.Option(help="Of the loss that is to be known: parameters.")] = None,
    goal_compute: Annotated[float | None, typer.Option(help="Of the loss that is to be known: FLOPs.")] = None,
    size: Annotated[
        list[float] | None, typer.Option("--size", help="A further size that could be trained, in parameters.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Length of the runs; that of the fitted ones without.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, max=100, help="Further runs of a size at most.")] = 4,
    output: Annotated[Path | None, typer.Option(help="Write the study with the chosen runs to this YAML file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output.")] = False,
    gpu: options.Gpu = None,
    peak_flops: options.Peak = None,
    mfu: options.Mfu = 0.3,
    overhead: options.Overhead = 2.0,
    gpus: options.Gpus = 1,
    price: options.Price = None,
    x: Annotated[Literal["compute", "samples"], typer.Option("--x", help="X of the law.")] = "compute",
    loss: Annotated[Literal["linear", "log", "huber"], typer.Option(help="Residuals of the law.")] = "linear",
    variant: Annotated[str | None, typer.Option(help="Variant to use, where the points hold several.")] = None,
    draws: Annotated[int, typer.Option(min=100, help="Points: replicates of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of all random numbers.")] = 0,
    as_json: Json = False,
) -> None:
    """Rank the runs to train next by how much of an interval they take away per GPU-hour, and choose a batch."""
    from rlscale.cli_next_tables import show_next
    from rlscale.plan.further_runs import NextRequest, counts
    from rlscale.plan.further_runs import next_runs as decide
    from rlscale.plan.request import read_budget

    if budget is None:
        raise UserError("no budget: give --budget, such as 1e21 (FLOPs of the law), 500gpuh or 2000usd")
    request = NextRequest(goal, goal_size, goal_compute, read_budget(budget), tuple(size or ()), steps, most)
    request.checked_goal()
    hardware = read_hardware(gpu=gpu, peak=peak_flops, mfu=mfu, overhead=overhead, gpus=gpus, price=price)
    study, models = _study(source)
    if output is not None:
        _check_output(output, study, models, force=force, named=bool(size or steps))
    fit = _fit(source, study, x=x, loss=loss, variant=variant, draws=draws, seed=seed)
    known = None if models is None or size else models
    found = decide(fit, request, hardware, models=known, seed=seed)
    written = None
    if output is not None and study is not None:
        written = _write(output, study, counts(found.batch))
    made = found.to_json(hardware) | {"overlay": written}
    if as_json:
        print_json(made)
        return
    show_next(made, trains=models is not None, study=None if study is None else study.stem)


def _study(source: str) -> tuple[Path | None, dict[float, str] | None]:
    """Return the file of a study and the sizes of its ladder by parameters; None for what is not there."""
    from rlscale.config import find_study, load_expanded
    from rlscale.ladder import HubModel

    if Path(source).suffix in (".csv", ".parquet", ".json"):
        return None, None
    path = find_study(source)
    study, ladder, grid = load_expanded(path)
    if grid is None or ladder is None:
        return path, None
    limit = study.law.max_params or float("inf")
    sizes = {
        float(shape.params if isinstance(shape, HubModel) else shape.non_embedding_params): name
        for name, shape in ladder.models.items()
    }
    return path, {params: name for params, name in sizes.items() if params <= limit}


def _check_output(
    output: Path, study: Path | None, models: dict[float, str] | None, *, force: bool, named: bool
) -> None:
    from rlscale.config import shipped_studies

    if study is None:
        raise UserError("--output: only a study can be extended; the source is a fit or points")
    if models is None:
        raise UserError(f"--output: study {study.stem} trains nothing (its kind is published), so no run can be added")
    if named:
        raise UserError("--output: goes without --size and --steps; a study trains sizes of its ladder to its budgets")
    if output.suffix not in (".yaml", ".yml"):
        raise UserError(f"--output {output}: allowed: a .yaml file, whose name becomes the study's")
    shipped = shipped_studies().get(output.stem)
    if shipped is not None and shipped.resolve() != output.resolve():
        raise UserError(
            f"--output {output}: a shipped study is called {output.stem}; allowed: {shipped} itself, with --force, or "
            "another name"
        )
    if output.exists() and not force:
        raise UserError(f"--output {output}: exists; --force overwrites it")


def _fit(
    source: str, study: Path | None, *, x: Any, loss: Any, variant: str | None, **bootstrap: Any
) -> dict[str, Any]:
    from rlscale.fit import fit_points
    from rlscale.points import read_points

    path = Path(source)
    if path.suffix in (".csv", ".parquet"):
        table = read_points(path, variant=variant)
        return fit_points(table, x=x, loss=loss, intervals="bootstrap", **bootstrap).to_json()
    return read_fit(path if study is None else StudyPaths(study.stem).fit, x, loss)


def _write(output: Path, study: Path, wanted: dict[str, int]) -> dict[str, Any]:
    """Write the study with more runs, and say what it shares with the old one."""
    from rlscale.config import shipped_studies
    from rlscale.files import write_text
    from rlscale.overlay import add_runs

    shipped = {path.resolve() for path in shipped_studies().values()}
    made = add_runs(study, wanted)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, made.text)
    return {
        "path": str(output),
        "command": f"snakemake {study.stem}" if output.resolve() in shipped else f"snakemake --config study={output}",
        "added": made.added,
        "kept": made.kept,
        "shares_results": output.stem == study.stem,
        "results": str(StudyPaths(output.stem).root),
    }
