"""How sure a fit is: the noise of runs, replicates, profiles, intervals and the verdict on saturation."""

LEVEL = 0.9
"""Level of every interval, unless another is asked for."""
