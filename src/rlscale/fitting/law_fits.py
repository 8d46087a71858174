"""Every law by name, and how to fit it to curves. A further law, of either kind, is an entry of `FURTHER`."""

from collections.abc import Callable
from functools import partial
from typing import get_args

from rlscale.curve_points import Curves
from rlscale.errors import UserError
from rlscale.fitting.loss_spaces import Loss
from rlscale.fitting.slope_fits import SlopeLawName, fit_one_slope_law, fit_slopes
from rlscale.fitting.surface import SURFACE_LAWS, fit_surface
from rlscale.laws import Fitted, SlopeLaw
from rlscale.laws.surface_law import SurfaceLaw

Fitter = Callable[[Curves, Loss], Fitted]


def _fit_surface(law: SurfaceLaw, curves: Curves, loss: Loss) -> Fitted:
    if loss == "huber":
        raise UserError(f"{law.name} is fitted on the linear or the log loss; huber is for laws of the slope")
    return fit_surface(law, curves, loss)


FURTHER: tuple[SlopeLaw | SurfaceLaw, ...] = ()
"""Laws that join the tournament and no verdict: the rivals of saturation are those of `slope_laws`."""


def fitter_of(law: SlopeLaw | SurfaceLaw) -> Fitter:
    """Return how a law is fitted."""
    return partial(_fit_surface, law) if isinstance(law, SurfaceLaw) else partial(fit_one_slope_law, law)


LAWS: dict[str, Fitter] = (
    {name: partial(fit_slopes, name) for name in get_args(SlopeLawName)}
    | {law.name: fitter_of(law) for law in SURFACE_LAWS.values()}
    | {law.name: fitter_of(law) for law in FURTHER}
)
