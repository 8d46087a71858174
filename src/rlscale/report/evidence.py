"""What the page's planner computes with: the lines of every fit in all replicates, and all that its flags need.

The scripts in `planner/` do with it what `rlscale plan` does. Draws travel as little-endian float64 in base64, bit for
bit.
"""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlscale.curve_points import X_COLUMN, arrange
from rlscale.errors import UserError
from rlscale.fit import usable_points
from rlscale.plan import hardware, read_lines, read_supply
from rlscale.plan.flags import MOST_DECADES, asymptotes, of_fit
from rlscale.plan.lines import Lines
from rlscale.plan.numbers import REACH
from rlscale.report.material import Material
from rlscale.uncertainty import LEVEL


def planner_data(material: Material) -> dict[str, Any]:
    """Return the planner's evidence as JSON-native values: ``constants``, ``fits`` by name, ``supply``, ``refused``.

    A fit that no plan can be made from stands in ``refused`` with the reason.
    """
    fits: dict[str, Any] = {}
    refused: dict[str, str] = {}
    rows = 0
    for name, fit in material.fits.items():
        try:
            lines = read_lines(fit)
        except UserError as error:
            refused[name] = str(error)
            continue
        rows = len(lines.slope)
        fits[name] = _fit(fit, lines, material)
    return {
        "constants": {
            "level": LEVEL,
            "reach": REACH,
            "most_decades": MOST_DECADES,
            "gpus": {name: peak for name, (peak, _) in hardware.GPUS.items()},
        },
        "defaults": {"mfu": hardware.MFU, "overhead": hardware.OVERHEAD},
        "source": material.files["fit"],
        "fits": fits,
        "refused": refused,
        "supply": _supply(material, rows) if rows else None,
    }


def _fit(fit: Mapping[str, Any], lines: Lines, material: Material) -> dict[str, Any]:
    made = fit["intervals"]
    said = {name: fit[name] for name in ("law", "x", "loss", "variant", "points")}
    return {
        "fit": said | {name: made[name] for name in ("level", "draws", "seed")},
        "rows": len(lines.slope),
        "params": lines.params.tolist(),
        "slope": _packed(lines.slope),
        "level": _packed(lines.level),
        "first": lines.first.tolist(),
        "last": lines.last.tolist(),
        "fitted": lines.fitted.tolist(),
        "flops_per_sample": _known(lines.flops_per_sample),
        "samples_per_step": _known(lines.samples_per_step),
        "floors": fitted_floors(fit, lines, material.points),
        "flags": [{"code": flag.code, "text": flag.text} for flag in of_fit(fit, material.comparison)],
    }


def fitted_floors(fit: Mapping[str, Any], lines: Lines, points: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return by law with an asymptote and by size the loss at which it ends, fitted to the points of the fit."""
    if "variant" in points and fit["variant"]:
        points = points[points["variant"] == fit["variant"]]
    used, _ = usable_points(points, x=fit["x"], max_params=fit["max_params"], first_steps=fit["first_steps"])
    return asymptotes(arrange(used, x=X_COLUMN[fit["x"]], weights=fit["weights"]), lines, fit["loss"])


def _supply(material: Material, rows: int) -> dict[str, Any] | None:
    """Return the law of reuse with its parameter by row; None where no runs tell one."""
    reuse = material.findings.get("reuse")
    if not reuse:
        return None
    found = read_supply(reuse, 1.0, rows)
    value = np.broadcast_to(np.asarray(found.value, dtype=np.float64).reshape(-1), rows)
    return {"law": found.law, "identified": found.identified, "reason": found.reason, "value": _packed(value)}


def _packed(values: npt.NDArray[np.float64]) -> str:
    return b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode("ascii")


def _known(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
