"""What the commands on points show: tables for people. The same facts are in each command's JSON."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlscale.cli_terminal import Column, FittedTable, indented, new_console, noted, worded

if TYPE_CHECKING:
    from rlscale.fit import Fit
    from rlscale.forecasts.forecast import Forecast
    from rlscale.forecasts.tournament import Tournament

_COVERAGE = (0.5, 0.8, 0.9)


def show_fit(fit: "Fit") -> None:
    """Print the law's parameters, the slopes by size and what a reader must know first."""
    made, sizes = fit.intervals, list(fit.k)
    columns = (
        Column("size, params", [f"{int(size):,}" for size in sizes]),
        Column("k (law)", [number(slope) for slope in fit.k.values()]),
        Column("interval", [_span(made["k"][size]) if made else "" for size in sizes]),
        Column("k (free)", [number(fit.k_free.get(size)) for size in sizes]),
        Column("standard error", [number(fit.k_free_se.get(size)) for size in sizes], spare=3),
        Column("R² within", [number(fit.r2_within.get(size)) for size in sizes]),
        Column("R² line", [number(fit.r2_line.get(size)) for size in sizes], spare=2),
        Column("k by thirds", [" ".join(number(k, 3) for k in fit.k_local[size]) for size in sizes], spare=1),
    )
    console = new_console()
    console.print(FittedTable(columns, f"{fit.law}, X = {fit.x}, {fit.loss} loss"))
    k_max, n_0 = parameters(fit)
    console.print(f"K_max = {k_max}, N_0 = {n_0} parameters")
    if made:
        console.print(
            f"{made['level']:.0%} intervals by {made['method']}, {made['draws']} replicates, seed {made['seed']}; "
            f"runs scatter by {made['run_sd']:.4f} in k beyond their steps ({made['run_freedom']} degrees of freedom)"
        )
    if fit.saturation:
        console.print("saturation:", noted(fit.saturation["verdict"], fit.saturation["reason"]))
    console.print(f"{fit.points} points, SSE = {fit.sse:.4g}, pooled R² = {number(fit.r2_pooled)}")
    for note in [*fit.notes, *(made["notes"] if made else [])]:
        console.print(noted("note", note))


def parameters(fit: "Fit") -> tuple[str, str]:
    """Return K_max and N_0 in words, with their intervals where there are any."""
    k_max, n_0 = f"{fit.k_max:.4f}", "none" if fit.n_0 is None else f"{fit.n_0:.5g}"
    if fit.intervals is None:
        return k_max, n_0
    return f"{k_max} {_span(fit.intervals['k_max'])}", f"{n_0} {_span(fit.intervals['n_0'], '.4g')}"


def show_law_fit(fit: Mapping[str, Any]) -> None:
    """Print any law's parameters and goodness of fit."""
    found = list(fit["parameters"].values())
    columns = (
        Column("parameter", list(fit["parameters"]), "id"),
        Column("estimate", [_brief(one["estimate"], 5) for one in found]),
        Column("unit", [one["unit"] for one in found], "id"),
        Column("least", [_brief(one["lower"]) for one in found]),
        Column("most", [_brief(one["upper"]) for one in found]),
        Column("", [f"at its {one['bound_hit']} bound" if one["bound_hit"] else "" for one in found], "text"),
    )
    console = new_console()
    console.print(fit["formula"])
    console.print(FittedTable(columns, f"{fit['law']}, X = {fit['x']}, {fit['loss']} loss"))
    within = ", ".join(f"{int(size):,}: {number(value)}" for size, value in fit["r2_within"].items())
    console.print(f"{fit['points']} points, {fit['degrees_of_freedom']} free parameters, SSE = {fit['sse']:.4g}")
    console.print(f"R² pooled {number(fit['r2_pooled'])}; within {within}")
    for note in fit["notes"]:
        console.print(noted("note", note))


