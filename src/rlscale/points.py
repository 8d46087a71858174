"""Reads a table of points (test loss by model size and step) from a CSV or Parquet file.

The file only is read here; what its contents must be is checked by `rlscale.point_checks`.
"""

import csv
import warnings
from pathlib import Path

import pandas as pd
import pyarrow as pa

from rlscale.errors import UserError
from rlscale.point_checks import check_points, check_sizes


def read_points(path: Path | str, *, variant: str | None = None) -> pd.DataFrame:
    """Read and check the points of one variant.

    Args:
        path: a file whose name ends in ``.csv`` or ``.parquet``, with the columns variant, params, step, samples,
            compute_flops and test_loss; ``base_seed``, ``seed``, ``tau``, ``run`` and any other column are kept.
        variant: the variant to keep; needed where the file holds several.

    Returns:
        One row per point in the file's order. ``params`` is the number of parameters (int64), ``samples`` counts
        prompts consumed, ``compute_flops`` is in FLOPs and ``test_loss`` is 1 - pass@1. Rows of step 0 are the base
        score.

    Raises:
        UserError: the file cannot be read, or its contents are not allowed; one sentence that says where and why.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise UserError(f"{path}: points are read from files that end in {' or '.join(readers)}")
    points = readers[path.suffix](path)
    checked = check_points(points, source=str(path), rows="line" if path.suffix == ".csv" else "row", variant=variant)
    check_sizes(checked, source=str(path))
    return checked


def _read_csv(path: Path) -> pd.DataFrame:
    """Return the table with the file's line numbers as index."""
    try:
        # pandas would rename a repeated column, and so hide it: the header is taken as it stands.
        with path.open(newline="", encoding="utf-8-sig") as file:
            columns = [column.strip() for column in next(csv.reader(file), [])]
        with warnings.catch_warnings():
            # It would drop the last fields of a row that is too long with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                header=0,
                names=list(range(len(columns))),
                index_col=False,
                encoding="utf-8-sig",
                skip_blank_lines=False,
                skipinitialspace=True,
                low_memory=False,
            )
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (ValueError, OSError, csv.Error, pd.errors.ParserWarning) as error:
        raise _unreadable(path, "CSV", error) from error
    table.columns = pd.Index(columns)
    table.index = pd.RangeIndex(2, len(table) + 2)
    return table.dropna(how="all")


def _read_parquet(path: Path) -> pd.DataFrame:
    """Return the table with rows numbered from 1."""
    try:
        table = pd.read_parquet(path)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise _unreadable(path, "Parquet", error) from error
    return table.set_axis(pd.RangeIndex(1, len(table) + 1), axis=0)


def _unreadable(path: Path, form: str, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(f"{path}: cannot be read as {form}: {reason}")
