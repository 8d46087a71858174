"""Forecasts beside what was then observed: a panel for each sealed curve, alike in law, protocol and X."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rlscale.errors import UserError, did_you_mean
from rlscale.figures.style import ACCENT, X_AXES, finish, human_count, log_axis, new_figure, styled
from rlscale.figures.words import in_words, percent

_SETTING = ("protocol", "x", "loss", "training", "fraction_of_steps")
_MOST_OF_A_SIZE = 3
_TITLE_CHARACTERS = 36
_DENSE = 40  # points of a curve
_BAND_SHADE = 0.2  # opacity of one band; the narrower lie upon the wider
_HIDDEN_LABEL = {"refit-level": "point that the level is fitted to"}
_NAIVE: dict[str, Any] = {"color": "0.15", "ls": (0, (4, 2.5)), "lw": 1.1}
_SEEN: dict[str, Any] = {"color": "0.15", "ls": "", "marker": "o", "ms": 3.2, "mew": 0}
_HIDDEN: dict[str, Any] = {"color": "0.45", "ls": "", "marker": "o", "ms": 2.8, "mfc": "none", "mew": 0.6}


@dataclass(frozen=True)
class _Panel:
    """A sealed curve: its forecast and the best naive rule's, both as JSON, and whether its size has other curves."""

    row: Mapping[str, Any]
    naive: Mapping[str, Any] | None
    named: bool


@styled
def forecast(forecasts: Sequence[Mapping[str, Any]], law: str = "saturating_slope") -> Figure:
    """Draw a law's forecasts of sealed curves with their bands, the points seen and hidden, and the best naive rule.

    A size has one panel, or where several of its curves are sealed a row of panels, of three at most.

    Args:
        forecasts: as their JSON (`rlscale.forecasts.forecast.Forecast`), of any number of laws and naive rules but of
            one setting (protocol, x, loss, training, fraction_of_steps).
        law: the law to draw.

    Raises:
        UserError: there are no forecasts, they differ in setting, or the law is not among them or forecasts no curve.
    """
    rows = _of_law(forecasts, law)
    made = [row for row in rows if row["scores"] is not None]
    if not made:
        raise UserError(f"figure forecast: no curve is forecast ({rows[0]['reason']})")
    lines = _lines(made, [row for row in forecasts if row["role"] == "baseline"])
    panels = [panel for line in lines for panel in line]
    figure = new_figure(1.75 * len(lines) + 0.8)
    _draw_panels(figure, lines)
    _explain(figure, panels)
    return finish(figure, [*_explanations(panels), *_left_out(rows, panels)])


def _of_law(forecasts: Sequence[Mapping[str, Any]], law: str) -> list[Mapping[str, Any]]:
    if not forecasts:
        raise UserError("figure forecast: there are no forecasts")
    for name in _SETTING:
        if len(values := {row[name] for row in forecasts}) > 1:
            listed = ", ".join(sorted(map(str, values)))
            raise UserError(f"figure forecast: the forecasts differ in {name} ({listed}); one figure is of one setting")
    laws = sorted({row["law"] for row in forecasts if row["role"] == "law"})
    if law not in laws:
        raise UserError(
            f"figure forecast: no forecast by {law!r} (there are {', '.join(laws)}){did_you_mean(law, laws)}"
        )
    return [row for row in forecasts if row["law"] == law]


def _lines(made: Sequence[Mapping[str, Any]], naive: Sequence[Mapping[str, Any]]) -> list[list[_Panel]]:
    """Return the panels by line: a line for each size where one has several curves, else as many as fit."""
    rules = {(row["target_params"], row["curve"], row["law"]): row for row in naive}
    ordered = sorted(made, key=_curve)
    sizes = [list(curves) for _, curves in groupby(ordered, key=lambda row: int(row["target_params"]))]
    lines = [
        [
            _Panel(row, rules.get((*_curve(row), row["scores"]["best_baseline"])), named=len(curves) > 1)
            for row in curves[:_MOST_OF_A_SIZE]
        ]
        for curves in sizes
    ]
    if len(ordered) > len(sizes):
        return lines
    alone = [panel for line in lines for panel in line]
    width = 2 if len(alone) == 4 else 3
    return [alone[at : at + width] for at in range(0, len(alone), width)]


def _curve(row: Mapping[str, Any]) -> tuple[int, str]:
    return int(row["target_params"]), str(row["curve"])


def _draw_panels(figure: Figure, lines: Sequence[Sequence[_Panel]]) -> None:
    """Draw the panels with one loss axis for all and each with its own X."""
    losses = _losses([panel for line in lines for panel in line])
    column, label = X_AXES[lines[0][0].row["x"]]
    short = label.replace(", repeats counted", "")
    grid = figure.add_gridspec(len(lines), max(map(len, lines)))
    for at, line in enumerate(lines):
        below = len(lines[at + 1]) if at + 1 < len(lines) else 0
        for across, panel in enumerate(line):
            axes = figure.add_subplot(grid[at, across])
            _draw(axes, panel, column)
            log_axis(axes, "y", losses, apart=0.11)
            axes.tick_params(labelleft=not across)
            axes.set_title(_title(panel), fontsize=8, loc="left")
            axes.set(xlabel="" if across < below else short, ylabel="" if across else "Test loss")


