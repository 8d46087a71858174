"""The study's figures: pure functions from tables to a matplotlib figure, and from a figure to bytes.

Nothing here opens a file or touches pyplot; the same tables and metadata give the same bytes in every process.
"""

from rlscale.figures.controls import controls
from rlscale.figures.law import loss_against_x
from rlscale.figures.parameters import profile, slope
from rlscale.figures.predictions import forecast
from rlscale.figures.ranking import tournament
from rlscale.figures.style import human_count, render
from rlscale.figures.sweep import factor, reuse

__all__ = [
    "controls",
    "factor",
    "forecast",
    "human_count",
    "loss_against_x",
    "profile",
    "render",
    "reuse",
    "slope",
    "tournament",
]
