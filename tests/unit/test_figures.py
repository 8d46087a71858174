"""Figures say what their tables say, and come out as the same bytes every time."""

import os
import struct
import subprocess
import sys
import zlib
from xml.etree import ElementTree as ET

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.figure_checks import (
    PUBLISHED,
    SIZES,
    STEPS,
    assert_texts_fit,
    drawn_texts,
    legend,
    lines,
    run_rows,
    table,
    words,
)

from rlscale import figures
from rlscale.errors import UserError
from rlscale.figures.style import plain_ticks
from rlscale.fit import fit_points


@pytest.fixture(scope="module")
def law_curves():
    return table(*(run_rows(params, base) for params in SIZES for base in range(3)))


@pytest.fixture(scope="module")
def law_fit(law_curves):
    return fit_points(law_curves, x="samples", loss="log").to_json()


@pytest.fixture(scope="module")
def published():
    return pd.read_csv(PUBLISHED)


@pytest.fixture(scope="module")
def published_fit(published):
    return fit_points(published, x="compute", loss="linear", max_params=3.3e10).to_json()


def all_figures(law_curves, law_fit):
    taus = table(*(run_rows(base_seed=base, tau=tau) for base in range(3) for tau in (1, 4, 16, 64, 250)))
    variants = table(*(run_rows(params, variant=variant) for params in SIZES for variant in ("base", "instruct")))
    accuracies = table(*(run_rows(reward_accuracy=accuracy) for accuracy in (0.6, 0.75, 0.9, 1.0)))
    shares = table(*(run_rows(skill_share=share) for share in (0.25, 0.5, 1.0)))
    groups = table(*(run_rows(group_size=size) for size in (2, 4, 8, 16, 32)))
    return {
        "loss_samples": figures.loss_against_x(law_curves, law_fit, "samples", missing=["a", "b"]),
        "slope": figures.slope(law_fit),
        "reuse": figures.reuse(taus),
        "variant": figures.factor(variants, "variant"),
        "reward_accuracy": figures.factor(accuracies, "reward_accuracy"),
        "skill_share": figures.factor(shares, "skill_share"),
        "group_size": figures.factor(groups, "group_size"),
    }


def test_every_figure_is_readable(law_curves, law_fit):
    for name, figure in all_figures(law_curves, law_fit).items():
        assert figure.get_figwidth() == 7, name
        assert figure.get_facecolor() == (1, 1, 1, 1), name
        assert min(text.get_fontsize() for text in drawn_texts(figure)) >= 8, name
        assert_texts_fit(figure)
        for axes in figure.axes:
            assert axes.get_xlabel(), name
            assert axes.get_yscale() == ("linear" if name == "slope" else "log"), name


# --- the law


def test_published_law(published, published_fit):
    figure = figures.loss_against_x(published, published_fit, "compute")
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Compute C (FLOPs)", "Test loss, 1 − pass@1")
    assert len(lines(axes, "run")) == 7
    assert len(lines(axes, "law")) == 6
    assert lines(axes, "law-beyond") == [] == lines(axes, "base-loss")
    sizes = ["500 M", "1.5 B", "3 B", "7 B", "14 B", "32 B", "72 B"]
    assert [entry.split("   ")[0] for entry in legend(figure)] == sizes
    assert legend(figure)[-1].endswith("not fitted")
    assert len({line.get_color() for line in lines(axes, "run")}) == 7
    assert len({line.get_marker() for line in lines(axes, "run")}) == 7
    # Tan et al., arXiv 2509.25300, table 6: K_max 0.1518, N_0 17.37 B.
    assert "0.152" in words(figure)
    assert "17.4 B" in words(figure)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1"]
    assert_texts_fit(figure)


def test_points_are_those_of_the_table(published, published_fit):
    (axes,) = figures.loss_against_x(published, published_fit, "compute").axes
    for line, (_, rows) in zip(lines(axes, "run"), published.groupby("params"), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), rows["compute_flops"])
        np.testing.assert_array_equal(line.get_ydata(), rows["test_loss"])