def _losses(panels: Sequence[_Panel]) -> list[float]:
    """Return what the loss axis is to show: points, forecasts and, down to half of these, bands."""
    curves = [panel.row["hidden"] for panel in panels]
    points = [*(curve["test_loss"] for curve in curves), *(panel.row["seen"]["test_loss"] for panel in panels)]
    shown = [loss for some in (*points, *(curve["predicted_test_loss"] for curve in curves)) for loss in some]
    ends = [loss for curve in curves for band in curve["bands"].values() for loss in band["low"]]
    return [*shown, max(min([*shown, *ends]), min(shown) / 2)]


def _draw(axes: Axes, panel: _Panel, column: str) -> None:
    seen, hidden = panel.row["seen"], panel.row["hidden"]
    log_axis(axes, "x", [*seen[column], *hidden[column]], human=column == "samples", apart=0.25)
    # Compute as read off a figure may step back.
    order = np.argsort(hidden[column], kind="stable")
    x = np.array(hidden[column])[order]
    for _, band in sorted(hidden["bands"].items(), key=lambda item: -float(item[0])):
        low, high = (np.array(band[side])[order] for side in ("low", "high"))
        axes.fill_between(x, low, high, color=ACCENT, alpha=_BAND_SHADE, lw=0, gid="band")
    dense = {"ms": 1.8, "mew": 0.4} if x.size > _DENSE else {}
    axes.plot(hidden[column], hidden["test_loss"], **(_HIDDEN | dense), gid="hidden")
    axes.plot(seen[column], seen["test_loss"], **_SEEN, gid="seen")
    if panel.naive is not None:
        axes.plot(x, np.array(panel.naive["hidden"]["predicted_test_loss"])[order], **_NAIVE, gid="naive")
    axes.plot(x, np.array(hidden["predicted_test_loss"])[order], color=ACCENT, lw=1.6, gid="forecast")


def _title(panel: _Panel) -> str:
    row, scores = panel.row, panel.row["scores"]
    name = str(row["curve"]).removeprefix(f"params={row['target_params']} ")
    said = [f"N = {human_count(row['target_params'])}" + (f", {name}" if panel.named else "")]
    said.append(f"rmse {scores['rmse_test_loss']:.3f}")
    if panel.naive is not None:
        said[-1] += f", {in_words(panel.naive['law'])} {panel.naive['scores']['rmse_test_loss']:.3f}"
    if scores["coverage"]:
        said.append(f"coverage {', '.join(f'{100 * share:.0f}' for share in scores['coverage'].values())} %")
    elif scores["r2_within"] is not None:
        said.append(f"$R^2$ within the curve {scores['r2_within']:.2f}")
    return "\n".join(line for entry in said for line in textwrap.wrap(entry, _TITLE_CHARACTERS))


def _how(row: Mapping[str, Any]) -> str:
    law = f"by the {in_words(row['law'])}"
    if row["training"] is None:
        return f"{law}, from the first {percent(row['fraction_of_steps'])} of the steps"
    return f"{law}, trained on {'the smaller' if row['training'] == 'smaller' else 'all other'} sizes"


def _explain(figure: Figure, panels: Sequence[_Panel]) -> None:
    row, shares = panels[0].row, _shares(panels)
    handles: list[Any] = [Line2D([], [], **_HIDDEN, label=_HIDDEN_LABEL.get(row["protocol"], "hidden point"))]
    if any(panel.row["seen"]["step"] for panel in panels):
        handles.insert(0, Line2D([], [], **_SEEN, label="seen point"))
    handles.append(Line2D([], [], color=ACCENT, lw=1.6, label="the law"))
    if any(panel.naive is not None for panel in panels):
        handles.append(Line2D([], [], **_NAIVE, label="best naive rule"))
    for rank, share in enumerate(shares):
        opacity = 1 - (1 - _BAND_SHADE) ** (len(shares) - rank)
        handles.append(Patch(color=ACCENT, alpha=opacity, lw=0, label=f"{percent(share)} band"))
    figure.legend(
        handles=handles,
        title=f"{row['protocol']}, {row['label']}\n{_how(row)}",
        title_fontsize=9,
        loc="outside upper left",
        alignment="left",
        ncols=len(handles),
        columnspacing=1.2,
        handlelength=1.6,
        handletextpad=0.5,
    )


def _shares(panels: Sequence[_Panel]) -> list[float]:
    return sorted({float(share) for panel in panels for share in panel.row["hidden"]["bands"]})


def _explanations(panels: Sequence[_Panel]) -> list[str]:
    said = []
    if any(panel.naive is not None for panel in panels):
        said.append(
            "Best naive rule: the one with the least rmse on the hidden points, which is known only afterwards."
        )
    if shares := _shares(panels):
        listed = ", ".join(f"{100 * share:.0f}" for share in shares)
        said.append(f"Coverage: the share of the hidden points within the {listed} % bands.")
    bare = [human_count(panel.row["target_params"]) for panel in panels if not panel.row["hidden"]["bands"]]
    if bare and panels[0].row["protocol"] != "refit-level":
        said.append(f"Without a basis for bands: {', '.join(dict.fromkeys(bare))}.")
    return said


def _left_out(rows: Sequence[Mapping[str, Any]], panels: Sequence[_Panel]) -> list[str]:
    """Return sentences on the curves that have no panel."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["scores"] is None:
            reasons.setdefault(row["reason"], []).append(human_count(row["target_params"]))
    said = [f"Not forecast: {', '.join(dict.fromkeys(sizes))} ({reason})." for reason, sizes in reasons.items()]
    more = sum(row["scores"] is not None for row in rows) - len(panels)
    if more:
        said.append(f"Not drawn: {more} curve{'s' if more > 1 else ''} beyond the first {_MOST_OF_A_SIZE} of a size.")
    return said
