"""Tables at the edge of what a law can say: a right answer with intervals, or a clear refusal; never a traceback."""

import json
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from rlscale.errors import UserError
from rlscale.fit import Fit, fit_points
from rlscale.simulation import Design, simulate_points

SIZES, SLOPES = (1_000, 4_000, 16_000, 64_000), (0.02, 0.08, 0.15, 0.2)


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def table(last_step: int = 40, problems: int = 2000) -> pd.DataFrame:
    design = Design(SIZES, SLOPES, np.linspace(0.95, 0.75, 4).tolist(), range(1, last_step), seeds=1, problems=problems)
    return simulate_points(design, np.random.default_rng(0))


def fit(points: pd.DataFrame, method: str = "profile", loss: str = "log") -> Fit:
    found = fit_points(points, x="samples", loss=loss, intervals=method, draws=100)  # type: ignore[arg-type]
    json.dumps(found.to_json(), allow_nan=False)
    return found


METHODS = pytest.mark.parametrize("method", ["bootstrap", "profile"])


@METHODS
@pytest.mark.parametrize("loss", ["linear", "log", "huber"])
@pytest.mark.parametrize("value", [0.5, 1.0])
def test_a_loss_that_never_changes_has_no_slope_and_no_n_0(method: str, loss: str, value: float) -> None:
    found = fit(table().assign(test_loss=value), method, loss)
    assert found.k_max == 0.0
    assert found.intervals is not None
    assert (found.intervals["n_0"]["low"], found.intervals["n_0"]["high"]) == (None, None)
    assert found.saturation is not None
    assert found.saturation["verdict"] == "not identified"


@METHODS
def test_a_loss_that_rises_has_no_slope_and_nothing_bounds_k_max(method: str) -> None:
    points = table()
    found = fit(points.assign(test_loss=np.clip(points["test_loss"][::-1].to_numpy(), 0, 1)), method)
    assert found.k_max == 0.0
    assert found.intervals is not None
    assert found.intervals["k_max"]["low"] == 0.0
    assert found.intervals["k_max"]["high"] is None


@METHODS
def test_two_sizes_cannot_bound_saturation(method: str) -> None:
    points = table()
    found = fit(points[points["params"] < 5_000], method)
    assert found.intervals is not None
    assert found.intervals["run_freedom"] == 0
    assert found.intervals["n_0"]["high"] is None
    assert found.intervals["k_max"]["high"] is None
    assert any("as many parameters as runs" in note for note in found.intervals["notes"])
    assert found.saturation is not None
    assert found.saturation["verdict"] == "not identified"


def test_two_points_a_size_leave_the_scatter_between_sizes() -> None:
    points = table()
    found = fit(points[points["step"].isin([1, 30])])
    assert found.intervals is not None
    assert found.intervals["run_sd"] > 0
    assert found.intervals["n_0"]["low"] < 0.9 * found.intervals["n_0"]["estimate"]


def test_one_point_a_size_is_refused() -> None:
    points = table()
    with pytest.raises(UserError, match="params 1000 has 1 usable points"):
        fit(points[points["step"] == 3])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda points: points.sample(frac=1, random_state=1), id="order of rows"),
        pytest.param(lambda points: points[::-1], id="sizes descending"),
    ],
)
def test_the_order_of_rows_changes_no_bit(change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    assert fit(change(table())).to_json() == fit(table()).to_json()


def test_duplicated_rows_leave_the_estimate_and_are_noted() -> None:
    points = table()
    once, twice = fit(points), fit(pd.concat([points, points]))
    assert twice.k_max == pytest.approx(once.k_max, rel=1e-9)
    assert twice.n_0 == pytest.approx(once.n_0, rel=1e-9)
    assert any("several rows of one step" in note for note in twice.notes)
    assert once.intervals is not None
    assert twice.intervals is not None
    for end in ("low", "high"):  # a row twice is no news: the interval stays as wide, give or take its replicates
        assert twice.intervals["n_0"][end] == pytest.approx(once.intervals["n_0"][end], rel=0.25)


@pytest.mark.slow
def test_a_million_points_are_fitted() -> None:
    points = table(last_step=250_001)
    assert len(points) == 1_000_000
    found = fit_points(points, x="samples", loss="linear")
    assert list(found.k_free.values()) == pytest.approx(list(SLOPES), abs=0.002)