def test_law_line_is_the_law_at_the_mean_level(law_curves, law_fit):
    (axes,) = figures.loss_against_x(law_curves, law_fit, "samples").axes
    drawn = lines(axes, "law")
    assert len(drawn) == len(SIZES)
    for line, size in zip(drawn, SIZES, strict=True):
        levels = [law_fit["e"][key] for key, curve in law_fit["curves"].items() if curve["params"] == size]
        assert len(levels) == 3
        samples = line.get_xdata()
        k = law_fit["k_max"] / (1 + law_fit["n_0"] / size)
        np.testing.assert_allclose(np.log10(line.get_ydata()), np.mean(levels) - k * np.log10(samples), rtol=1e-9)
        assert (samples.min(), samples.max()) == pytest.approx((128, 128 * STEPS[-1]))


def test_law_is_dashed_outside_the_window(law_curves):
    first, last = 4, 32
    window = law_curves[law_curves["step"] >= first]
    fit = fit_points(window, x="samples", loss="log", first_steps=last).to_json()
    (axes,) = figures.loss_against_x(law_curves, fit, "samples", first_step=first).axes
    for line in lines(axes, "law"):
        assert (line.get_xdata()[0], line.get_xdata()[-1]) == pytest.approx((128 * first, 128 * last))
        assert line.get_linestyle() == "-"
    beyond = lines(axes, "law-beyond")
    assert len(beyond) == 2 * len(SIZES)
    assert {line.get_linestyle() for line in beyond} == {"--"}
    ends = {tuple(np.round(line.get_xdata()[[0, -1]])) for line in beyond}
    assert ends == {(128, 128 * first), (128 * last, 128 * STEPS[-1])}


def test_loss_before_training_is_a_tick_at_the_margin(law_curves, law_fit):
    figure = figures.loss_against_x(law_curves, law_fit, "samples")
    (axes,) = figure.axes
    ticks = lines(axes, "base-loss")
    before = law_curves.loc[law_curves["step"] == 0, "test_loss"]
    assert sorted(line.get_ydata()[0] for line in ticks) == pytest.approx(sorted(before))
    assert legend(figure)[-1] == "before training"
    # The ticks end left of the first trained point.
    edge = axes.transAxes.transform((ticks[0].get_xdata()[1], 0))[0]
    assert edge < axes.transData.transform((128, 0.5))[0]
    assert all(line.get_xdata()[0] > 0 for line in lines(axes, "run"))


def test_only_the_variant_of_the_fit_is_drawn(law_curves, law_fit):
    instruct = law_curves.assign(variant="instruct", run=law_curves["run"] + "i")
    (axes,) = figures.loss_against_x(pd.concat([law_curves, instruct]), law_fit, "samples").axes
    assert len(lines(axes, "run")) == 3 * len(SIZES)


def test_excluded_and_missing_runs_are_said_and_not_drawn(law_curves, law_fit):
    out = (law_curves["params"] == SIZES[0]) & (law_curves["base_seed"] > 0)
    curves = law_curves.assign(excluded=np.where(out, "collapsed", ""))
    figure = figures.loss_against_x(curves, law_fit, "samples", missing=["m9_base_b0_s0", "m9_base_b1_s0"])
    assert len(lines(figure.axes[0], "run")) == 3 * len(SIZES) - 2
    assert "not drawn: 2 runs." in words(figure)
    assert "Missing: m9_base_b0_s0, m9_base_b1_s0." in words(figure)
    clean = words(figures.loss_against_x(law_curves, law_fit, "samples"))
    assert "Excluded" not in clean
    assert "Missing" not in clean


def test_slope_figure(law_fit):
    figure = figures.slope(law_fit)
    (axes,) = figure.axes
    (law,) = lines(axes, "law")
    sizes = law.get_xdata()
    np.testing.assert_allclose(law.get_ydata(), law_fit["k_max"] / (1 + law_fit["n_0"] / sizes))
    (container,) = axes.containers
    points, _, (bars,) = container
    np.testing.assert_array_equal(points.get_xdata(), SIZES)
    np.testing.assert_array_equal(points.get_ydata(), [law_fit["k_free"][str(size)] for size in SIZES])
    heights = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(heights, [2 * law_fit["k_free_se"][str(size)] for size in SIZES], atol=1e-12)
    assert lines(axes, "k-max")[0].get_ydata()[0] == law_fit["k_max"]
    assert lines(axes, "n-0")[0].get_xdata()[0] == law_fit["n_0"]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["3.0 k", "12 k", "32 k", "190 k"]


