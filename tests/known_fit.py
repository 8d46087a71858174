"""A fit of two sizes whose lines are known by hand, in the JSON that plans are made from."""

from collections.abc import Sequence
from typing import Any


def known_fit(
    scales: Sequence[float] = (0.2, 0.19, 0.21, 0.195, 0.205),
    *,
    small: float = 1.7,
    large: float = 2.6,
    levels: Sequence[float] = (0.0, 0.01, -0.01, 0.0, 0.0),
) -> dict[str, Any]:
    """Return log10 L = small - 0.1 log10 C at 1e9 parameters, and large - 0.15 log10 C at 3e9.

    Args:
        scales: k_max of the replicates (the fit's is 0.2, n_0 is 1e9).
        small: E of the smaller size.
        large: E of the larger one.
        levels: what the replicates add to the fitted levels at the pivot, 1e20 FLOPs.
    """
    pivot = {"1000000000": 20.0, "3000000000": 20.0}
    level = {"1000000000": small - 2.0, "3000000000": large - 3.0}
    interval = {"estimate": 0.2, "low": 0.19, "high": 0.21, "level": 0.9}
    return {
        "law": "saturating_slope",
        "x": "compute",
        "loss": "log",
        "weights": "none",
        "variant": "base",
        "max_params": None,
        "first_steps": None,
        "k_max": 0.2,
        "n_0": 1e9,
        "points": 100,
        "notes": [],
        "saturation": {"verdict": "saturating", "reason": "by hand"},
        "intervals": {
            "level": 0.9,
            "draws": len(scales),
            "seed": 0,
            "k_max": interval,
            "notes": [],
            "replicates": {
                "k_max": " ".join(map(str, scales)),
                "n_0": " ".join("1e9" for _ in scales),
                "levels": {size: " ".join(str(at + add) for add in levels) for size, at in level.items()},
                "pivot": pivot,
                "level": level,
                "level_freedom": 8,
            },
        },
        "ranges": {
            "1000000000": {"first_x": 1e17, "last_x": 1e19, "flops_per_sample": 1e13, "samples_per_step": 500.0},
            "3000000000": {"first_x": 3e17, "last_x": 3e19, "flops_per_sample": 3e13, "samples_per_step": 500.0},
        },
    }
