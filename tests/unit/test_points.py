"""Reading a table of points: what is accepted, and one clear sentence for each thing that is not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlscale.errors import UserError
from rlscale.points import read_points

HEADER = "variant,params,step,samples,compute_flops,test_loss"
GOOD = [
    "base,1000,0,0,0,0.95",
    "base,1000,1,64,1.5e6,0.9",
    "base,1000,2,128,3e6,0.8",
    "base,4000,1,64,6e6,0.9",
    "base,4000,2,128,1.2e7,0.7",
]


def write(folder: Path, rows: list[str], header: str = HEADER) -> Path:
    path = folder / "points.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def refusal(path: Path, variant: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read_points(path, variant=variant)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(path.parent) + "/", "")


def test_reads_columns_as_numbers_and_keeps_the_rest(tmp_path: Path) -> None:
    rows = [f"{row},{seed},note" for seed, row in enumerate(GOOD)]
    points = read_points(write(tmp_path, rows, HEADER + ",seed,remark"))
    assert points["params"].tolist() == [1000, 1000, 1000, 4000, 4000]
    assert points["params"].dtype == np.int64
    assert points["compute_flops"].tolist() == [0, 1.5e6, 3e6, 6e6, 1.2e7]
    assert points["seed"].tolist() == [0, 1, 2, 3, 4]
    assert set(points["remark"]) == {"note"}


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    points = read_points(write(tmp_path, GOOD))
    points.to_parquet(tmp_path / "points.parquet")
    pd.testing.assert_frame_equal(read_points(tmp_path / "points.parquet"), points)


def test_a_byte_order_mark_blank_lines_and_spaces_do_not_matter(tmp_path: Path) -> None:
    plain = read_points(write(tmp_path, GOOD))
    path = tmp_path / "excel.csv"
    path.write_text("\ufeff" + HEADER.replace(",", ", ") + "\n" + "\n\n".join(GOOD) + "\n\n", encoding="utf-8")
    pd.testing.assert_frame_equal(read_points(path), plain, check_dtype=False)


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, [*GOOD[:2], "", GOOD[2].replace("0.8", "1.8"), *GOOD[3:]]))
    assert message == "points.csv, line 5: test_loss is 1.8; allowed: above 0 and at most 1"


def test_one_variant_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path, [*GOOD, *(row.replace("base", "instruct") for row in GOOD)])
    assert set(read_points(path, variant="instruct")["variant"]) == {"instruct"}
    assert refusal(path) == "points.csv: holds several variants (base, instruct); name the one to use"
    assert refusal(path, "instuct") == (
        "points.csv: has no variant 'instuct' (it has base, instruct); did you mean instruct?"
    )


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("base,4000,2,128,1.2e7,", "test_loss is missing (NaN); allowed: a number"),
        ("base,4000,2,128,1.2e7,nan", "test_loss is missing (NaN); allowed: a number"),
        ("base,4000,2,128,1.2e7,high", "test_loss is 'high'; allowed: a number"),
        ("base,4000,2,128,1.2e7,0", "test_loss is 0.0; allowed: above 0 and at most 1"),
        ("base,4000,2,128,1.2e7,1.01", "test_loss is 1.01; allowed: above 0 and at most 1"),
        ("base,4000,2,128,1.2e7,-0.1", "test_loss is -0.1; allowed: above 0 and at most 1"),
        ("base,4000,2,128,inf,0.7", "compute_flops is inf; allowed: a finite number"),
        ("base,4000,2,128,0,0.7", "compute_flops is 0.0; allowed: a positive number after step 0"),
        ("base,4000,2,-128,1.2e7,0.7", "samples is -128; allowed: a positive number after step 0"),
        ("base,4000,0,128,0,0.7", "samples is 128; allowed: 0 at step 0 (the base score)"),
        ("base,4000,-2,128,1.2e7,0.7", "step is -2; allowed: 0 (the base score) or a positive number"),
        ("base,4000.5,2,128,1.2e7,0.7", "params is 4000.5; allowed: a positive whole number"),
        ("base,0,2,128,1.2e7,0.7", "params is 0; allowed: a positive whole number"),
        ("base,1e20,2,128,1.2e7,0.7", "params is 1e+20; allowed: a whole number below 2^63"),
        (",4000,2,128,1.2e7,0.7", "variant is missing (NaN); allowed: a value in every row"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_line(tmp_path: Path, row: str, says: str) -> None:
    assert refusal(write(tmp_path, [*GOOD, row])) == f"points.csv, line 7: {says}"


def test_truth_values_are_no_losses(tmp_path: Path) -> None:
    rows = [row.rsplit(",", 1)[0] + ",True" for row in GOOD]
    assert refusal(write(tmp_path, rows)) == "points.csv, line 2: test_loss is 'True'; allowed: a number"


def test_parquet_rows_count_from_1(tmp_path: Path) -> None:
    points = read_points(write(tmp_path, GOOD))
    points.loc[2, "test_loss"] = np.nan
    points.to_parquet(tmp_path / "points.parquet")
    assert refusal(tmp_path / "points.parquet").startswith("points.parquet, row 3: test_loss is missing")


def test_a_curve_without_its_seed_is_refused(tmp_path: Path) -> None:
    rows = [f"{row},{'' if index == 3 else 1}" for index, row in enumerate(GOOD)]
    message = refusal(write(tmp_path, rows, HEADER + ",seed"))
    assert message == "points.csv, line 5: seed is missing (NaN); allowed: a value in every row"


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (HEADER.replace("test_loss", "testloss"), "missing column test_loss; found testloss; did you mean test_loss?"),
        ("variant,params,step,a,b,c", "missing columns samples, compute_flops, test_loss"),
        (HEADER.replace("samples", "step"), "column step stands there twice; each column is allowed once"),
    ],
)
def test_columns_that_are_missing_or_repeated(tmp_path: Path, header: str, says: str) -> None:
    assert refusal(write(tmp_path, GOOD, header)) == f"points.csv: {says}"


def test_too_few_sizes_or_points(tmp_path: Path) -> None:
    one_size = "points.csv: holds only one size (params 1000); a law across sizes needs at least two"
    assert refusal(write(tmp_path, GOOD[:3])) == one_size
    one_point = "points.csv: params 4000 has 1 usable points (after step 0); at least 2 are needed"
    assert refusal(write(tmp_path, ["base,4000,0,0,0,0.9", *GOOD[:4]])) == one_point


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.csv") == "none.csv: no such file"
    (tmp_path / "folder.csv").mkdir()
    assert refusal(tmp_path / "folder.csv") == "folder.csv: is not a file"
    (tmp_path / "points.txt").write_text("x", encoding="utf-8")
    assert refusal(tmp_path / "points.txt") == "points.txt: points are read from files that end in .csv or .parquet"
    for text in ("", "\n\n", HEADER + "\n"):
        (tmp_path / "empty.csv").write_text(text, encoding="utf-8")
        assert refusal(tmp_path / "empty.csv") == (
            "empty.csv: holds no rows; at least two points of two sizes are needed"
        )
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    assert refusal(tmp_path / "torn.parquet").startswith("torn.parquet: cannot be read as Parquet: ")
    (tmp_path / "binary.csv").write_bytes(HEADER.encode() + b"\n\xff\xfe\x00")
    assert refusal(tmp_path / "binary.csv").startswith("binary.csv: cannot be read as CSV: ")


def test_a_row_that_is_too_long_is_refused_and_not_cut(tmp_path: Path) -> None:
    for rows in ([*GOOD, GOOD[-1] + ",7"], [GOOD[0] + ",7", *GOOD[1:]], [row + ",7" for row in GOOD]):
        assert refusal(write(tmp_path, rows)).startswith("points.csv: cannot be read as CSV: ")