def test_slope_that_does_not_saturate_keeps_a_readable_axis(law_fit):
    figure = figures.slope(law_fit | {"k_max": 400.0, "n_0": 1e9, "notes": ["k is proportional to N."]})
    (axes,) = figure.axes
    assert axes.get_ylim()[1] < 1
    assert lines(axes, "k-max") == [] == lines(axes, "n-0")
    assert "400, above the axis" in words(figure)
    assert "1 B, beyond the axis" in words(figure)
    assert "k is proportional to N." in words(figure)


def test_flat_law_has_no_n_0(law_fit):
    figure = figures.slope(law_fit | {"k_max": 0.0, "n_0": None})
    (law,) = lines(figure.axes[0], "law")
    assert set(law.get_ydata()) == {0.0}
    assert "$N_0$ =" not in words(figure)


def test_slopes_that_fall_are_inside_the_axis(law_fit):
    free = dict.fromkeys(law_fit["k_free"], -0.02)
    figure = figures.slope(law_fit | {"k_max": 0.0, "n_0": None, "k_free": free})
    low, high = figure.axes[0].get_ylim()
    assert low < -0.02 < 0 < high
    assert lines(figure.axes[0], "k-max")[0].get_ydata()[0] == 0
    assert_texts_fit(figure)


# --- sweeps


def test_a_perfect_score_is_said_because_a_logarithmic_axis_cannot_show_it():
    curves = table(run_rows(tau=1), run_rows(tau=4))
    last = (curves["tau"] == 1) & (curves["step"] == STEPS[-1])
    figure = figures.reuse(curves.assign(test_loss=curves["test_loss"].where(~last, 0.0)))
    assert "Not on the logarithmic axis: 1 point without a positive test loss." in words(figure)
    assert lines(figure.axes[0], "run")[0].get_xdata()[-1] == STEPS[-2]


def test_a_run_with_only_its_base_score_is_not_compared():
    curves = table(run_rows(tau=1), run_rows(tau=4), run_rows(tau=16, last=0))
    assert legend(figures.reuse(curves)) == ["1", "4", "before training"]


def test_reuse_has_a_curve_and_an_end_for_each_tau():
    taus = (1, 4, 16, 64, 250)
    curves = table(*(run_rows(base_seed=base, tau=tau) for base in range(3) for tau in taus))
    figure = figures.reuse(curves)
    left, right = figure.axes
    assert legend(figure) == [*map(str, taus), "before training"]
    assert (left.get_xlabel(), right.get_xscale()) == ("Optimiser step", "log")
    assert len(lines(left, "run")) == 3 * len(taus)
    assert len(lines(left, "mean")) == len(taus)
    (mean,) = lines(right, "mean")
    last = curves[curves["step"] == STEPS[-1]].groupby("tau")["test_loss"].mean()
    np.testing.assert_array_equal(mean.get_xdata(), taus)
    np.testing.assert_allclose(mean.get_ydata(), last)
    assert len(right.containers) == 3
    assert [label.get_text() for label in right.get_xticklabels()] == [*map(str, taus)]
    assert f"Last step of every run: {STEPS[-1]}." in words(figure)


def test_levels_too_close_to_label_keep_their_ticks():
    taus = (1, 2, 5, 20, 25, 50, 100)
    figure = figures.reuse(table(*(run_rows(tau=tau) for tau in taus)))
    axis = figure.axes[1].xaxis
    assert tuple(axis.get_ticklocs()) == taus
    assert [label.get_text() for label in axis.get_ticklabels()] == ["1", "2", "5", "20", "", "50", "100"]
    assert_texts_fit(figure)


def test_only_runs_that_differ_in_the_factor_alone_are_compared():
    sweep = [run_rows(base_seed=base, reward_accuracy=accuracy) for base in (0, 1) for accuracy in (0.6, 1.0)]
    alone = [run_rows(base_seed=2), run_rows(params=11784), run_rows(tau=4), run_rows(skill_share=0.5)]
    left, right = figures.factor(table(*sweep, *alone), "reward_accuracy").axes
    assert len(lines(left, "run")) == 4
    assert len(right.containers) == 2
    assert left.get_title() == "N = 32 k"
    assert left.get_xlabel() == "Samples D (prompts)"


