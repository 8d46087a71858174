"""Every law by name, and how to fit it to curves."""

from collections.abc import Callable
from functools import partial
from typing import get_args

from rlscale.curve_points import Curves
from rlscale.errors import UserError
from rlscale.fitting.loss_spaces import Loss
from rlscale.fitting.slope_fits import SlopeLawName, fit_slopes
from rlscale.fitting.surface import SURFACE_LAWS, fit_surface
from rlscale.laws import Fitted
from rlscale.laws.surface_law import SurfaceLaw

Fitter = Callable[[Curves, Loss], Fitted]


def _fit_surface(law: SurfaceLaw, curves: Curves, loss: Loss) -> Fitted:
    if loss == "huber":
        raise UserError(f"{law.name} is fitted on the linear or the log loss; huber is for laws of the slope")
    return fit_surface(law, curves, loss)


LAWS: dict[str, Fitter] = {name: partial(fit_slopes, name) for name in get_args(SlopeLawName)} | {
    name: partial(_fit_surface, law) for name, law in SURFACE_LAWS.items()
}
