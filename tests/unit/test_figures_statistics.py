"""Figures of what a law is worth: bands are the intervals, forecasts stand beside what came, rankings rank."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from tests.figure_checks import PUBLISHED, assert_texts_fit, drawn, drawn_texts, legend, lines, words

from rlscale import figures
from rlscale.errors import UserError
from rlscale.figures.words import in_words, with_interval
from rlscale.fit import fit_points
from rlscale.fitting.law_fits import LAWS
from rlscale.forecasts.forecast import run_forecasts
from rlscale.forecasts.misfit_bands import misfit_band
from rlscale.forecasts.tournament import run_tournament
from rlscale.points import read_points

Json = dict[str, Any]
Array = npt.NDArray[np.float64]
LAW = "saturating_slope"
SIZES = (3_000, 12_000, 48_000, 190_000)
FORECAST_LAWS: Mapping[str, Any] = {name: LAWS[name] for name in (LAW, "kept_slope")}


def points(
    sizes: Sequence[int] = SIZES, *, bases: int = 3, k: float = 0.6, n_0: float = 9e3, power: float | None = None
) -> pd.DataFrame:
    """Noisy curves of several runs a size, saturating or with slopes that grow as a power of size for ever."""
    generator = np.random.default_rng(5)
    step = np.arange(13) * 8
    tables = []
    for size in sizes:
        for base in range(bases):
            slope = k / (1 + n_0 / size) if power is None else k * (size / sizes[-1]) ** power
            level = np.log10(0.9) + generator.normal(0, 0.02)
            loss = np.minimum(10 ** (level - slope * np.log10(np.maximum(step, 4) / 4)), 1.0)
            loss *= np.exp(generator.normal(0, 0.02, step.size))
            rows = pd.DataFrame({"params": size, "base_seed": base, "step": step, "samples": 128 * (base + 1) * step})
            tables.append(rows.assign(test_loss=np.minimum(loss, 1.0), run=f"m{size}_b{base}"))
    made = pd.concat(tables, ignore_index=True)
    return made.assign(compute_flops=6.0 * made["params"] * made["samples"])


def fit_of(table: pd.DataFrame, **options: Any) -> Json:
    asked: Json = {"x": "samples", "loss": "log", "intervals": "profile", "draws": 60} | options
    made: Json = fit_points(table, **asked).to_json()
    return made


@pytest.fixture(scope="module")
def curves() -> pd.DataFrame:
    return points()


@pytest.fixture(scope="module")
def fit(curves: pd.DataFrame) -> Json:
    return fit_of(curves)


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return read_points(PUBLISHED)


@pytest.fixture(scope="module")
def published_fit(published: pd.DataFrame) -> Json:
    return fit_of(published, x="compute", loss="linear", max_params=3.3e10, draws=200)


@pytest.fixture(scope="module")
def forecasts(published: pd.DataFrame) -> list[Json]:
    return forecasts_of(published, protocol="early-size", x="compute", loss="linear", training="smaller")


@pytest.fixture(scope="module")
def tournament_json(published: pd.DataFrame) -> Json:
    found = run_tournament(published, xs=("compute",), loss="linear", laws=FORECAST_LAWS, band=misfit_band)
    strict: Json = json.loads(json.dumps(found.to_json(), allow_nan=False))
    return strict


def forecasts_of(table: pd.DataFrame, **options: Any) -> list[Json]:
    made = run_forecasts(
        table, **{"laws": FORECAST_LAWS, "x": "samples", "loss": "log", "band": misfit_band, **options}
    )
    return [forecast.to_json() for forecast in made]


def band_edges(axes: Axes) -> list[tuple[Array, Array, Array]]:
    """Return x, lower and upper edge of each band in the order in which they were drawn."""
    edges = []
    for band in axes.collections:
        if band.get_gid() == "band":
            assert isinstance(band, PolyCollection)
            corners = np.asarray(band.get_paths()[0].vertices, dtype=np.float64)
            x = np.unique(corners[:, 0])
            sides = [corners[corners[:, 0] == at, 1] for at in x]
            edges.append((x, np.array([side.min() for side in sides]), np.array([side.max() for side in sides])))
    return edges


def assert_readable(figure: Figure) -> None:
    assert figure.get_figwidth() == 7
    assert min(float(text.get_fontsize()) for text in drawn_texts(figure)) >= 8
    assert_texts_fit(figure)


# --- slope and loss


def test_the_band_of_slopes_is_the_intervals_of_the_fitted_sizes(fit: Json) -> None:
    figure = figures.slope(fit)
    (axes,) = figure.axes
    ((along, low, high),), (law,) = band_edges(axes), lines(axes, "law")
    assert (along[0], along[-1]) == (SIZES[0], SIZES[-1])
    sizes = np.log(SIZES)
    for edge, side in ((low, "low"), (high, "high")):
        ends = [fit["intervals"]["k"][str(size)][side] - fit["k"][str(size)] for size in SIZES]
        k = fit["k_max"] / (1 + fit["n_0"] / along)
        np.testing.assert_allclose(edge, k + np.interp(np.log(along), sizes, ends), rtol=1e-9)
    at = np.searchsorted(along, SIZES)
    np.testing.assert_allclose(low[at], [fit["intervals"]["k"][str(size)]["low"] for size in SIZES])
    np.testing.assert_allclose(np.interp(along, *drawn(law)), (low + high) / 2, rtol=0.2)
    bottom, top = axes.get_ylim()
    assert bottom <= low.min() < high.max() < top
    assert legend(figure)[-1] == "90 % interval of the law"
    assert_readable(figure)


def test_slope_says_the_intervals_and_the_verdict(published_fit: Json) -> None:
    figure = figures.slope(published_fit)
    said, intervals = words(figure), published_fit["intervals"]
    low, high = (figures.human_count(intervals["n_0"][side], 3) for side in ("low", "high"))
    assert high.endswith(" B")
    assert f"$N_0$ = 17.4 B [{low.removesuffix(' B')}, {high.removesuffix(' B')}], 90 %" in said
    assert rf"$K_{{\max}}$ = 0.152 [{intervals['k_max']['low']:#.3g}, {intervals['k_max']['high']:#.3g}], 90 %" in said
    flat = " ".join(said.split())
    assert f"Verdict on saturation: {published_fit['saturation']['verdict']}. Held-out error" in flat
    assert "Intervals of K_max and N_0 by profile, of k by bootstrap (200 replicates). Each size has one run," in flat
    assert_readable(figure)


def test_open_ends_are_said_in_words(fit: Json) -> None:
    n_0 = fit["intervals"]["n_0"] | {"high": None}
    open_ended = fit | {"intervals": fit["intervals"] | {"n_0": n_0}}
    figure = figures.slope(open_ended)
    assert ", no upper end], 90 %" in words(figure)
    assert_readable(figure)


def test_notes_are_sentences(fit: Json) -> None:
    said = words(figures.slope(fit | {"notes": ["two sizes determine it", "k is proportional to N."]}))
    assert "Two sizes determine it.\nk is proportional to N.\n" in said


def test_without_intervals_there_is_no_band_and_no_bracket(curves: pd.DataFrame, fit: Json) -> None:
    bare = fit | {"intervals": None, "saturation": None}
    for figure in (figures.slope(bare), figures.loss_against_x(curves, bare, "samples")):
        assert band_edges(figure.axes[0]) == []
        assert "90 %" not in words(figure)
        assert "saturation" not in words(figure)


def test_the_band_of_a_line_turns_about_the_mean_of_its_points(curves: pd.DataFrame, fit: Json) -> None:
    figure = figures.loss_against_x(curves, fit, "samples")
    (axes,) = figure.axes
    bands, laws = band_edges(axes), lines(axes, "law")
    assert len(bands) == len(laws) == len(SIZES)
    for size, (x, low, high), law in zip(SIZES, bands, laws, strict=True):
        own = curves[(curves["params"] == size) & (curves["step"] > 0)]
        pivot = np.log10(own["samples"]).groupby(own["base_seed"]).mean().mean()
        interval = fit["intervals"]["k"][str(size)]
        level = np.interp(pivot, *np.log10(drawn(law)))
        turned = [level - interval[side] * (np.log10(x) - pivot) for side in ("low", "high")]
        np.testing.assert_allclose(np.log10(low), np.minimum(*turned), atol=1e-9)
        np.testing.assert_allclose(np.log10(high), np.maximum(*turned), atol=1e-9)
    assert "Bands: the 90 % interval of each size's slope k" in words(figure)
    assert_readable(figure)


def test_a_size_that_is_not_fitted_has_no_band(published: pd.DataFrame, published_fit: Json) -> None:
    figure = figures.loss_against_x(published, published_fit, "compute")
    assert len(band_edges(figure.axes[0])) == 6
    assert_readable(figure)


# --- profile


def test_profile_is_the_rise_over_the_threshold(fit: Json) -> None:
    figure = figures.profile(fit)
    (axes,) = figure.axes
    (curve,), (dots,), found = lines(axes, "profile"), lines(axes, "profile-points"), fit["intervals"]["profile"]
    rise = np.array(found["excess"]) / found["threshold"]
    x, y = drawn(curve)
    np.testing.assert_allclose(np.interp(np.log(found["n_0"]), np.log(x), y), rise, rtol=1e-9, atol=1e-12)
    assert len(drawn(dots)[0]) == rise.size + 2
    assert drawn(lines(axes, "threshold")[0])[1, 0] == 1
    assert drawn(lines(axes, "n-0")[0])[0, 0] == fit["n_0"]
    interval = fit["intervals"]["n_0"]
    (span,) = (patch for patch in axes.patches if patch.get_gid() == "interval")
    assert (span.get_x(), span.get_x() + span.get_width()) == pytest.approx((interval["low"], interval["high"]))  # type: ignore[attr-defined]
    # The curve crosses the threshold where the interval ends, and nowhere else.
    np.testing.assert_allclose(np.interp([interval["low"], interval["high"]], x, y), 1)
    inside = (x > interval["low"]) & (x < interval["high"])
    np.testing.assert_array_equal((y < 1)[~np.isclose(y, 1)], inside[~np.isclose(y, 1)])
    low, high = axes.get_xlim()
    assert low < interval["low"] < interval["high"] < high
    assert "end:" not in words(figure)
    assert_readable(figure)


def test_an_open_profile_shades_up_to_the_bound_and_says_so() -> None:
    fit = fit_of(points(power=1.0))
    assert fit["intervals"]["n_0"]["high"] is None
    figure = figures.profile(fit)
    (axes,) = figure.axes
    bound = fit["intervals"]["profile"]["n_0"][-1]
    (span,) = (patch for patch in axes.patches if patch.get_gid() == "interval")
    assert span.get_x() + span.get_width() == bound  # type: ignore[attr-defined]
    assert bound in [drawn(line)[0, 0] for line in lines(axes, "bound")]
    assert "bound of the search" in legend(figure)
    said = " ".join(words(figure).split())
    assert "No upper end: the profile stays within the threshold up to the bound of the search." in said
    assert ", no upper end], 90 %" in said
    assert_readable(figure)


def test_profile_needs_a_profile(fit: Json) -> None:
    intervals = fit["intervals"]
    with pytest.raises(UserError, match="needs intervals by profile, and those of the fit are by bootstrap"):
        figures.profile(fit | {"intervals": intervals | {"method": "bootstrap", "profile": None}})
    with pytest.raises(UserError, match="needs intervals by profile, and the fit has none"):
        figures.profile(fit | {"intervals": None})
    with pytest.raises(UserError, match="the points lie on the law exactly"):
        figures.profile(fit | {"intervals": intervals | {"profile": intervals["profile"] | {"threshold": 0.0}}})


# --- forecast


def test_a_panel_for_each_sealed_size(forecasts: list[Json]) -> None:
    figure = figures.forecast(forecasts)
    rows = [row for row in forecasts if row["law"] == LAW]
    assert [row["target_params"] for row in rows] == [7e9, 14e9, 32e9, 72e9]
    for axes, row in zip(figure.axes, rows, strict=True):
        (seen,), (hidden,), (law,) = (lines(axes, gid) for gid in ("seen", "hidden", "forecast"))
        np.testing.assert_array_equal(seen.get_ydata(), row["seen"]["test_loss"])
        np.testing.assert_array_equal(hidden.get_ydata(), row["hidden"]["test_loss"])
        assert (seen.get_markerfacecolor(), hidden.get_markerfacecolor()) == ("0.15", "none")
        order = np.argsort(row["hidden"]["compute_flops"], kind="stable")
        np.testing.assert_array_equal(law.get_ydata(), np.array(row["hidden"]["predicted_test_loss"])[order])
        scores = row["scores"]
        shares = ", ".join(f"{100 * share:.0f}" for share in scores["coverage"].values())
        title = axes.get_title(loc="left").splitlines()
        assert title[0] == f"N = {figures.human_count(row['target_params'])}"
        assert title[1].startswith(f"rmse {scores['rmse_test_loss']:.3f}, {scores['best_baseline'].replace('_', ' ')}")
        assert title[2] == f"coverage {shares} %"
    # Known of the published points: 0.030 at 72 B where the last slope has 0.014.
    assert figure.axes[-1].get_title(loc="left").splitlines()[1] == "rmse 0.030, last slope 0.014"
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert "early-size, forecast of an unseen size from its first points" in words(figure)
    assert "by the saturating slope, trained on the smaller sizes" in words(figure)
    assert_readable(figure)


def test_forecast_bands_lie_within_each_other_and_hold_what_is_said(forecasts: list[Json]) -> None:
    figure = figures.forecast(forecasts, "kept_slope")
    rows = [row for row in forecasts if row["law"] == "kept_slope"]
    for axes, row in zip(figure.axes, rows, strict=True):
        wide, middle, narrow = band_edges(axes)
        assert np.all((wide[1] <= middle[1]) & (middle[1] <= narrow[1]))
        assert np.all((narrow[2] <= middle[2]) & (middle[2] <= wide[2]))
        x, y = row["hidden"]["compute_flops"], np.array(row["hidden"]["test_loss"])
        within = (np.interp(x, wide[0], wide[1]) <= y) & (y <= np.interp(x, wide[0], wide[2]))
        assert within.mean() == pytest.approx(row["scores"]["coverage"]["0.9"])


def test_the_dashed_line_is_the_best_naive_rule(forecasts: list[Json]) -> None:
    figure = figures.forecast(forecasts)
    naive = {(row["curve"], row["law"]): row for row in forecasts if row["role"] == "baseline"}
    for axes, row in zip(figure.axes, (row for row in forecasts if row["law"] == LAW), strict=True):
        (line,) = lines(axes, "naive")
        best = min(
            (rule for (curve, _), rule in naive.items() if curve == row["curve"]),
            key=lambda rule: rule["scores"]["rmse_test_loss"],
        )
        assert line.is_dashed()
        assert sorted(drawn(line)[1]) == sorted(best["hidden"]["predicted_test_loss"])
    without = figures.forecast([row for row in forecasts if row["law"] == LAW and row["target_params"] == 72e9])
    assert "naive" not in words(without)


def test_refit_level_is_said_not_to_be_a_forecast(published: pd.DataFrame) -> None:
    rows = forecasts_of(published, protocol="refit-level", x="compute", loss="linear", target_params=72_000_000_000)
    figure = figures.forecast(rows)
    assert "refit-level, not a forecast: the level is refitted on the points it is compared with" in words(figure)
    assert figure.axes[0].get_title(loc="left").splitlines()[-1] == "$R^2$ within the curve 0.92"
    assert legend(figure) == ["point that the level is fitted to", "the law"]
    assert band_edges(figure.axes[0]) == []
    assert_readable(figure)


def test_curves_of_a_size_stand_in_a_row_three_at_most() -> None:
    table = points(bases=4)
    rows = [row for size in SIZES[1:3] for row in forecasts_of(table, protocol="early-size", target_params=size)]
    figure = figures.forecast(rows)
    assert len(figure.axes) == 6
    assert [axes.get_subplotspec().rowspan.start for axes in figure.axes] == [0, 0, 0, 1, 1, 1]  # type: ignore[union-attr]
    assert [axes.get_xlabel() for axes in figure.axes] == [""] * 3 + ["Samples D (prompts)"] * 3
    assert figure.axes[4].get_title(loc="left").splitlines()[0] == "N = 48 k, m48000_b1"
    assert "Not drawn: 2 curves beyond the first 3 of a size." in words(figure)
    assert_readable(figure)


def test_early_time_says_what_was_seen() -> None:
    figure = figures.forecast(forecasts_of(points(bases=1), protocol="early-time", fraction=0.4))
    assert "from the first 40 % of the steps" in words(figure)
    assert len(figure.axes) == len(SIZES)
    assert_readable(figure)


def test_curves_without_a_forecast_are_named_with_the_reason(forecasts: list[Json]) -> None:
    gone: Json = {"scores": None, "reason": "no level", "hidden": {"predicted_test_loss": None, "bands": {}}}
    rows = [row | gone if row["target_params"] in (7e9, 14e9) and row["law"] == LAW else row for row in forecasts]
    figure = figures.forecast(rows)
    assert len(figure.axes) == 2
    assert "Not forecast: 7 B, 14 B (no level)." in words(figure)
    with pytest.raises(UserError, match=r"figure forecast: no curve is forecast \(no level\)"):
        figures.forecast([row | gone for row in forecasts])


def test_forecasts_of_one_setting_only(forecasts: list[Json]) -> None:
    other = forecasts[0] | {"training": "others"}
    with pytest.raises(UserError, match=r"the forecasts differ in training \(others, smaller\)"):
        figures.forecast([*forecasts, other])
    with pytest.raises(UserError, match=r"no forecast by 'kept_slop'.*did you mean kept_slope"):
        figures.forecast(forecasts, "kept_slop")
    with pytest.raises(UserError, match="there are no forecasts"):
        figures.forecast([])


# --- tournament


def test_the_chart_has_a_dot_for_every_rank(tournament_json: Json) -> None:
    figure = figures.tournament(tournament_json)
    ranked = [row for row in tournament_json["ranking"] if row["rank"] is not None]
    panels = {axes.get_title().splitlines()[0]: axes for axes in figure.axes}
    assert list(panels) == ["blind-size", "early-size", "early-time"]
    for protocol, axes in panels.items():
        own = [row for row in ranked if row["protocol"] == protocol]
        dots = sorted((str(line.get_gid()), drawn(line)[0, 0]) for line in axes.get_lines())
        assert dots == sorted((row["law"], row["rmse_test_loss"]) for row in own)
        assert all(label.get_text() for label in axes.get_xticklabels())
    assert len(ranked) < len(tournament_json["ranking"])
    assert_readable(figure)


def test_the_best_is_on_top_and_naive_rules_are_grey(tournament_json: Json) -> None:
    figure = figures.tournament(tournament_json)
    declared = [
        row
        for row in tournament_json["ranking"]
        if (row["protocol"], row["training"]) == ("early-size", "smaller") and row["rank"] is not None
    ]
    first = figure.axes[0]
    top = sorted((at, label.get_text()) for at, label in zip(first.get_yticks(), first.get_yticklabels(), strict=True))
    assert [name for _, name in top][: len(declared)] == [in_words(row["law"]) for row in declared]
    bottom, upper = first.get_ylim()
    assert upper < bottom
    roles = {row["law"]: row["role"] for row in tournament_json["ranking"]}
    colours = {role: set() for role in ("law", "baseline")}  # type: dict[str, set[Any]]
    for line in (line for axes in figure.axes for line in axes.get_lines()):
        colours[roles[str(line.get_gid())]].add(line.get_color())
    assert len(colours["law"]) == len(colours["baseline"]) == 1
    assert colours["law"] != colours["baseline"]
    height = {line.get_gid(): round(drawn(line)[1, 0]) for line in first.get_lines()}
    assert all(top[place][1] == in_words(str(law)) for law, place in height.items())


def test_the_winner_declared_beforehand_is_named_with_what_became_of_it(tournament_json: Json) -> None:
    said = " ".join(words(figures.tournament(tournament_json)).split())
    assert (
        "Declared on 7 B, 14 B, 32 B (early-size, trained on the smaller sizes): saturating slope, RMSE 0.047." in said
    )
    assert "Its RMSE at 72 B: 0.030; the least there, by last slope, is 0.014." in said


def test_a_tournament_by_another_x_is_refused(tournament_json: Json) -> None:
    with pytest.raises(UserError, match="figure tournament: the tournament ranks nothing by samples"):
        figures.tournament(tournament_json, "samples")


def test_a_forecast_without_error_is_said(tournament_json: Json) -> None:
    first, *rest = tournament_json["ranking"]
    exact = figures.tournament(tournament_json | {"ranking": [first | {"rmse_test_loss": 0.0}, *rest]})
    assert "Without error, so not on a logarithmic axis: 1 dot." in words(exact)


# --- words and bytes


def test_ticks_that_are_close_stay_apart_in_words(fit: Json) -> None:
    axes = figures.profile(fit).axes[0]
    low, high = axes.get_xlim()
    labels = [label.get_text() for at, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)]
    assert high / low < 2
    assert len(set(labels)) == len(labels) > 3


def test_large_numbers_are_powers_of_ten(forecasts: list[Json]) -> None:
    (row,) = (row for row in forecasts if row["law"] == LAW and row["target_params"] == 72e9)
    late = {name: values[20:] if isinstance(values, list) else values for name, values in row["hidden"].items()}
    late["bands"] = {}
    axes = figures.forecast([row | {"hidden": late, "seen": {name: [] for name in row["seen"]}}]).axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert r"$10^{20}$" in labels
    assert r"$2 \times 10^{20}$" in labels


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (6.6e9, 60.63e9, "17.4 B [6.60, 60.6], 90 %"),
        (3.2e8, 2.5e12, "17.4 B [320 M, 2.50 T], 90 %"),
        (6.6e9, None, "17.4 B [6.60, no upper end], 90 %"),
        (None, None, "17.4 B [no lower end, no upper end], 90 %"),
    ],
)
def test_an_estimate_with_its_interval(low: float | None, high: float | None, said: str) -> None:
    interval = {"estimate": 17.37e9, "low": low, "high": high, "level": 0.9}
    assert with_interval(17.37e9, interval, lambda size: figures.human_count(size, 3)) == said


def test_identifiers_become_words_and_symbols_stay() -> None:
    assert in_words("0.012 of power_slope (n_0, k_max)") == "0.012 of power slope (n_0, k_max)"


def test_the_same_input_gives_the_same_bytes(fit: Json, forecasts: list[Json]) -> None:
    largest = [row for row in forecasts if row["target_params"] == 72e9]
    for one, other in zip(*([figures.profile(fit), figures.forecast(largest)] for _ in range(2)), strict=True):
        assert figures.render(one, "svg", {"Title": "t"}) == figures.render(other, "svg", {"Title": "t"})
