"""Which problems of its pool a run with data reuse keeps, in the pool's order."""

import numpy as np
import pandas as pd

from rlscale.canonical import derived_seed
from rlscale.task_spec import Subsets


def subset(pool: pd.DataFrame, count: int, how: Subsets, *, tau: int, seed: int) -> pd.DataFrame:
    """Return ``count`` problems of a pool, in its order.

    Args:
        pool: problems in the order of training.
        count: how many to keep.
        how: the first of the pool; a sample of all of it in which those of larger ``tau`` are nested; or a sample of
            its own for each ``tau``.
        tau: data reuse.
        seed: of the samples.
    """
    if how == "first":
        return pool.head(count)
    drawn = derived_seed("subset", seed, tau if how == "independent" else 0)
    places = np.random.Generator(np.random.PCG64(drawn)).permutation(len(pool))[:count]
    return pool.iloc[np.sort(places)].reset_index(drop=True)
