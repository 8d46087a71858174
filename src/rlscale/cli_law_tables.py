"""What the commands on points show: tables for people. The same facts are in each command's JSON."""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from rlscale.fit import Fit
    from rlscale.forecasts.forecast import Forecast
    from rlscale.forecasts.tournament import Tournament

_COVERAGE = (0.5, 0.8, 0.9)


def show_fit(fit: "Fit") -> None:
    """Print the law's parameters, the slopes by size and what a reader must know first."""
    made = fit.intervals
    interval_column = ["interval"] if made else []
    columns = ["params", "k (law)", *interval_column, "k (free)", "se", "R² within", "R² line", "k by thirds"]
    table = _numbers(*columns, title=f"{fit.law}, X = {fit.x}, {fit.loss} loss")
    for size, slope in fit.k.items():
        interval = [_span(made["k"][size])] if made else []
        by_size = (fit.k_free, fit.k_free_se, fit.r2_within, fit.r2_line)
        free = (number(values.get(size)) for values in by_size)
        local = " ".join(number(slope, 3) for slope in fit.k_local[size])
        table.add_row(f"{int(size):,}", number(slope), *interval, *free, local)
    console = new_console()
    console.print(table)
    k_max, n_0 = parameters(fit)
    console.print(f"K_max = {k_max}, N_0 = {n_0} parameters")
    if made:
        console.print(
            f"{made['level']:.0%} intervals by {made['method']}, {made['draws']} replicates, seed {made['seed']}; "
            f"runs scatter by {made['run_sd']:.4f} in k beyond their steps ({made['run_freedom']} degrees of freedom)"
        )
    if fit.saturation:
        console.print(f"saturation: {fit.saturation['verdict']}: {fit.saturation['reason']}")
    console.print(f"{fit.points} points, SSE = {fit.sse:.4g}, pooled R² = {number(fit.r2_pooled)}")
    for note in [*fit.notes, *(made["notes"] if made else [])]:
        console.print(f"note: {note}")


def parameters(fit: "Fit") -> tuple[str, str]:
    """Return K_max and N_0 in words, with their intervals where there are any."""
    k_max, n_0 = f"{fit.k_max:.4f}", "none" if fit.n_0 is None else f"{fit.n_0:.5g}"
    if fit.intervals is None:
        return k_max, n_0
    return f"{k_max} {_span(fit.intervals['k_max'])}", f"{n_0} {_span(fit.intervals['n_0'], '.4g')}"


def show_law_fit(fit: Mapping[str, Any]) -> None:
    """Print any law's parameters and goodness of fit."""
    title = f"{fit['law']}, X = {fit['x']}, {fit['loss']} loss"
    table = _numbers("parameter", "estimate", "unit", "least", "most", "", title=title)
    for name, found in fit["parameters"].items():
        hit = f"at its {found['bound_hit']} bound" if found["bound_hit"] else ""
        values = (_brief(found[key]) for key in ("lower", "upper"))
        table.add_row(name, _brief(found["estimate"], 5), found["unit"], *values, hit)
    console = new_console()
    console.print(fit["formula"])
    console.print(table)
    within = ", ".join(f"{int(size):,}: {number(value)}" for size, value in fit["r2_within"].items())
    console.print(f"{fit['points']} points, {fit['degrees_of_freedom']} free parameters, SSE = {fit['sse']:.4g}")
    console.print(f"R² pooled {number(fit['r2_pooled'])}; within {within}")
    for note in fit["notes"]:
        console.print(f"note: {note}")


