"""The published reuse curves in the form that the tests of claims and the reuse law read."""

import numpy as np
import pandas as pd

from rlscale.errors import UserError

PROMPTS_PER_STEP = 512
PARAMS = 7_000_000_000


def published_reuse(table: pd.DataFrame) -> pd.DataFrame:
    """Return the points of Tan et al.'s reuse experiment (7B base) with samples and unique samples.

    The raw scatter is used, not the smoothed lines drawn through it, which hide how much the steps vary. A step
    consumes 512 prompts; a run keeps 1 / tau of the problems of the longest run, in order, so it has seen all of its
    problems after 1 / tau of the steps.

    Args:
        table: columns tau, step, test_loss and kind ("scatter" or "fitted_line"), one row a reading.

    Returns:
        Columns run, params, tau, step, samples, unique_samples and test_loss.

    Raises:
        UserError: a column is missing, or there is no scatter.
    """
    missing = [column for column in ("tau", "step", "test_loss", "kind") if column not in table]
    if missing:
        raise UserError(f"reuse points: missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}")
    scatter = table[table["kind"] == "scatter"]
    if scatter.empty:
        raise UserError("reuse points: no row has kind scatter")
    tau, samples = scatter["tau"].to_numpy(), PROMPTS_PER_STEP * scatter["step"].to_numpy()
    return pd.DataFrame(
        {
            "run": [f"tau{value:03d}" for value in tau],
            "params": PARAMS,
            "tau": tau,
            "step": scatter["step"].to_numpy(),
            "samples": samples,
            "unique_samples": np.minimum(samples, samples.max() // tau),
            "test_loss": scatter["test_loss"].to_numpy(),
        }
    )
