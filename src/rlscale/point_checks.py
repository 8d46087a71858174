"""What a table of points must be before a law is fitted on it.

A point is the test loss of one run at one step. These checks are pure: reading a file and fitting a table share them,
and every complaint is one sentence that names the source, the row, the column, the value and what is allowed.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlscale.errors import UserError, did_you_mean

COLUMNS = ("variant", "params", "step", "samples", "compute_flops", "test_loss")
"""The columns of a table of points; more are allowed."""

CURVE_COLUMNS = ("base_seed", "seed", "tau", "run")
"""Optional columns that, with params, tell one curve from another."""

_ZERO_AT_STEP_0 = ("samples", "compute_flops")


def check_points(
    points: pd.DataFrame,
    *,
    source: str,
    rows: str = "row",
    columns: Sequence[str] = COLUMNS,
    variant: str | None = None,
) -> pd.DataFrame:
    """Return ``points`` with numeric columns and one variant, or say what is wrong with it.

    Args:
        points: the table; its index numbers the rows in messages.
        source: the name of the table in messages.
        rows: what a row is called in messages, "line" for a text file.
        columns: the columns that must be there, all numbers except ``variant``.
        variant: the variant to keep; None where the table holds a single one.

    Returns:
        A new table with a fresh index and every column of ``points``.

    Raises:
        UserError: there is no row, a column is missing, a value is not allowed, or the variant is not clear.
    """
    if points.empty:
        raise UserError(f"{source}: holds no rows; at least two points of two sizes are needed")
    _check_columns(points, columns, source)
    checked = points.copy()
    for column in columns:
        if column != "variant":
            checked[column] = _numbers(points[column], column, source, rows)
    _check_values(checked, columns, source, rows)
    for column in ("variant", *CURVE_COLUMNS):
        if column in checked:
            missing = checked[column].isna().to_numpy()
            _refuse(missing, checked[column], source, rows, "a value in every row")
    if "variant" in checked:
        checked["variant"] = checked["variant"].astype(str)
        checked = _one_variant(checked, variant, source)
    checked["params"] = checked["params"].astype(np.int64)
    return checked.reset_index(drop=True)


def check_sizes(points: pd.DataFrame, *, source: str) -> None:
    """Refuse checked points that hold fewer than two sizes, or a size with fewer than two points after step 0.

    Raises:
        UserError: as said; the message names the size.
    """
    sizes = [int(size) for size in np.unique(points["params"].to_numpy())]
    if len(sizes) < 2:
        held = f"only one size (params {sizes[0]})" if sizes else "no size"
        raise UserError(f"{source}: holds {held}; a law across sizes needs at least two")
    usable = points["params"].to_numpy()[points["step"].to_numpy() > 0]
    for size in sizes:
        count = int(np.count_nonzero(usable == size))
        if count < 2:
            raise UserError(f"{source}: params {size} has {count} usable points (after step 0); at least 2 are needed")


def _check_columns(points: pd.DataFrame, columns: Sequence[str], source: str) -> None:
    there = [str(column) for column in points.columns]
    twice = sorted({column for column in there if there.count(column) > 1})
    if twice:
        raise UserError(f"{source}: column {twice[0]} stands there twice; each column is allowed once")
    missing = [column for column in columns if column not in there]
    if missing:
        spare = [column for column in there if column not in (*COLUMNS, *CURVE_COLUMNS)]
        hints = [f"{column}{hint}" for column in spare if (hint := did_you_mean(column, missing))]
        near = f"; found {', '.join(hints)}" if hints else ""
        plural = "s" if len(missing) > 1 else ""
        raise UserError(f"{source}: missing column{plural} {', '.join(missing)}{near}")


def _numbers(values: pd.Series, column: str, source: str, rows: str) -> pd.Series:
    """Return the column as finite int64 or float64."""
    if pd.api.types.is_bool_dtype(values.dtype):
        values = values.astype(str)
    numbers = pd.to_numeric(values, errors="coerce")
    floats = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    missing = values.isna().to_numpy()
    _refuse(missing, values, source, rows, "a number")
    _refuse(np.isnan(floats), values, source, rows, "a number")
    _refuse(np.isinf(floats), values, source, rows, "a finite number")
    if pd.api.types.is_integer_dtype(numbers.dtype) and floats.max() < 2**63:
        return numbers.astype(np.int64)
    return pd.Series(floats, index=values.index, name=column)


def _check_values(points: pd.DataFrame, columns: Sequence[str], source: str, rows: str) -> None:
    params = points["params"].to_numpy(dtype=np.float64)
    _refuse((params <= 0) | (params != np.floor(params)), points["params"], source, rows, "a positive whole number")
    _refuse(params >= 2**63, points["params"], source, rows, "a whole number below 2^63")
    step = points["step"].to_numpy(dtype=np.float64)
    _refuse(step < 0, points["step"], source, rows, "0 (the base score) or a positive number")
    for column in _ZERO_AT_STEP_0:
        if column in columns:
            values = points[column].to_numpy(dtype=np.float64)
            _refuse((step == 0) & (values != 0), points[column], source, rows, "0 at step 0 (the base score)")
            _refuse((step > 0) & (values <= 0), points[column], source, rows, "a positive number after step 0")
    loss = points["test_loss"].to_numpy(dtype=np.float64)
    _refuse((loss <= 0) | (loss > 1), points["test_loss"], source, rows, "above 0 and at most 1")


def _refuse(bad: npt.NDArray[np.bool_], values: pd.Series, source: str, rows: str, allowed: str) -> None:
    if not bad.any():
        return
    first = int(np.argmax(bad))
    value = values.iloc[first]
    said = "missing (NaN)" if pd.isna(value) else repr(value.item() if isinstance(value, np.generic) else value)
    raise UserError(f"{source}, {rows} {values.index[first]}: {values.name} is {said}; allowed: {allowed}")


def _one_variant(points: pd.DataFrame, variant: str | None, source: str) -> pd.DataFrame:
    variants = sorted(points["variant"].unique())
    named = ", ".join(variants)
    if variant is None:
        if len(variants) > 1:
            raise UserError(f"{source}: holds several variants ({named}); name the one to use")
        return points
    if variant not in variants:
        raise UserError(f"{source}: has no variant {variant!r} (it has {named}){did_you_mean(variant, variants)}")
    return points[points["variant"] == variant]
