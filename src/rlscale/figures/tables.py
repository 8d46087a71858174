"""The rows of a curves table that a figure draws, and what has to be said about those it does not."""

from collections.abc import Sequence

import pandas as pd

from rlscale.errors import UserError

FACTOR_COLUMNS = ("variant", "tau", "group_size", "reward_accuracy", "families", "skill_share", "supervision")
RUN_COLUMNS = ("params", "run", "model", *FACTOR_COLUMNS)
SEED_COLUMNS = ("base_seed", "seed")


def check(curves: pd.DataFrame, columns: Sequence[str], figure: str) -> None:
    """Refuse a table that a figure cannot be drawn from.

    Args:
        curves: one row per run and step.
        columns: the columns that the figure needs.
        figure: the figure's name, for the error.

    Raises:
        UserError: a column is missing, or there is no row that is not excluded.
    """
    if missing := [column for column in columns if column not in curves.columns]:
        raise UserError(f"figure {figure}: the curves have no column {', '.join(missing)}")
    if curves.empty:
        raise UserError(f"figure {figure}: the table of curves is empty")
    if is_excluded(curves).all():
        reasons = ", ".join(sorted(set(curves["excluded"])))
        raise UserError(f"figure {figure}: every run is excluded ({reasons})")


def is_excluded(curves: pd.DataFrame) -> "pd.Series[bool]":
    """Return which rows belong to a run that a rule of the study excludes."""
    if "excluded" not in curves.columns:
        return pd.Series(False, index=curves.index)
    return curves["excluded"].fillna("").astype(str) != ""


def drawn(curves: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that a logarithmic loss axis can show, of runs that are trained and not excluded.

    Returns:
        The rows, and a sentence on the points whose test loss is zero or missing, if there are any.
    """
    kept = curves[~is_excluded(curves)]
    rows = kept[kept["test_loss"] > 0]
    hidden = len(kept) - len(rows)
    said = f"Not on the logarithmic axis: {hidden} point{'s' if hidden > 1 else ''} without a positive test loss."
    trained = rows.groupby(run_columns(rows), dropna=False)["step"].transform("max") > 0
    return rows[trained], [said] if hidden else []


def run_columns(curves: pd.DataFrame) -> list[str]:
    """Return the columns that tell one run from another, of those in the table."""
    return [column for column in (*RUN_COLUMNS, *SEED_COLUMNS) if column in curves.columns]


def runs(curves: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of each run, in order of step."""
    return [rows.sort_values("step") for _, rows in curves.groupby(run_columns(curves), dropna=False)]


def omissions(curves: pd.DataFrame, missing: Sequence[str]) -> list[str]:
    """Return a sentence for the excluded runs of a table and one for the cells that are not there."""
    said = []
    if count := curves[is_excluded(curves)].groupby(run_columns(curves), dropna=False).ngroups:
        said.append(f"Excluded by the study's rules, not drawn: {count} run{'s' if count > 1 else ''}.")
    return said + absences(missing)


def absences(missing: Sequence[str]) -> list[str]:
    """Return a sentence that names the planned cells that are not there, if any."""
    return [f"Missing: {', '.join(missing)}."] if missing else []
