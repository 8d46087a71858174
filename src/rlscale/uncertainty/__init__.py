"""How sure a fit is: the noise of runs, replicates, profiles, intervals and the verdict on saturation."""
