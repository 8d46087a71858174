"""Shared by the tests of figures: synthetic curves, and what can be read off a figure."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "config" / "data" / "tan2025_base_curves.csv"
STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128)
SIZES = (3012, 11784, 32440, 185376)


def run_rows(
    params: int = 32440, base_seed: int = 0, tau: int = 1, last: int = STEPS[-1], **values: Any
) -> list[dict[str, Any]]:
    """One synthetic run: an exact power law from the first step on, a little different for each base and τ."""
    k = 0.6 / (1 + 9000 / params)
    setting: dict[str, Any] = {
        "variant": "base",
        "tau": tau,
        "group_size": 8,
        "reward_accuracy": 1.0,
        "families": "chain",
    }
    setting |= {"skill_share": 1.0, "base_seed": base_seed, "seed": 0, "excluded": ""} | values
    name = "_".join(str(value) for value in (params, *setting.values()))
    rows = []
    for step in (step for step in STEPS if step <= last):
        loss = 0.8 * max(step, 0.9) ** -k * (1 + 0.02 * base_seed) * (1 + 0.1 * np.log10(tau))
        rows.append(
            {"run": name, "model": f"m{params}", "params": params, "step": step, "samples": 128 * step}
            | {"compute_flops": 6.0 * params * 128 * 64 * step, "test_loss": loss, "test_loss_se": 0.004}
            | setting
        )
    return rows


def table(*runs: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([row for run in runs for row in run])


def lines(axes: Axes, gid: str) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def drawn(line: Line2D) -> npt.NDArray[np.float64]:
    """The x and y of a line, as rows."""
    return np.array([line.get_xdata(), line.get_ydata()], dtype=np.float64)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in _texts(figure) if text.get_visible())


def _texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if isinstance(text, Text)]


def drawn_texts(figure: Figure) -> list[Text]:
    """The texts that can be seen: tick labels outside their axis are made by matplotlib but not drawn."""
    ticks = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in _outside(axis)}
    return [text for text in _texts(figure) if text.get_visible() and text.get_text() and text not in ticks]


def _outside(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    pairs = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
    return [label for at, label in pairs if not low <= at <= high]


def assert_texts_fit(figure: Figure) -> None:
    page = figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in drawn_texts(figure)]
    assert len(boxes) > 8
    for said, box in boxes:
        assert page.x0 - 1 <= box.x0 < box.x1 <= page.x1 + 1, said
        assert page.y0 - 1 <= box.y0 < box.y1 <= page.y1 + 1, said
    for i, (said, box) in enumerate(boxes):
        for other, other_box in boxes[i + 1 :]:
            assert not box.overlaps(other_box), (said, other)
