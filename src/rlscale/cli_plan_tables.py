"""What `rlscale plan` shows: tables for people. The same facts are in its JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

from rlscale.cli_terminal import Column, FittedTable, new_console, noted
from rlscale.plan.flags import MOST_DECADES


def show_plan(plan: Mapping[str, Any]) -> None:
    """Print a plan."""
    console, fit = new_console(), plan["fit"]
    console.print(
        f"{fit['law']}, X = {fit['x']}, {fit['loss']} loss, {fit['points']} points; "
        f"{fit['level']:.0%} intervals of {fit['draws']} replicates, seed {fit['seed']}"
    )
    console.print(hardware_line(plan["hardware"]))
    parts: tuple[tuple[str, Any], ...] = (
        ("target", _target),
        ("budget", _budget),
        ("reuse", _reuse),
        ("further", _further),
    )
    for name, show in parts:
        if plan[name] is not None:
            for line in show(plan[name]):
                console.print(line)
    if plan["budget"] is not None or plan["further"] is not None:
        console.print(_crossovers(plan["crossovers"]))
    for flag in plan["flags"]:
        console.print(noted("caution", flag["text"]))


def interval(value: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Return an estimate with its interval; an end beyond any compute is open."""
    if value is None:
        return "-"
    ends = [value["estimate"], value["low"], value["high"]]
    estimate, low, high = ("open" if end is None else short(end, digits) for end in ends)
    return f"{estimate} [{low}, {high}]"


def _target(found: Mapping[str, Any]) -> Iterator[FittedTable | str]:
    best = found["best"]
    title = f"test loss {found['target']:g}: what each size needs"
    columns = ["size", "FLOPs", "with serving", "steps", "samples", "tau", "GPU-hours", "days", "cost", "cheapest in"]
    keys = ["compute", "total", "steps", "samples", "tau", "gpu_hours", "days", "cost"]
    rows = found["sizes"]
    served = any(row["total"]["estimate"] != row["compute"]["estimate"] for row in rows)
    shown = [key for key in keys if any(row[key] is not None for row in rows) and (served or key != "total")]
    heads = ["size", *(columns[1 + keys.index(key)] for key in shown), columns[-1], ""]
    lines = []
    for row in rows:
        # A number so far from the points that the plan would refuse it is not shown.
        far = row["decades_beyond"] is None or row["decades_beyond"] > MOST_DECADES
        lines.append([*_named(row, ["-" if far else interval(row[key]) for key in shown]), _beyond(row)])
    yield plain_table(title, heads, lines)
    yield (
        f"least: {interval(found['least'])} FLOPs{' with serving' if served else ''}"
        + (
            ""
            if best is None
            else f", with {short(best['params'])} parameters ({best['share']:.0%} of the replicates agree)"
        )
    )


def _budget(found: Mapping[str, Any]) -> Iterator[FittedTable | str]:
    money = "".join(
        f", {found[name]:,.4g} {unit}" for name, unit in (("gpu_hours", "GPU-hours"), ("cost", "money")) if found[name]
    )
    heads = ["size", "loss", "FLOPs", "steps", "samples", "tau", "least loss in", ""]
    rows = []
    for row in found["sizes"]:
        exact = (None if row["loss"] is None else row[key] for key in ("compute", "steps", "samples", "tau"))
        cells = [interval(row["loss"]), *("-" if value is None else short(value) for value in exact)]
        rows.append([*_named(row, cells), _beyond(row)])
    yield plain_table(f"budget {found['flops']:.3g} FLOPs{money}: what each size makes of it", heads, rows)
    best = found["best"]
    yield (
        f"best: {short(best['params'])} parameters, test loss {interval(best['loss'])} "
        f"({best['share']:.0%} of the replicates agree); least loss of any size {interval(found['least_loss'])}"
    )
    heads = ["FLOPs", "best size", "loss", "agree", ""]
    lines = [
        [short(row["flops"]), short(own["params"]), interval(own["loss"]), f"{own['share']:.0%}", _beyond(own)]
        for row in found["frontier"]
        if (own := row["best"])
    ]
    yield plain_table("frontier", heads, lines)


def _reuse(found: Mapping[str, Any]) -> Iterator[str]:
    stops = found["stops_paying_at_tau"]
    said = f"{found['unique_problems']:,.0f} unique problems, {found['law']}: "
    if found["law"] == "saturating_reuse":
        yield said + f"a sample is worth under a tenth of a new problem from tau {interval(stops)} on"
    elif stops is not None:
        yield said + f"more reuse harms from tau {interval(stops)} on"
    else:
        yield said + "no tau is known from which reuse stops paying"


def _further(found: Mapping[str, Any]) -> Iterator[FittedTable | str]:
    title = f"{found['extra']:.3g} FLOPs more, from {short(found['params'])} parameters at {found['spent']:.3g} FLOPs"
    heads = ["choice", "loss", "gain per 1e18 FLOPs", "bigger is ahead in", "bigger is ahead from FLOPs"]
    rows = [["more RL", interval(found["loss"]), _per_quintillion(found["gain_per_flop"]), "", ""]]
    for one in found["bigger"]:
        gain = _per_quintillion(one["gain_per_flop"])
        cells = [interval(one["loss"]), gain, f"{one['share']:.0%}", interval(one["break_even"])]
        rows.append([f"{short(one['params'])} afresh", *cells])
    yield f"now: test loss {interval(found['now'])}"
    yield plain_table(title, heads, rows)


def _per_quintillion(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "-"
    ends = {name: None if value[name] is None else 1e18 * value[name] for name in ("estimate", "low", "high")}
    return interval(ends)


def _crossovers(found: list[dict[str, Any]]) -> FittedTable:
    heads = ["smaller", "larger", "smaller leads below FLOPs", "cross where both were fitted in"]
    rows = [
        [short(one["smaller"]), short(one["larger"]), interval(one["compute"]), f"{one['share']:.0%}"] for one in found
    ]
    return plain_table("crossovers of neighbouring sizes (problems unlimited)", heads, rows)


def hardware_line(found: Mapping[str, Any]) -> str:
    """Say what trains."""
    if found["peak_flops"] is None:
        return "hardware: none stated (--gpu, --price), so no hours and no cost"
    name = found["name"] or "GPU"
    price = "" if found["price"] is None else f", {found['price']:g} a GPU-hour"
    return (
        f"hardware: {found['gpus']} × {name}, peak {found['peak_flops']:.4g} FLOP/s at MFU {found['mfu']:g}{price}; "
        f"the whole job is {found['overhead']:g} times the law's FLOPs"
    )


def _named(row: Mapping[str, Any], cells: list[str]) -> list[str]:
    return [short(row["params"]) + ("" if row["fitted"] else " (modelled)"), *cells, f"{row['share']:.0%}"]


def _beyond(row: Mapping[str, Any]) -> str:
    decades = row["decades_beyond"]
    if decades is None:
        return "never reached"
    return f"{decades:.2f} decades beyond" if decades > 0 else ""


def plain_table(title: str, heads: list[str], rows: list[list[str]]) -> FittedTable:
    """Return a table of numbers, to the right but for columns without a head."""
    cells = zip(*rows, strict=True) if rows else ([] for _ in heads)
    columns = [Column(head, own, "number" if head else "text") for head, own in zip(heads, cells, strict=True)]
    return FittedTable(columns, title)


def short(value: float, digits: int = 3) -> str:
    """Write a number in few digits."""
    return f"{value:,.0f}" if 100 <= abs(value) < 1e5 else f"{value:.{digits}g}"
