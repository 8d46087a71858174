"""The sensitivity table: the published reference, and that each row changes what it says and nothing else."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlscale.curve_points import X_COLUMN
from rlscale.errors import UserError
from rlscale.fit import fit_points
from rlscale.forecasts.sensitivity import Variation, sensitivity
from rlscale.points import read_points

DATA = Path(__file__).parents[2] / "config" / "data"
# The counts of Qwen's model cards, as in config/models/qwen2.5.yaml.
NON_EMBEDDING = {
    500_000_000: 360_000_000,
    1_500_000_000: 1_310_000_000,
    3_000_000_000: 2_770_000_000,
    7_000_000_000: 6_530_000_000,
    14_000_000_000: 13_100_000_000,
    32_000_000_000: 31_000_000_000,
    72_000_000_000: 70_000_000_000,
}


SAYS = "weights from standard errors need a positive test_loss_se at every point"


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return read_points(DATA / "tan2025_base_curves.csv")


@pytest.fixture(scope="module")
def rows(published: pd.DataFrame) -> list[Variation]:
    return sensitivity(published, x="compute", loss="linear", non_embedding_params=NON_EMBEDDING)


def row(rows: Sequence[Variation], choice: str, value: str) -> Variation:
    (found,) = [one for one in rows if (one.choice, one.value) == (choice, value)]
    return found


def table(sizes: Sequence[int] = (1_000, 4_000, 16_000, 64_000, 256_000)) -> pd.DataFrame:
    generator = np.random.default_rng(6)
    step = np.arange(1, 31)
    tables = []
    for size in sizes:
        loss = 10 ** (-0.1 - 0.3 / (1 + 9e3 / size) * np.log10(step)) * np.exp(generator.normal(0, 0.02, step.size))
        tables.append(pd.DataFrame({"params": size, "step": step, "samples": 64 * step, "test_loss": loss}))
    points = pd.concat(tables, ignore_index=True)
    return points.assign(compute_flops=6.0 * points["params"] * points["samples"])


def test_the_published_reference_is_table_6_and_the_known_forecast(rows: list[Variation]) -> None:
    """Tan et al., arXiv 2509.25300, Table 6: 0.1518 and 17.37B on sizes up to 32B; RMSE 0.0302 at 72B is known."""
    reference = rows[0]
    assert (reference.choice, reference.sizes, reference.points) == ("reference", 6, 629)
    assert reference.k_max == pytest.approx(0.1518, abs=0.0003)
    assert reference.n_0_params == pytest.approx(17.37e9, abs=0.1e9)
    assert reference.forecast_rmse_test_loss == pytest.approx(0.0302, abs=0.00005)
    # The reference data's notes: the end is forecast at 0.392, where the last ten points average 0.443.
    assert reference.forecast_test_loss_at_end == pytest.approx(0.393, abs=0.003)
    assert (reference.k_max_change_percent, reference.n_0_change_percent, reference.forecast_change_percent) == (
        0,
        0,
        0,
    )


def test_every_choice_has_its_row(rows: list[Variation]) -> None:
    named = [(one.choice, one.value) for one in rows]
    assert len(set(named)) == len(named)
    assert {choice for choice, _ in named} == {
        "reference",
        "loss space",
        "steps left out",
        "size left out",
        "count of parameters",
        "X",
    }
    assert [value for choice, value in named if choice == "size left out"] == [str(size) for size in NON_EMBEDDING][:-1]
    assert [value for choice, value in named if choice == "steps left out"] == [
        "10% at the start",
        "10% at the end",
        "25% at the start",
        "25% at the end",
    ]


def test_rows_are_the_fits_that_they_say(published: pd.DataFrame, rows: list[Variation]) -> None:
    fitted = published[published["params"] <= 3.3e10]
    last = fitted.groupby("params")["step"].transform("max")
    tables = {
        ("loss space", "log"): (fitted, "compute", "log"),
        ("size left out", "1500000000"): (fitted[fitted["params"] != 1_500_000_000], "compute", "linear"),
        ("steps left out", "25% at the start"): (fitted[fitted["step"] > 0.25 * last], "compute", "linear"),
        ("steps left out", "10% at the end"): (fitted[fitted["step"] <= 0.9 * last], "compute", "linear"),
        ("count of parameters", "without embeddings"): (
            fitted.assign(params=fitted["params"].map(NON_EMBEDDING)),
            "compute",
            "linear",
        ),
        ("X", "samples"): (fitted, "samples", "linear"),
    }
    reference = rows[0]
    assert reference.k_max is not None
    for (choice, value), (points, x, loss) in tables.items():
        fit, found = fit_points(points, x=x, loss=loss), row(rows, choice, value)  # type: ignore[arg-type]
        assert found.points == fit.points
        assert found.k_max == pytest.approx(fit.k_max, rel=1e-9)
        assert found.n_0_params == pytest.approx(fit.n_0, rel=1e-9)
        assert found.k_max_change_percent == pytest.approx(100 * (fit.k_max / reference.k_max - 1))
        if choice != "count of parameters":
            ahead = from_three_points(published, float(fit.slope(72e9)), X_COLUMN[fit.x])
            assert found.forecast_test_loss_at_end == pytest.approx(ahead, rel=1e-9)


def from_three_points(points: pd.DataFrame, k: float, x: str) -> float:
    """Return the loss of 72B at its end, from the slope and the level of its first three points."""
    own = points[points["params"] == 72_000_000_000].sort_values("step")
    log10_x, log10_loss = np.log10(own[x].to_numpy()), np.log10(own["test_loss"].to_numpy())
    level = np.mean(log10_loss[:3] + k * log10_x[:3])
    end = own["step"].to_numpy() > 0.9 * own["step"].max()
    return float(np.mean(10 ** (level - k * log10_x[end])))


def test_the_full_ledger_takes_the_place_of_compute_where_there_is_one() -> None:
    points = table()
    # A ledger that is a power of 6·N·T divides every slope by that power and leaves N_0 and the forecast.
    ledger = points.assign(total_flops=1e4 * points["compute_flops"] ** 0.5)
    found = row(sensitivity(ledger, x="compute", loss="log"), "compute", "full ledger")
    assert found.k_max_change_percent == pytest.approx(100.0, abs=1e-4)
    assert found.n_0_change_percent == pytest.approx(0.0, abs=1e-4)
    assert found.forecast_change_percent == pytest.approx(0.0, abs=1e-4)
    for other in (sensitivity(points, x="compute", loss="log"), sensitivity(ledger, x="samples", loss="log")):
        assert "compute" not in {one.choice for one in other}


def test_weights_follow_the_standard_errors() -> None:
    points = table()
    spoiled = (points["step"] % 2 == 0) & (points["params"] < 256_000)
    rough = points.assign(test_loss=points["test_loss"].where(~spoiled, 0.9), test_loss_se=np.where(spoiled, 1e3, 1e-3))
    clean = points[~spoiled]
    for loss in ("linear", "log"):
        weight = clean.assign(test_loss_se=clean["test_loss"] if loss == "log" else 1.0)  # alike in that space
        alone = sensitivity(weight, x="samples", loss=loss)  # type: ignore[arg-type]
        same = row(alone, "weights", "by standard error")
        assert same.k_max == pytest.approx(alone[0].k_max)
        assert same.forecast_change_percent == pytest.approx(0.0, abs=1e-6)
    unspoiled = sensitivity(clean, x="samples", loss="linear")[0]
    found = row(sensitivity(rough, x="samples", loss="linear"), "weights", "by standard error")
    assert found.k_max == pytest.approx(unspoiled.k_max, rel=1e-4)
    assert found.n_0_params == pytest.approx(unspoiled.n_0_params, rel=1e-4)
    none = points.assign(test_loss_se=0.0)
    refused = row(sensitivity(none, x="samples", loss="linear"), "weights", "by standard error")
    assert (refused.k_max, refused.reason) == (None, f"points: {SAYS}")


def test_a_choice_that_leaves_too_little_says_so() -> None:
    made = sensitivity(table((1_000, 4_000, 16_000, 64_000)), x="samples", loss="log")
    found = row(made, "size left out", "4000")
    assert found.k_max is None
    assert found.reason == "params 64000 cannot be sealed: at least 3 smaller sizes are needed to train on"


def test_a_loss_that_does_not_fall_has_no_n_0_and_no_change() -> None:
    made = sensitivity(table().assign(test_loss=0.5), x="samples", loss="linear")
    assert (made[0].k_max, made[0].n_0_params, made[0].k_max_change_percent) == (0.0, None, None)
    assert made[0].forecast_test_loss_at_end == pytest.approx(0.5)


def test_too_few_sizes_leave_the_reference_and_its_reason() -> None:
    (only,) = sensitivity(table((1_000, 4_000, 16_000)), x="samples", loss="log")
    assert only.reason == "params 16000 cannot be sealed: at least 3 smaller sizes are needed to train on"
    assert only.k_max is None


def test_refusals() -> None:
    with pytest.raises(UserError, match="non_embedding_params lacks params 4000"):
        sensitivity(
            table((1_000, 4_000, 16_000, 64_000)),
            x="samples",
            loss="log",
            non_embedding_params={1_000: 900, 16_000: 15_000, 64_000: 63_000},
        )


def test_json_is_strict(rows: list[Variation]) -> None:
    for one in rows:
        assert json.loads(json.dumps(one.to_json(), allow_nan=False)) == one.to_json()