def show_forecasts(forecasts: "Sequence[Forecast]") -> None:
    """Print one line a forecast, and the coverage of each law's bands over all its curves."""
    first = forecasts[0].heading()
    title = f"{first['protocol']}, X = {first['x']}, {first['loss']} loss: {first['label']}"
    scored = [(one, one.scores) for one in forecasts if one.scores is not None]
    bands = [[number(found.coverage.get(share), 3) for _, found in scored] for share in _COVERAGE]
    columns = (
        Column("target", [one.curve for one, _ in scored], "id"),
        Column("law", [one.law for one, _ in scored], "id"),
        Column("RMSE, loss", [number(found.rmse, 3) for _, found in scored]),
        Column("bias at end, loss", [number(found.bias_at_end, 3) for _, found in scored], spare=4),
        *(
            Column(f"in {share:.0%}", cells, spare=int(share < 0.9))
            for share, cells in zip(_COVERAGE, bands, strict=True)
        ),
        Column("skill", [number(found.skill, 3) for _, found in scored], spare=3),
        Column("R² within", [number(found.r2_within, 3) for _, found in scored], spare=2),
    )
    console = new_console()
    console.print(FittedTable(columns, title) if scored else title)
    for one in {one.law: one for one in reversed(forecasts) if one.scores is None}.values():
        console.print(noted("no forecast", f"of {one.curve} by {one.law}: {one.reason}"))
    pooled: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for one, scores in scored:
        covered = scores.coverage.get(_COVERAGE[-1])
        if covered is not None:
            pooled[one.law].append((scores.points, covered))
    for law, shares in pooled.items():
        points = sum(count for count, _ in shares)
        share = sum(count * value for count, value in shares) / points
        console.print(f"{law}: {share:.1%} of {points} points lie in the 90% band")


def show_tournament(found: "Tournament") -> None:
    """Print the ranking under each protocol, and the declared winner beside what the target then said."""
    console = new_console()
    rows = found.to_json()["ranking"]
    for setting in dict.fromkeys(_setting(row) for row in rows):
        own = [row for row in rows if _setting(row) == setting]
        columns = (
            Column("rank", ["-" if row["rank"] is None else str(row["rank"]) for row in own]),
            Column("law", [row["law"] for row in own], "id"),
            Column("RMSE, loss", [number(row["rmse_test_loss"], 3) for row in own]),
            Column("bias at end, loss", [number(row["bias_at_end_test_loss"], 3) for row in own], spare=1),
            Column("in 90%", [number(row["coverage_90"], 3) for row in own]),
            Column("R² within", [number(row["r2_within"], 3) for row in own], spare=3),
            Column("R² pooled", [number(row["r2_pooled"], 3) for row in own], spare=2),
        )
        console.print(FittedTable(columns, setting))
        for row in own:
            if row["reason"]:
                console.print(noted("no rank", f"{row['law']}: {row['reason']}"))
    for winner in found.to_json()["winners"]:
        target = winner["target_rmse_test_loss"]
        chosen_on = ", ".join(f"{size:,}" for size in winner["chosen_on_params"])
        console.print(f"X = {winner['x']}: declared winner on {chosen_on}: {winner['law']}")
        console.print(
            f"  on {winner['target_params']:,} then: {', '.join(f'{law} {rmse:.4f}' for law, rmse in target.items())}"
        )
    for note in found.notes:
        console.print(noted("note", note))


def show_findings(study: str, findings: Sequence[Mapping[str, Any]], reuse: Mapping[str, Any] | None) -> None:
    """Print each claim with its verdict and evidence, and the law of data reuse where there is one."""
    console = new_console()
    for one in findings:
        console.print(worded(one["verdict"].upper(), bold=True), one["claim"], sep=": ")
        p_holm = "" if one["p_holm"] is None else f" (p = {one['p']:.3g}, {one['p_holm']:.3g} after Holm)"
        console.print(indented(one["evidence"] + p_holm))
        if one["would_decide"]:
            console.print(indented(f"To decide: {one['would_decide']}", "dim"))
    if reuse is not None:
        console.print(f"law of data reuse: {reuse['winner']}: {reuse['reason']}")
        for law, found in reuse["laws"].items():
            for name, value in found["parameters"].items():
                said = f"{name} = {_brief(value['estimate'])} {_span(value, '.4g')} {value['unit']}"
                console.print(indented(f"{law}: {said}; {found['formula']}"))
        for note in reuse["notes"]:
            console.print(indented(f"note: {note}"))
    effects = [one["effect"] for one in findings]
    columns = (
        Column("finding", [one["id"] for one in findings], "id"),
        Column("verdict", [one["verdict"] for one in findings], "word"),
        Column("effect", [_brief(effect and effect["estimate"], 3) for effect in effects]),
        Column("interval", ["-" if effect is None else _span(effect, ".3g") for effect in effects]),
        Column("p (Holm)", [_brief(one["p_holm"], 2) for one in findings], spare=2),
        Column("unit", ["" if effect is None else effect["unit"] for effect in effects], "text", spare=1),
    )
    console.print(FittedTable(columns))
    counts = {verdict: sum(one["verdict"] == verdict for one in findings) for verdict in _verdicts(findings)}
    console.print(f"study {study}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


def number(value: float | None, digits: int = 4) -> str:
    """Return a number in plain digits, a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


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
