"""The tournament of laws as a chart of dots: who forecasts best what, by the error out of sample."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlscale.errors import UserError
from rlscale.figures.style import ACCENT, FAINT, finish, human_count, log_axis, new_figure, styled
from rlscale.figures.words import in_words, percent

_TITLES = {
    "blind-size": "blind-size\nan unseen size",
    "early-size": "early-size\nan unseen size from its first points",
    "early-time": "early-time\nlater steps of the same curves",
}
_TRAINED = {
    "others": ("trained on all other sizes", {"marker": "o", "ms": 4.5}),
    "smaller": ("trained on the smaller sizes", {"marker": "o", "ms": 4.5, "mfc": "none"}),
}
_SHARES = ("s", "v", "^", "D")  # by rank of the share of the steps seen
_SETTING = ("protocol", "training", "fraction_of_steps")
_LINE_INCHES = 0.21
_SPREAD = 0.56  # of the classes of a row, in rows


@styled
def tournament(found: Mapping[str, Any], x: str = "compute") -> Figure:
    """Draw the out-of-sample error of every law and naive rule under every protocol.

    A row is a law, black, or a naive rule, grey; the rows are in order of the setting that winners are declared on
    (early-size trained on smaller sizes) or, where it ranks none, of the first that ranks any. A dot is the root mean
    square over sizes of the RMSE in test loss. Only what is ranked is drawn, so nothing of refit-level is.

    Args:
        found: a tournament as its JSON (`rlscale.forecasts.tournament.Tournament`).
        x: the predictor.

    Raises:
        UserError: nothing is ranked on ``x`` with an error above 0.
    """
    of_x = [row for row in found["ranking"] if row["x"] == x and row["rank"] is not None]
    ranked = [row for row in of_x if row["rmse_test_loss"] > 0]
    if not ranked:
        raise UserError(f"figure tournament: the tournament ranks nothing by {x} that has an error")
    leading = _leading(ranked)
    laws = list(dict.fromkeys(row["law"] for row in [*leading, *ranked]))
    protocols = [protocol for protocol in _TITLES if any(row["protocol"] == protocol for row in ranked)]
    figure = new_figure(_LINE_INCHES * len(laws) + 1.5)
    panels = figure.subplots(1, len(protocols), sharey=True, squeeze=False)[0]
    looks = _looks(ranked)
    grey = {row["law"] for row in ranked if row["role"] == "baseline"}
    errors = [row["rmse_test_loss"] for row in ranked]
    for axes, protocol in zip(panels, protocols, strict=True):
        _draw(axes, [row for row in ranked if row["protocol"] == protocol], laws, looks)
        log_axis(axes, "x", errors, apart=0.17)
        axes.set_title(_TITLES[protocol], fontsize=8)
        axes.set_xlabel("RMSE of test loss")
    panels[0].set_yticks(range(len(laws)), [in_words(law) for law in laws])
    for label, law in zip(panels[0].get_yticklabels(), laws, strict=True):
        label.set_color(FAINT if law in grey else "0.0")
    panels[0].set_ylim(len(laws) - 0.4, -0.6)
    _explain(figure, looks)
    order = f"In order of {leading[0]['protocol']}, {looks[_class(leading[0])][0]}."
    exact = len(of_x) - len(ranked)
    said = [f"Without error, so not on a logarithmic axis: {exact} dot{'s' if exact > 1 else ''}."] if exact else []
    return finish(figure, [f"{order} {_undrawn(found, x, laws)}", *said, *_winners(found, x)])


def _leading(ranked: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the ranks of the setting that winners are declared on, or of the first where that ranks nothing."""
    declared = [row for row in ranked if row["protocol"] == "early-size" and row["training"] == "smaller"]
    first = [row for row in ranked if all(row[name] == ranked[0][name] for name in _SETTING)]
    return declared or first


def _looks(ranked: Sequence[Mapping[str, Any]]) -> dict[Any, tuple[str, dict[str, Any]]]:
    """Return the label and the marker of each class, by sizes trained on or by share of the steps seen."""
    trained = {row["training"] for row in ranked}
    shares = sorted({row["fraction_of_steps"] for row in ranked} - {None})
    looks: dict[Any, tuple[str, dict[str, Any]]] = {name: look for name, look in _TRAINED.items() if name in trained}
    for rank, share in enumerate(shares):
        marker = _SHARES[rank % len(_SHARES)]
        looks[share] = (f"first {percent(share)} of the steps", {"marker": marker, "ms": 3.6, "mew": 0})
    return looks


def _draw(axes: Axes, rows: Sequence[Mapping[str, Any]], laws: Sequence[str], looks: Mapping[Any, Any]) -> None:
    """Draw one protocol's dots, those of a row one below the other so that none hides another."""
    classes = [name for name in looks if any(_class(row) == name for row in rows)]
    for row in rows:
        below = _SPREAD * ((classes.index(_class(row)) + 0.5) / len(classes) - 0.5)
        colour = FAINT if row["role"] == "baseline" else ACCENT
        look = looks[_class(row)][1]
        axes.plot(row["rmse_test_loss"], laws.index(row["law"]) + below, color=colour, ls="", **look, gid=row["law"])


def _class(row: Mapping[str, Any]) -> Any:
    return row["training"] or row["fraction_of_steps"]


def _explain(figure: Figure, looks: Mapping[Any, tuple[str, dict[str, Any]]]) -> None:
    handles = [Line2D([], [], color=ACCENT, ls="", label=label, **look) for label, look in looks.values()]
    handles.append(Line2D([], [], color=FAINT, ls="", marker="o", ms=4.5, label="naive rule"))
    figure.legend(handles=handles, loc="outside upper center", ncols=4, columnspacing=1.5, handletextpad=0.4)


def _undrawn(found: Mapping[str, Any], x: str, laws: Sequence[str]) -> str:
    names = dict.fromkeys(row["law"] for row in found["ranking"] if row["x"] == x and row["law"] not in laws)
    said = "No dot: not every curve of that setting is forecast."
    return f"{said} Without any dot: {', '.join(map(in_words, names))}." if names else said


def _winners(found: Mapping[str, Any], x: str) -> list[str]:
    """Return a sentence on who was declared before the largest size was looked at, and how that turned out."""
    said = []
    for winner in found["winners"]:
        law, target = winner["law"], winner["target_rmse_test_loss"]
        if winner["x"] == x and law in target:
            best, sizes = winner["best_on_target"], ", ".join(map(human_count, winner["chosen_on_params"]))
            told = "nothing has less" if best == law else f"the least there, by {in_words(best)}, is {target[best]:.3f}"
            said.append(
                f"Declared on {sizes} (early-size, trained on the smaller sizes): {in_words(law)}, RMSE "
                f"{winner['rmse_test_loss'][law]:.3f}. Its RMSE at {human_count(winner['target_params'])}: "
                f"{target[law]:.3f}; {told}."
            )
    return said
