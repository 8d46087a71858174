"""What the evidence behind a plan cannot carry, one sentence each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlscale.errors import UserError
from rlscale.fitting.law_fits import LAWS
from rlscale.laws import Target
from rlscale.plan.lines import LAW, Lines
from rlscale.plan.supply import Supply

MOST_DECADES = 3.0
"""Decades of compute beyond the last fitted point after which a target is refused."""

WITH_ASYMPTOTE = ("sigmoid", "joint_sigmoid", "additive", "decomposition")
_FAR = 1e300  # an X at which nothing of a law but its asymptote is left


@dataclass(frozen=True)
class Flag:
    """A warning.

    Attributes:
        code: what it is about, for programs.
        text: one sentence.
    """

    code: str
    text: str


def asymptotes(curves: Any, lines: Lines, loss: str) -> dict[str, dict[str, float]]:
    """Return by law, and by size, the loss that laws with an asymptote tend to.

    Laws that these points cannot tell (an additive law of two sizes) are left out, and so are sizes.

    Args:
        curves: the points that the plan's law was fitted on, as `rlscale.curve_points.Curves`.
        lines: the sizes.
        loss: space of the residuals; the robust one counts as log.
    """
    found: dict[str, dict[str, float]] = {}
    for name in WITH_ASYMPTOTE:
        try:
            fitted = LAWS[name](curves, "log" if loss == "huber" else loss)  # type: ignore[arg-type]
        except UserError:
            continue
        targets = {f"{size:.0f}": Target(params=int(size)) for size in lines.params.tolist()}
        found[name] = {
            size: float(fitted.predict(target, np.array([_FAR]))[0])
            for size, target in targets.items()
            if fitted.levelled(target)
        }
    return found


def of_asymptotes(target: float, found: Mapping[str, Mapping[str, float]]) -> Iterator[Flag]:
    """Say which laws never reach a target at any size, and which do."""
    lowest = {law: min(sizes.items(), key=lambda item: item[1]) for law, sizes in found.items() if sizes}
    never = {law: least for law, least in lowest.items() if least[1] >= target}
    if never:
        ends = ", ".join(
            f"{law} (ends at {loss:.3f}, {float(size):.3g} parameters)" for law, (size, loss) in never.items()
        )
        reach = ", ".join([LAW, *(law for law in lowest if law not in never)])
        yield Flag("asymptote", f"target {target:g} is unreachable under {ends}; reachable under {reach}")


def of_fit(fit: Mapping[str, Any], comparison: Mapping[str, Any] | None) -> Iterator[Flag]:
    """Say what is known of the law itself: the tournament, the verdict on saturation, notes of fit and intervals."""
    for winner in (comparison or {}).get("winners", []):
        if winner["x"] == fit["x"] and winner["law"] != LAW:
            rmse = winner["rmse_test_loss"]
            own = f"{rmse[LAW]:.4f}" if rmse.get(LAW) is not None else "none"
            yield Flag(
                "tournament",
                f"{LAW} lost the tournament of forecasts to {winner['law']} (RMSE of the loss {own} against "
                f"{rmse[winner['law']]:.4f})",
            )
    verdict = fit.get("saturation") or {}
    if verdict.get("verdict") not in (None, "saturating"):
        yield Flag(
            "saturation",
            f"k_max and n_0 are not told apart by these points (saturation: {verdict['verdict']}): slopes of sizes "
            "that were not fitted rest on the law's form",
        )
    made = fit["intervals"]
    if made["replicates"]["level_freedom"] == 0:
        yield Flag("levels", "each size has one run: how levels differ between runs of a size is not in the intervals")
    for note in [*fit.get("notes", []), *made.get("notes", [])]:
        yield Flag("fit", note)


def of_size(lines: Lines, params: float) -> Iterator[Flag]:
    """Say where a size of a plan was not fitted."""
    if lines.fitted[lines.index(params)]:
        return
    known = lines.params[lines.fitted]
    beyond = max(np.log10(params / known.max()), np.log10(known.min() / params), 0.0)
    where = f"{beyond:.2f} decades beyond the fitted sizes" if beyond > 0 else "between the fitted sizes"
    yield Flag("beyond_n", f"{params:.4g} parameters lie {where}; its level is modelled, E = a + c k(N), not measured")


def of_compute(what: str, params: float, decades: float) -> Iterator[Flag]:
    """Say how far a plan's compute lies beyond the fitted points of its size."""
    if decades > 0:
        yield Flag(
            "beyond_x", f"{what}: {decades:.2f} decades beyond the last fitted compute of {params:.4g} parameters"
        )


def of_supply(supply: Supply) -> Iterator[Flag]:
    """Say what is not known of reuse."""
    if not supply.identified:
        yield Flag("reuse", f"the law of reuse is not identified: {supply.reason} Planned with {supply.law}")
    elif supply.law == "no_effect":
        yield Flag("reuse", f"reuse had no effect in these runs, so problems seen again count as new: {supply.reason}")
