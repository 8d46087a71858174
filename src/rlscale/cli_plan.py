"""The command `rlscale plan`: from a target loss or a budget to size, steps, GPU-hours and money.

This module reads what the plan rests on; `rlscale.plan` decides, `rlscale.cli_plan_tables` shows.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rlscale import cli_completion
from rlscale.cli_output import Json, print_json
from rlscale.errors import UserError, did_you_mean
from rlscale.paths import StudyPaths

if TYPE_CHECKING:
    import pandas as pd

    from rlscale.plan import Evidence, Hardware, Request

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="CSV or Parquet of points, a study, or a fit.json.",
        autocompletion=cli_completion.sources,
    ),
]
Target = Annotated[float | None, typer.Option(help="Test loss to reach.")]
Budget = Annotated[str | None, typer.Option(help="To spend: 1e21 (FLOPs of the law), 500gpuh or 2000usd.")]
Unique = Annotated[float | None, typer.Option(help="Unique problems to train on; unlimited without.")]
FromSize = Annotated[float | None, typer.Option(help="Parameters of the size that already learns.")]
AtCompute = Annotated[float | None, typer.Option(help="FLOPs that it has had; its last fitted point without.")]
Tokens = Annotated[float, typer.Option(help="Tokens that the trained model is to serve.")]
Sizes = Annotated[
    list[float] | None, typer.Option("--size", help="A further size, in parameters, whose level is modelled.")
]
Gpu = Annotated[str | None, typer.Option(help="Name of a GPU, such as H100.", autocompletion=cli_completion.gpus)]
Peak = Annotated[float | None, typer.Option(help="Peak FLOPs a second of a GPU that is not in the table.")]
Mfu = Annotated[float, typer.Option(help="Share of the peak that is reached.")]
Overhead = Annotated[float, typer.Option(help="FLOPs of the whole job over the law's 6·N·T of the update.")]
Gpus = Annotated[int, typer.Option(help="GPUs that work at once.")]
Price = Annotated[float | None, typer.Option(help="Price of a GPU-hour.")]


def plan(  # noqa: PLR0917 (on the command line the options are named)
    source: Source,
    target_loss: Target = None,
    budget: Budget = None,
    unique_problems: Unique = None,
    from_size: FromSize = None,
    at_compute: AtCompute = None,
    inference_tokens: Tokens = 0.0,
    size: Sizes = None,
    gpu: Gpu = None,
    peak_flops: Peak = None,
    mfu: Mfu = 0.3,
    overhead: Overhead = 2.0,
    gpus: Gpus = 1,
    price: Price = None,
    x: Annotated[Literal["compute", "samples"], typer.Option("--x", help="X of the law.")] = "compute",
    loss: Annotated[Literal["linear", "log", "huber"], typer.Option(help="Residuals of the law.")] = "linear",
    variant: Annotated[str | None, typer.Option(help="Variant to use, where the points hold several.")] = None,
    max_params: Annotated[float | None, typer.Option(help="Points: fit sizes up to this many parameters only.")] = None,
    draws: Annotated[int, typer.Option(min=100, help="Points: replicates of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of all random numbers.")] = 0,
    findings: Annotated[Path | None, typer.Option(help="A findings.json whose law of reuse is used.")] = None,
    as_json: Json = False,
) -> None:
    """Plan from a fitted law: compute for a target loss, loss for a budget, more RL or a bigger base."""
    from rlscale.cli_plan_tables import show_plan
    from rlscale.plan import Request, make_plan
    from rlscale.plan.request import read_budget

    spent = None if budget is None else read_budget(budget)
    request = Request(target_loss, spent, unique_problems, from_size, at_compute, inference_tokens)
    request.check()
    hardware = read_hardware(gpu=gpu, peak=peak_flops, mfu=mfu, overhead=overhead, gpus=gpus, price=price)
    wrong = [value for value in size or [] if not 1 <= value < 1e18]
    if wrong:
        raise UserError(f"--size is {wrong[0]!r}; allowed: a number of parameters, 1 or more")
    fit_options: dict[str, Any] = {"x": x, "loss": loss, "variant": variant, "max_params": max_params}
    fit_options |= {"draws": draws, "seed": seed}
    evidence = _evidence(source, request, sizes=size or [], findings=findings, **fit_options)
    made = make_plan(evidence, request, hardware)
    print_json(made) if as_json else show_plan(made)


def read_hardware(
    *, gpu: str | None, peak: float | None, mfu: float, overhead: float, gpus: int, price: float | None
) -> "Hardware":
    """Return the hardware that the options state.

    Raises:
        UserError: an option is not allowed, or two exclude each other.
    """
    from math import isfinite

    from rlscale.plan import Hardware, find_gpu

    if gpu is not None and peak is not None:
        raise UserError("--gpu and --peak-flops exclude each other; give one of them")
    for name, value in {"--peak-flops": peak, "--price": price, "--gpus": gpus, "--overhead": overhead}.items():
        if value is not None and not (isfinite(value) and value > 0):
            raise UserError(f"{name} is {value!r}; allowed: a positive number")
    if not 0 < mfu <= 1:
        raise UserError(f"--mfu is {mfu!r}; allowed: above 0 and at most 1")
    if overhead < 1:
        raise UserError(f"--overhead is {overhead!r}; allowed: 1 or more (1: the update alone)")
    name = ""
    if gpu is not None:
        name, peak = find_gpu(gpu)
    if price is not None and peak is None:
        raise UserError("--price is of a GPU-hour: give --gpu or --peak-flops too")
    return Hardware(peak, mfu, overhead, gpus, price, name)


def _evidence(
    source: str,
    request: "Request",
    *,
    x: Literal["compute", "samples"],
    loss: Literal["linear", "log", "huber"],
    sizes: list[float],
    findings: Path | None,
    variant: str | None,
    max_params: float | None,
    draws: int,
    seed: int,
) -> "Evidence":
    """Read or make the fit, and whatever else there is beside it."""
    from rlscale.config import find_study
    from rlscale.fit import fit_points
    from rlscale.plan import Evidence, read_lines, read_supply
    from rlscale.points import read_points
    from rlscale.report.evidence import fitted_floors

    path = Path(source)
    points: pd.DataFrame | None = None
    comparison, reuse = None, None
    if path.suffix in (".csv", ".parquet"):
        options: dict[str, Any] = {"max_params": max_params, "draws": draws, "seed": seed}
        points = read_points(path, variant=variant)
        fit = fit_points(points, x=x, loss=loss, intervals="bootstrap", **options).to_json()
        reuse = None if request.unique_problems is None else _fitted_reuse(points, loss)
    else:
        if max_params is not None:
            raise UserError("--max-params: is for points; a fit that exists has the sizes that it was made from")
        path = path if path.suffix == ".json" else StudyPaths(find_study(source).stem).fit
        fit = read_fit(path, x, loss)
        points = _points_beside(path, fit)
        comparison = _beside(path, "compare.json")
        reuse = (_beside(path, "findings.json") or {}).get("reuse")
    if findings is not None:
        reuse = (_json(findings) or {}).get("reuse")
    lines = read_lines(fit, sizes=sizes, seed=seed)
    supply = None
    if request.unique_problems is not None:
        supply = read_supply(reuse, request.unique_problems, len(lines.slope), seed=seed)
    floors = None if points is None or request.target is None else fitted_floors(fit, lines, points)
    return Evidence(fit, lines, comparison, floors, supply)


def _fitted_reuse(points: "pd.DataFrame", loss: Any) -> dict[str, Any] | None:
    from rlscale.findings import fit_reuse, reuse_points

    if not {"run", "tau", "unique_samples"} <= set(points):
        return None
    used = reuse_points(points, first_step=1)
    return None if used is None else fit_reuse(used, loss="log" if loss == "huber" else loss).to_json()


def read_fit(path: Path, x: str, loss: str) -> dict[str, Any]:
    """Return one fit of a file that holds one, or several by X and loss.

    Raises:
        UserError: there is no such file or fit.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; a study has it once its law is fitted (`make run STUDY=NAME`)")
    found = _json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds no fit in the JSON of `rlscale fit`")
    if "fits" not in found:
        return found
    fits, name = found["fits"], f"{x}_{loss}"
    if not isinstance(fits, dict) or name not in fits:
        has = list(fits) if isinstance(fits, dict) else []
        raise UserError(
            f"{path}: has no fit {name} (it has {', '.join(has)}); choose by --x and --loss{did_you_mean(name, has)}"
        )
    chosen: dict[str, Any] = fits[name]
    return chosen


def _json(path: Path) -> Any:
    from rlscale.files import read_json

    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from error


def _beside(path: Path, name: str) -> dict[str, Any] | None:
    other = path.with_name(name)
    found = _json(other) if other.is_file() else None
    return found if isinstance(found, dict) else None


def _points_beside(path: Path, fit: Any) -> "pd.DataFrame | None":
    from rlscale.points import read_points

    other = path.with_name("points.csv")
    variant = fit.get("variant") if isinstance(fit, dict) else None
    return read_points(other, variant=variant) if other.is_file() else None
