"""The figure of controls says what the findings say."""

import numpy as np
import pandas as pd
import pytest
from tests.figure_checks import assert_texts_fit, drawn, drawn_texts, legend, lines, words
from tests.simulated_controls import Controls
from tests.simulated_study import FACTOR_SIZE, SIZES

from rlscale import figures
from rlscale.errors import UserError
from rlscale.findings import control_slopes, findings

FIRST_STEP = 8


@pytest.fixture(scope="module")
def curves() -> pd.DataFrame:
    return Controls(3, bases=3).supervised(rise=0.1, by_base=0.06).curves()


@pytest.fixture(scope="module")
def slopes(curves: pd.DataFrame) -> pd.DataFrame:
    return control_slopes(curves, first_step=FIRST_STEP)


def test_both_panels_are_readable(slopes: pd.DataFrame) -> None:
    figure = figures.controls(slopes, missing=["a", "b"])
    assert figure.get_figwidth() == 7
    assert min(text.get_fontsize() for text in drawn_texts(figure)) >= 8
    assert_texts_fit(figure)
    assert legend(figure) == ["full", "matched", "quarter", "half", "double"]
    size, base = figure.axes
    assert (size.get_xscale(), base.get_xscale()) == ("log", "linear")
    assert size.get_ylim()[0] == 0
    assert base.get_title() == "Against base loss, N = 12 k"
    assert "Missing: a, b." in words(figure)


def test_points_are_base_models_and_marks_their_means(slopes: pd.DataFrame) -> None:
    size, base = figures.controls(slopes).axes
    for axes, panel, place in ((size, "size", "params"), (base, "base_loss", "supervision")):
        rows = slopes[slopes["panel"] == panel]
        points = np.concatenate([drawn(line)[1] for line in lines(axes, "base")])
        assert sorted(points) == pytest.approx(sorted(rows["k"]))
        groups = rows.groupby(["supervision", place])["k"] if place == "params" else rows.groupby(place)["k"]
        means = np.concatenate([drawn(container.lines[0])[1] for container in axes.containers])
        assert sorted(means) == pytest.approx(sorted(groups.mean()))
        ends = np.concatenate(
            [np.array(bar)[:, 1] for one in axes.containers for bar in one.lines[2][0].get_segments()]
        )
        half = 2.92 * groups.sem()  # t quantile of a 90 % interval from three
        assert sorted(ends) == pytest.approx(sorted([*(groups.mean() - half), *(groups.mean() + half)]), rel=1e-3)
    assert set(slopes.loc[slopes["panel"] == "size", "params"]) == set(SIZES)
    assert set(slopes.loc[slopes["panel"] == "base_loss", "params"]) == {FACTOR_SIZE}


def test_the_line_is_the_effect_of_the_finding(curves: pd.DataFrame, slopes: pd.DataFrame) -> None:
    figure = figures.controls(slopes)
    (line,) = lines(figure.axes[1], "line")
    (left, right), (high, low) = drawn(line)
    options = {"max_params": None, "scores": None, "reuse": None, "saturation": None}
    found = {one.id: one for one in findings(curves, x_first_step=FIRST_STEP, **options)}
    effect = found["base_loss_at_equal_size"].effect
    assert effect is not None
    assert (low - high) / (right - left) / 10 == pytest.approx(effect.estimate)
    assert f"{effect.estimate:+.3f}".replace("-", "−") in words(figure)


def test_training_seeds_of_a_base_model_are_one_point(slopes: pd.DataFrame) -> None:
    again = slopes.assign(seed=1, run=slopes["run"] + "_s1", k=slopes["k"] + 0.02)
    size, _ = figures.controls(pd.concat([slopes, again], ignore_index=True)).axes
    points = np.concatenate([drawn(line)[1] for line in lines(size, "base")])
    assert sorted(points) == pytest.approx(sorted(slopes.loc[slopes["panel"] == "size", "k"] + 0.01))


def test_a_panel_without_runs_is_left_out(curves: pd.DataFrame) -> None:
    one_size = curves[curves["params"] == FACTOR_SIZE]
    (only,) = figures.controls(control_slopes(one_size, first_step=FIRST_STEP)).axes
    assert only.get_xlabel() == "Loss of the base model, 1 − pass@1"
    matched = curves[curves["supervision"].isin(["full", "matched"])]
    (only,) = figures.controls(control_slopes(matched, first_step=FIRST_STEP)).axes
    assert only.get_xlabel() == "Model size N (parameters)"


def test_a_single_base_model_has_no_interval(curves: pd.DataFrame) -> None:
    alone = control_slopes(curves[curves["base_seed"] == 0], first_step=FIRST_STEP)
    figure = figures.controls(alone)
    assert_texts_fit(figure)
    bars = [bar for container in figure.axes[0].containers for bar in container.lines[2][0].get_segments()]
    assert np.isnan([np.array(bar)[:, 1] for bar in bars if len(bar)]).all()


def test_excluded_runs_are_said_and_not_drawn(curves: pd.DataFrame, slopes: pd.DataFrame) -> None:
    out = slopes.loc[(slopes["panel"] == "size") & (slopes["supervision"] == "matched"), "run"].iloc[0]
    gated = curves.assign(excluded=np.where(curves["run"] == out, "collapsed", ""))
    figure = figures.controls(control_slopes(gated, first_step=FIRST_STEP))
    assert "Excluded by the study's rules, not drawn: 1 run." in words(figure)
    points = np.concatenate([drawn(line)[1] for line in lines(figure.axes[0], "base")])
    assert len(points) == (slopes["panel"] == "size").sum() - 1


def test_bad_input_is_said_in_a_sentence(curves: pd.DataFrame, slopes: pd.DataFrame) -> None:
    none = control_slopes(curves[curves["supervision"] == "full"], first_step=FIRST_STEP)
    with pytest.raises(UserError, match="figure controls: the table of curves is empty"):
        figures.controls(none)
    with pytest.raises(UserError, match="figure controls: the curves have no column base_loss, k"):
        figures.controls(slopes.drop(columns=["base_loss", "k"]))
    with pytest.raises(UserError, match='figure controls: no row has the panel "size" or "base_loss"'):
        figures.controls(slopes.assign(panel="other"))


def test_the_same_table_gives_the_same_bytes(slopes: pd.DataFrame) -> None:
    shuffled = slopes.sample(frac=1, random_state=0)
    assert figures.render(figures.controls(slopes), "svg", {}) == figures.render(figures.controls(slopes), "svg", {})
    assert figures.render(figures.controls(shuffled), "png", {}) == figures.render(figures.controls(slopes), "png", {})
