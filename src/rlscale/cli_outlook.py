"""The command `rlscale outlook`: where the runs that train will end, and whether finishing them is worth it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlscale.cli_output import Json, Study, print_json
from rlscale.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from rlscale.grid import Run
    from rlscale.laws import Array
    from rlscale.plan.lines import Lines
    from rlscale.plan.outlook import Outlook
    from rlscale.study import TrainedStudy

_DRAWS = 400


def outlook(
    study: Study,
    blind_at: Annotated[
        int | None,
        typer.Option(min=2, help="Check: show every ended run as if it were at this step, forecast from the others."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Forecast the end of every run that trains, and the probability that finishing it is worth it.

    Worth it: its test loss at the end lies below that of every other size at the same compute. Forecasts rest on the
    rewards so far and on comparable runs that have ended.
    """
    from rlscale.config import find_study, load_grid
    from rlscale.running import ended, kind_of, running

    path = find_study(study)
    loaded, _, grid = load_grid(path)
    done = ended(path.stem, loaded, grid)
    found, truths = [], {}
    if blind_at is None:
        going = [(one.run, one.rewards, one.compute / one.rewards.size) for one in running(path.stem, grid)]
    else:
        if wrong := [run for run in grid.runs.values() if run.run_id in done and blind_at >= run.budgets[-1]]:
            raise UserError(f"--blind-at {blind_at}: allowed: less than the last step, {wrong[0].budgets[-1]}")
        going = []
        for run_id, (rewards, curve) in done.items():
            last = curve.iloc[-1]
            going.append((grid.runs[run_id], rewards[:blind_at], float(last["compute_flops"] / last["step"])))
            truths[run_id] = float(last["test_loss"])
    kinds = {name: kind_of(grid.runs[name]) for name in done}
    for run, rewards, per_step in going:
        others = {name: one for name, one in done.items() if name != run.run_id}
        found.append(_outlook(run, rewards, per_step, others, kinds, loaded))
    if as_json:
        rows = [one.to_json() | {"truth": truths.get(one.run_id)} for one in found]
        print_json({"study": path.stem, "ended": len(done), "runs": rows})
        return
    _show(path.stem, found, truths, len(done))


def _outlook(  # noqa: PLR0917
    run: "Run",
    rewards: "Array",
    per_step: float,
    done: "Mapping[str, tuple[Array, pd.DataFrame]]",
    kinds: Mapping[str, str],
    study: "TrainedStudy",
) -> "Outlook":
    import numpy as np

    from rlscale.plan.outlook import (
        Ended,
        Outlook,
        as_loss,
        best_elsewhere,
        forecast_end,
        slopes_of,
        worth_finishing,
    )
    from rlscale.running import kind_of

    last, kind, params = run.budgets[-1], kind_of(run), float(run.params)
    ends = [
        Ended(kinds[name], float(curve["params"].iloc[0]), values, float(curve["test_loss"].iloc[-1]))
        for name, (values, curve) in done.items()
    ]
    lines = _lines([curve for name, (_, curve) in done.items() if kinds[name] == kind], study)
    slopes = None if lines is None else slopes_of(lines)
    end, basis = forecast_end(kind, params, rewards, last_step=last, ended=ends, slopes=slopes)
    best = None if lines is None else best_elsewhere(lines, params, float(np.log10(per_step * last)))
    return Outlook(
        run.run_id,
        params,
        rewards.size,
        last,
        None if end is None else as_loss(end),
        basis,
        None if best is None else as_loss(best),
        None if end is None or best is None else worth_finishing(end, best),
        per_step * (last - rewards.size),
    )


def _lines(curves: "list[pd.DataFrame]", study: "TrainedStudy") -> "Lines | None":
    """Return the law's lines from the runs that have ended; None where they do not determine it."""
    import pandas as pd

    from rlscale.curves import law_points
    from rlscale.fit import fit_points
    from rlscale.plan.lines import read_lines

    if not curves:
        return None
    points = law_points(pd.concat(curves, ignore_index=True), block=None, first_step=study.law.first_step)
    try:
        fit = fit_points(points, x="compute", loss="log", intervals="bootstrap", draws=_DRAWS)
    except UserError:
        return None
    return read_lines(fit.to_json())


def _show(name: str, found: "list[Outlook]", truths: Mapping[str, float], ended: int) -> None:
    from rlscale.cli_plan_tables import interval, plain_table, short
    from rlscale.cli_terminal import new_console

    console = new_console()
    if not found:
        console.print(f"study {name}: no run has a curve so far that is not at its end; {ended} have ended")
        return
    heads = ["run", "step", "loss at the end", "best elsewhere", "worth finishing", "FLOPs left", "rests on"]
    rows = [
        [
            one.run_id,
            f"{one.step}/{one.last_step}",
            interval(_json(one.end)),
            interval(_json(one.best_elsewhere)),
            "-" if one.worth is None else f"{one.worth:.0%}",
            "-" if one.flops_left is None else short(one.flops_left),
            one.basis,
        ]
        for one in found
    ]
    if truths:
        heads.append("truth")
        rows = [[*row, short(truths[one.run_id])] for row, one in zip(rows, found, strict=True)]
    console.print(plain_table(f"study {name}: where runs end (90% intervals)", heads, rows))
    if truths:
        console.print(_scored(found, truths))


def _json(value: Any) -> dict[str, Any] | None:
    return None if value is None else value.to_json()


def _scored(found: "list[Outlook]", truths: Mapping[str, float]) -> str:
    import numpy as np

    told = [(one.end.to_json(), truths[one.run_id]) for one in found if one.end is not None]
    if not told:
        return "no run could be forecast: too few have ended"
    inside = np.mean([end["low"] <= truth <= end["high"] for end, truth in told])
    errors = np.array([np.log10(end["estimate"] / truth) for end, truth in told])
    width = np.median([np.log10(end["high"] / end["low"]) for end, _ in told])
    return (
        f"{len(told)} of {len(found)} runs forecast: truth inside in {inside:.0%}; error of log10 loss: bias "
        f"{errors.mean():+.3f}, RMS {np.sqrt(np.mean(errors**2)):.3f}; median width {width:.3f} decades"
    )