def show_forecasts(forecasts: "Sequence[Forecast]") -> None:
    """Print one line a forecast, and the coverage of each law's bands over all its curves."""
    first = forecasts[0].heading()
    title = f"{first['protocol']}, X = {first['x']}, {first['loss']} loss: {first['label']}"
    bands = (f"in {share:.0%}" for share in _COVERAGE)
    table = _numbers("target", "law", "RMSE", "bias at end", *bands, "skill", "R² within", "", title=title)
    pooled: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for one in forecasts:
        if one.scores is None:
            table.add_row(one.curve, one.law, *("-" for _ in range(7)), one.reason)
            continue
        covered = [one.scores.coverage.get(share) for share in _COVERAGE]
        scores = (one.scores.rmse, one.scores.bias_at_end, *covered, one.scores.skill, one.scores.r2_within)
        table.add_row(one.curve, one.law, *(number(value, 3) for value in scores))
        if covered[-1] is not None:
            pooled[one.law].append((one.scores.points, covered[-1]))
    console = new_console()
    console.print(table)
    for law, shares in pooled.items():
        points = sum(count for count, _ in shares)
        share = sum(count * value for count, value in shares) / points
        console.print(f"{law}: {share:.1%} of {points} points lie in the 90% band")


def show_tournament(found: "Tournament") -> None:
    """Print the ranking under each protocol, and the declared winner beside what the target then said."""
    console = new_console()
    rows = found.to_json()["ranking"]
    for setting in dict.fromkeys(_setting(row) for row in rows):
        columns = ("rank", "law", "RMSE", "bias at end", "in 90%", "R² within", "R² pooled", "")
        table = _numbers(*columns, title=setting)
        for row in (row for row in rows if _setting(row) == setting):
            rank = "-" if row["rank"] is None else str(row["rank"])
            names = ("rmse_test_loss", "bias_at_end_test_loss", "coverage_90", "r2_within", "r2_pooled")
            table.add_row(rank, row["law"], *(number(row[name], 3) for name in names), row["reason"] or "")
        console.print(table)
    for winner in found.to_json()["winners"]:
        target = winner["target_rmse_test_loss"]
        chosen_on = ", ".join(f"{size:,}" for size in winner["chosen_on_params"])
        console.print(f"X = {winner['x']}: declared winner on {chosen_on}: {winner['law']}")
        console.print(
            f"  on {winner['target_params']:,} then: {', '.join(f'{law} {rmse:.4f}' for law, rmse in target.items())}"
        )
    for note in found.notes:
        console.print(f"note: {note}")


def show_findings(study: str, findings: Sequence[Mapping[str, Any]], reuse: Mapping[str, Any] | None) -> None:
    """Print each claim with its verdict and evidence, and the law of data reuse where there is one."""
    console = new_console()
    for one in findings:
        console.print(f"{one['verdict'].upper()}: {one['claim']}")
        p_holm = "" if one["p_holm"] is None else f" (p = {one['p']:.3g}, {one['p_holm']:.3g} after Holm)"
        console.print(f"    {one['evidence']}{p_holm}")
        if one["would_decide"]:
            console.print(f"    To decide: {one['would_decide']}")
    if reuse is not None:
        console.print(f"law of data reuse: {reuse['winner']}: {reuse['reason']}")
        for law, found in reuse["laws"].items():
            for name, value in found["parameters"].items():
                said = f"{name} = {_brief(value['estimate'])} {_span(value, '.4g')} {value['unit']}"
                console.print(f"    {law}: {said}; {found['formula']}")
        for note in reuse["notes"]:
            console.print(f"    note: {note}")
    counts = {verdict: sum(one["verdict"] == verdict for one in findings) for verdict in _verdicts(findings)}
    console.print(f"study {study}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


def number(value: float | None, digits: int = 4) -> str:
    """Return a number in plain digits, a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def new_console() -> Console:
    """Return a console as wide as the terminal; wide where the output goes to a file."""
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 200)


def _numbers(*columns: str, title: str) -> Table:
    table = Table(*columns, title=title)
    for column in table.columns:
        column.justify = "right" if column.header else "left"
    return table


def _brief(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}g}"


def _span(interval: Mapping[str, Any], form: str = ".4f") -> str:
    low, high = ("open" if end is None else format(end, form) for end in (interval["low"], interval["high"]))
    return f"[{low}, {high}]"


def _setting(row: Mapping[str, Any]) -> str:
    how = f"trained on {row['training']}" if row["training"] else f"from {row['fraction_of_steps']:.0%} of the steps"
    return f"{row['protocol']}, {how}, X = {row['x']}"


def _verdicts(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(one["verdict"] for one in findings))
