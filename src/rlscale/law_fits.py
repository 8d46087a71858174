"""Every law by name, and how to fit it to curves."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from rlscale.curve_points import Curves
from rlscale.laws import Fitted
from rlscale.slope_fits import fit_slopes
from rlscale.surface import SURFACE_LAWS, fit_surface

Fitter = Callable[[Curves, Literal["linear", "log"]], Fitted]

LAWS: dict[str, Fitter] = {
    name: partial(fit_slopes, name)
    for name in ("saturating_slope", "log_slope", "power_slope", "free_slope", "kept_slope")
} | {name: partial(fit_surface, law) for name, law in SURFACE_LAWS.items()}