def test_a_factor_at_several_sizes_has_a_panel_for_each():
    curves = table(*(run_rows(params, variant=variant) for params in SIZES for variant in ("base", "instruct")))
    *panels, last = figures.factor(curves, "variant").axes
    assert [panel.get_title() for panel in panels] == ["N = 3.0 k", "N = 12 k", "N = 32 k", "N = 190 k"]
    assert {panel.get_ylim() for panel in panels} == {panels[0].get_ylim()}
    assert [label.get_text() for label in last.get_xticklabels()] == ["base", "instruct"]
    assert [text.get_text() for text in last.get_legend().get_texts()] == [panel.get_title() for panel in panels]


def test_a_mean_stops_where_a_run_ends_and_the_figure_says_so():
    figure = figures.reuse(
        table(
            run_rows(tau=1),
            run_rows(tau=4),
            run_rows(1, tau=4),
            run_rows(base_seed=1, last=16),
            run_rows(base_seed=1, tau=4),
        )
    )
    left, _ = figure.axes
    ends = [line.get_xdata()[-1] for line in lines(left, "mean")]
    assert ends == [16, STEPS[-1]]
    assert f"The runs end at different steps, 16 to {STEPS[-1]}" in words(figure)


def test_excluded_runs_of_other_sweeps_are_not_counted():
    sweep = [run_rows(tau=1), run_rows(tau=4), run_rows(tau=16, excluded="collapsed")]
    figure = figures.reuse(table(*sweep, run_rows(reward_accuracy=0.5, excluded="collapsed")))
    assert "not drawn: 1 run." in words(figure)
    assert legend(figure)[:2] == ["1", "4"]


# --- bad input


def test_bad_input_is_said_in_a_sentence(law_curves, law_fit):
    empty = law_curves.iloc[:0]
    with pytest.raises(UserError, match="figure loss_samples: the table of curves is empty"):
        figures.loss_against_x(empty, law_fit, "samples")
    with pytest.raises(UserError, match="figure reuse: the table of curves is empty"):
        figures.reuse(empty)
    with pytest.raises(UserError, match="figure loss_samples: the curves have no column samples"):
        figures.loss_against_x(law_curves.drop(columns="samples"), law_fit, "samples")
    with pytest.raises(UserError, match="figure loss_compute: the fit is a law of samples, not of compute"):
        figures.loss_against_x(law_curves, law_fit, "compute")
    with pytest.raises(UserError, match="x is compute or samples"):
        figures.loss_against_x(law_curves, law_fit, "steps")
    with pytest.raises(UserError, match="no run has a step above 0"):
        figures.loss_against_x(law_curves[law_curves["step"] == 0], law_fit, "samples")
    with pytest.raises(UserError, match=r"every run is excluded \(collapsed\)"):
        figures.loss_against_x(law_curves.assign(excluded="collapsed"), law_fit, "samples")
    with pytest.raises(UserError, match="no two runs differ in tau alone"):
        figures.reuse(law_curves)
    with pytest.raises(UserError, match="did you mean skill_share"):
        figures.factor(law_curves, "skil_share")
    with pytest.raises(UserError, match="figure slope: the fit holds no size"):
        figures.slope(law_fit | {"k_free": {}})


# --- bytes

PROCESS = """
import hashlib, sys
import pandas as pd
from rlscale import figures
from rlscale.fit import fit_points
curves = pd.read_csv(sys.argv[1])
fit = fit_points(curves, x="compute", loss="linear").to_json()
figure = figures.loss_against_x(curves, fit, "compute")
for format in sys.argv[2:]:
    print(hashlib.sha256(figures.render(figure, format, {"Title": "t", "Identifier": "d"})).hexdigest())
assert "matplotlib.pyplot" not in sys.modules
"""


