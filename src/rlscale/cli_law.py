"""The commands that work on points: fit, forecast, compare; and the findings of a study."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rlscale.cli_completion import laws
from rlscale.cli_output import Json, Study, print_json
from rlscale.errors import UserError, did_you_mean

Points = Annotated[Path, typer.Argument(metavar="POINTS", help="CSV or Parquet of points.")]
X = Annotated[Literal["compute", "samples"], typer.Option("--x", help="X of the law.")]
Loss = Annotated[
    Literal["linear", "log", "huber"], typer.Option(help="Residuals of the loss, of its log, or of its log robustly.")
]
MaxParams = Annotated[float | None, typer.Option(help="Use sizes up to this many parameters only.")]
FirstSteps = Annotated[int | None, typer.Option(help="Use steps up to this one only.")]
Variant = Annotated[str | None, typer.Option(help="Variant to use, where the points hold several.")]

SATURATING = "saturating_slope"


def fit(  # noqa: PLR0917 (on the command line the options are named)
    points: Points,
    x: X,
    law: Annotated[
        str, typer.Option(help="Law to fit; `rlscale compare` names them.", autocompletion=laws)
    ] = SATURATING,
    max_params: MaxParams = None,
    first_steps: FirstSteps = None,
    loss: Loss = "linear",
    weights: Annotated[
        Literal["none", "se"], typer.Option(help="Every point alike, or by the scores' standard errors.")
    ] = "none",
    intervals: Annotated[
        Literal["none", "bootstrap", "profile"], typer.Option(help="How intervals of K_max and N_0 are made.")
    ] = "none",
    draws: Annotated[int, typer.Option(min=100, help="Replicates of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    variant: Variant = None,
    as_json: Json = False,
) -> None:
    """Fit a law to points; by default log10 L = -k(N) log10 X + E, with k(N) = K_max / (1 + N_0 / N)."""
    from rlscale.cli_law_tables import show_fit, show_law_fit
    from rlscale.fit import fit_points
    from rlscale.points import read_points

    table = read_points(points, variant=variant)
    if law == SATURATING:
        result = fit_points(
            table,
            x=x,
            loss=loss,
            weights=weights,
            max_params=max_params,
            first_steps=first_steps,
            intervals=intervals,
            draws=draws,
            seed=seed,
        )
        print_json(result.to_json()) if as_json else show_fit(result)
        return
    if intervals != "none":
        raise UserError(f"--intervals {intervals}: intervals are made for {SATURATING} only, not for {law}")
    fitted = _fit_other(table, law, x=x, loss=loss, weights=weights, max_params=max_params, first_steps=first_steps)
    print_json(fitted) if as_json else show_law_fit(fitted)


def forecast(  # noqa: PLR0917
    points: Points,
    x: X,
    protocol: Annotated[
        Literal["blind-size", "early-size", "refit-level", "early-time"], typer.Option(help="What is sealed.")
    ],
    law: Annotated[
        list[str] | None,
        typer.Option(help="Law to forecast with; repeat it. Default: all.", autocompletion=laws),
    ] = None,
    target_params: Annotated[float | None, typer.Option(help="Seal this size only; each in turn without.")] = None,
    training: Annotated[
        Literal["others", "smaller"], typer.Option(help="Train on all other sizes, or on smaller ones.")
    ] = "others",
    fraction: Annotated[float | None, typer.Option(help="Share of the steps that early-time sees (0.3).")] = None,
    seen: Annotated[int, typer.Option(min=1, help="Points of a sealed size that early-size sees.")] = 3,
    loss: Loss = "linear",
    variant: Variant = None,
    as_json: Json = False,
) -> None:
    """Forecast sealed curves with laws and naive rules, and score the forecasts."""
    from rlscale.cli_law_tables import show_forecasts
    from rlscale.fitting.law_fits import LAWS
    from rlscale.forecasts.forecast import run_forecasts
    from rlscale.points import read_points

    made = run_forecasts(
        read_points(points, variant=variant),
        protocol=protocol,
        laws={name: LAWS[_known(name)] for name in law or LAWS},
        x=x,
        loss=loss,
        target_params=None if target_params is None else int(target_params),
        fraction=fraction,
        seen=seen,
        training=training,
    )
    print_json({"forecasts": [one.to_json() for one in made]}) if as_json else show_forecasts(made)


def compare(
    points: Points,
    x: Annotated[Literal["compute", "samples"] | None, typer.Option("--x", help="X of the laws; both without.")] = None,
    loss: Loss = "linear",
    variant: Variant = None,
    as_json: Json = False,
) -> None:
    """Rank all laws by how well they forecast what they have not seen."""
    from rlscale.cli_law_tables import show_tournament
    from rlscale.forecasts.tournament import run_tournament
    from rlscale.points import read_points

    found = run_tournament(read_points(points, variant=variant), xs=[x] if x else ["compute", "samples"], loss=loss)
    print_json(found.to_json()) if as_json else show_tournament(found)


def findings(study: Study, as_json: Json = False) -> None:
    """Show the claims of a finished study, each with its verdict, effect and evidence."""
    from rlscale.cli_law_tables import show_findings
    from rlscale.config import find_study
    from rlscale.files import read_json
    from rlscale.paths import StudyPaths

    name = find_study(study).stem
    path = StudyPaths(name).findings
    if not path.is_file():
        raise UserError(f"study {name} has no findings yet ({path}): run `make run STUDY={name}`")
    found = read_json(path)
    print_json({"study": name, **found}) if as_json else show_findings(name, found["findings"], found["reuse"])


def _known(law: str) -> str:
    from rlscale.fitting.law_fits import LAWS

    if law not in LAWS:
        raise UserError(f"--law {law}: no such law; allowed: {', '.join(LAWS)}{did_you_mean(law, LAWS)}")
    return law


def _fit_other(
    table: Any, law: str, *, x: Any, loss: Any, weights: Any, max_params: float | None, first_steps: int | None
) -> dict[str, Any]:
    from rlscale.curve_points import X_COLUMN, arrange
    from rlscale.fit import usable_points
    from rlscale.fitting.law_fits import LAWS

    used, variant = usable_points(table, x=x, max_params=max_params, first_steps=first_steps)
    fitted = LAWS[_known(law)](arrange(used, x=X_COLUMN[x], weights=weights), loss)
    return {"x": x, "loss": loss, "weights": weights, "variant": variant, **fitted.to_json()}
