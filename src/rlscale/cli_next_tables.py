"""What `rlscale next` shows: tables for people. The same facts are in its JSON."""

from collections.abc import Mapping
from typing import Any

from rlscale.cli_plan_tables import hardware_line, interval, plain_table, short
from rlscale.cli_terminal import new_console, noted


def show_next(found: Mapping[str, Any], *, trains: bool, study: str | None) -> None:
    """Print a ranking and a batch.

    Args:
        found: the JSON of the answer, with ``overlay``.
        trains: whether the source is a study that trains.
        study: its name, None where the source is a fit or points.
    """
    console, goal = new_console(), found["goal"]
    of_loss = goal["name"] == "loss"
    name = (
        f"test loss of {short(goal['params'])} parameters at {short(goal['compute'])} FLOPs"
        if of_loss
        else goal["name"]
    )
    console.print(
        f"goal: {name}: {interval(goal['now'])} {'' if of_loss else goal['now']['unit']}".rstrip()
        + f", {goal['now']['level']:.0%} interval; its width is {goal['width_decades']:.3f} decades"
    )
    console.print(hardware_line(found["hardware"]))
    by_hours = found["hardware"]["peak_flops"] is not None
    console.print(_ranking(found["ranking"], found["budget"]["flops"], by_hours=by_hours))
    console.print(_batch(found["batch"], found["budget"], goal["width_decades"]))
    for flag in found["flags"]:
        console.print(noted("caution", flag["text"]))
    console.print(_what_now(found["overlay"], trains=trains, study=study), soft_wrap=True)


def _ranking(rows: list[dict[str, Any]], budget: float, *, by_hours: bool) -> Any:
    unit = "GPU-hour" if by_hours else "1 % of the budget"
    heads = ["size", "", "FLOPs", *["GPU-hours"] * by_hours, "width after [decades]", "shrinks by", f"per {unit}"]
    lines = []
    for row in rows:
        per = row["per_gpu_hour"] if by_hours else 0.01 * budget * row["per_cost"]
        cost = [short(row["cost"]), *([short(row["gpu_hours"])] if by_hours else [])]
        shrinks = f"{row['shrinks']:.1%} ± {row['error']:.1%}"
        kind = "one more" if row["fitted"] else "new size"
        lines.append(
            [_name(row), kind, *cost, f"{row['width']:.3f}", shrinks, f"{per:.2%}" if per < 10 else f"{per:.2g}"]
        )
    return plain_table("one run of each size (± Monte-Carlo standard error)", heads, lines)


def _batch(rows: list[dict[str, Any]], budget: Mapping[str, Any], width: float) -> Any:
    hours = budget["gpu_hours"]
    paid = f"{budget['flops']:.3g} FLOPs" + ("" if hours is None else f", {hours:,.4g} GPU-hours")
    heads = ["order", "size", "spent FLOPs", *["spent GPU-hours"] * (hours is not None), "width [decades]", "of now"]
    lines = [
        [
            str(order),
            _name(row),
            short(row["spent"]),
            *([short(row["gpu_hours"])] if hours is not None else []),
            f"{row['width']:.3f}",
            f"{row['width'] / width:.0%}",
        ]
        for order, row in enumerate(rows, start=1)
    ]
    return plain_table(f"batch for {paid}", heads, lines)


def _name(row: Mapping[str, Any]) -> str:
    return short(row["params"]) + (f" ({row['model']})" if row["model"] else "")


def _what_now(overlay: Mapping[str, Any] | None, *, trains: bool, study: str | None) -> str:
    if overlay is None and trains:
        return (
            f"--output FILE writes the study that adds the batch; {study}'s own file, with --force, keeps its results"
        )
    if overlay is None:
        return "no study to extend: " + (
            "the source is a fit or points" if study is None else f"{study} trains nothing (its kind is published)"
        )
    added, path = overlay["added"], overlay["path"]
    shared = (
        f"it shares {overlay['results']}, so only these train"
        if overlay["shares_results"]
        else f"its results go to {overlay['results']}, so all {overlay['kept'] + len(added)} runs would train "
        f"(written to {study}'s own file it would share results/{study})"
    )
    return f"wrote {path} with {len(added)} further runs ({', '.join(added)}); {shared}: {overlay['command']}"