def test_bytes_are_the_same_in_another_process(tmp_path):
    (tmp_path / "matplotlibrc").write_text("font.size: 17\nlines.linewidth: 9\nsavefig.dpi: 31\nsvg.hashsalt: other\n")
    settings = [
        (["svg", "png"], {"PYTHONHASHSEED": "1"}),
        (["png", "svg"], {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}),
    ]
    seen = []
    for formats, environment in settings:
        argv = [sys.executable, "-c", PROCESS, str(PUBLISHED), *formats]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, **environment})
        seen.append(dict(zip(formats, done.stdout.split(), strict=True)))
    assert seen[0] == seen[1]
    assert len(set(seen[0].values())) == 2


def test_rendering_and_drawing_leave_global_settings_alone(law_fit):
    before = dict(matplotlib.rcParams)
    figures.render(figures.slope(law_fit), "svg", {})
    assert dict(matplotlib.rcParams) == before


def test_metadata_is_in_the_svg(law_fit):
    text = figures.render(figures.slope(law_fit), "svg", {"Title": "k(N) & <more>", "Identifier": "sha256:abc"})
    root = ET.fromstring(text)  # noqa: S314
    dublin_core = "{http://purl.org/dc/elements/1.1/}"
    assert root.find(f".//{dublin_core}title").text == "k(N) & <more>"
    assert root.find(f".//{dublin_core}identifier").text == "sha256:abc"
    assert root.find(f".//{dublin_core}date") is None
    assert root.find(f".//{dublin_core}creator") is None


def png_chunks(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0]
        yield kind, body
        at += 12 + length


def test_metadata_is_in_the_png(law_fit):
    data = figures.render(figures.slope(law_fit), "png", {"Title": "k(N)", "Identifier": "sha256:abc"})
    chunks = list(png_chunks(data))
    texts = dict(body.split(b"\0", 1) for kind, body in chunks if kind == b"tEXt")
    assert texts == {b"Title": b"k(N)", b"Identifier": b"sha256:abc"}
    width, _ = struct.unpack(">II", chunks[0][1][:8])
    assert width == 7 * 200


def test_metadata_changes_the_bytes_and_its_order_does_not(law_fit):
    figure = figures.slope(law_fit)
    for kind in ("svg", "png"):
        one = figures.render(figure, kind, {"Title": "a", "Identifier": "b"})
        assert one == figures.render(figure, kind, {"Identifier": "b", "Title": "a"})
        assert len({one, figures.render(figure, kind, {"Title": "a"})}) == 2


def test_render_refuses_what_it_does_not_know(law_fit):
    figure = figures.slope(law_fit)
    with pytest.raises(ValueError, match="'pdf': svg or png"):
        figures.render(figure, "pdf", {})
    with pytest.raises(ValueError, match="Derivation: only Title"):
        figures.render(figure, "png", {"Derivation": "x"})


# --- numbers on axes


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [
        (3012, 2, "3.0 k"),
        (11784, 2, "12 k"),
        (329088, 2, "330 k"),
        (5e8, 2, "500 M"),
        (1.5e9, 2, "1.5 B"),
        (7e9, 2, "7 B"),
        (72e9, 2, "72 B"),
        (17_367_488_734, 3, "17.4 B"),
        (8630, 3, "8.63 k"),
        (999_950, 2, "1.0 M"),
        (42, 2, "42"),
        (0, 2, "0"),
    ],
)
def test_human_count(value, digits, said):
    assert figures.human_count(value, digits) == said


@given(value=st.floats(1, 1e14), digits=st.integers(2, 4))
def test_human_count_is_near_the_value(value, digits):
    number, _, unit = figures.human_count(value, digits).partition(" ")
    factor = {"": 1, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[unit]
    assert float(number) * factor == pytest.approx(value, rel=0.5001 * 10.0 ** (1 - digits))


@given(low=st.floats(1e-4, 0.9), ratio=st.floats(1.02, 99))
def test_plain_ticks_are_inside_and_apart(low, ratio):
    high = low * ratio
    ticks = plain_ticks(low, high)
    assert ticks == sorted(ticks)
    assert low * 0.99 <= ticks[0]
    assert ticks[-1] <= high * 1.01
    if len(ticks) > 1:
        assert np.min(np.diff(np.log10(ticks))) >= 0.0549 * np.log10(ratio)
    if ratio > 1.3:
        assert len(ticks) >= 3
