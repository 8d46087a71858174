"""Controls among the findings: effects that are there are found, and those that are not are not."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.simulated_controls import Controls, K
from tests.simulated_study import FACTOR_SIZE, SIZES

from rlscale.findings import Finding, findings
from rlscale.findings.asymptote_claims import asymptote, flattening

FIRST_STEP = 8
ACCURACIES = (1.0, 0.9, 0.75, 0.6)


def found(curves: pd.DataFrame, **options: Any) -> dict[str, Finding]:
    defaults = {"x_first_step": FIRST_STEP, "max_params": None, "scores": None, "reuse": None, "saturation": None}
    return {finding.id: finding for finding in findings(curves, **{**defaults, **options})}


def slopes(curves: pd.DataFrame) -> pd.DataFrame:
    """Return each run's slope against samples from the first step on, and its base loss."""
    rows = []
    for _, run in curves.groupby("run"):
        window = run[run["step"] >= FIRST_STEP]
        k = -stats.linregress(np.log10(window["samples"]), np.log10(window["test_loss"])).slope
        rows.append({**run.iloc[0].to_dict(), "k": k, "base_loss": run.loc[run["step"] == 0, "test_loss"].item()})
    return pd.DataFrame(rows)


def test_size_matters_where_it_does_and_the_base_does_not() -> None:
    curves = Controls(1).supervised(rise=0.1).curves()
    result = found(curves)
    size = result["size_at_equal_base_loss"]
    assert (size.verdict, result["base_loss_at_equal_size"].verdict) == ("supported", "inconclusive")
    table = slopes(curves).query("supervision == 'matched'")
    means = table.groupby("params")["k"].mean()
    assert size.effect is not None
    assert size.effect.estimate == pytest.approx(stats.linregress(np.log10(means.index), means).slope)
    assert size.effect.estimate == pytest.approx(0.1, abs=0.04)
    assert set(size.runs) == set(table["run"])
    starts = table.groupby("params")["base_loss"].mean()
    assert f"spread over {starts.max() - starts.min():.3f} ({starts.iloc[0]:.3f} at 3k, " in size.evidence
    own = table.loc[table["params"] == SIZES[0], "k"]
    half = stats.t.ppf(0.95, len(own) - 1) * own.std() / np.sqrt(len(own))
    assert f"{own.mean():.3g} ({own.mean() - half:.3g} to {own.mean() + half:.3g}) at 3k" in size.evidence
    whole = slopes(curves).query("supervision == 'full'").groupby("params")["k"].mean()
    beside = stats.linregress(np.log10(whole.index), whole).slope
    assert (
        f"have {beside:+.3g}, of which {size.effect.estimate / beside:.0%} is left at equal base loss" in size.evidence
    )


def test_the_base_matters_where_it_does_and_size_does_not() -> None:
    curves = Controls(2).supervised(by_base=0.15).curves()
    result = found(curves)
    base = result["base_loss_at_equal_size"]
    assert (base.verdict, result["size_at_equal_base_loss"].verdict) == ("supported", "inconclusive")
    assert result["data_efficiency"].verdict == "supported"  # k grows with N, through the base model alone
    table = slopes(curves).query(f"params == {FACTOR_SIZE}")
    lines = [10 * 0.01 * stats.linregress(rows["base_loss"], rows["k"]).slope for _, rows in table.groupby("base_seed")]
    assert base.effect is not None
    assert base.effect.estimate == pytest.approx(np.mean(lines))
    assert base.effect.high == pytest.approx(np.mean(lines) + stats.t.ppf(0.95, 3) * stats.sem(lines))
    assert base.effect.estimate == pytest.approx(-0.15, abs=0.05)
    assert "(double)" in base.evidence
    assert set(base.runs) == set(table["run"])


def test_a_worse_base_that_learns_faster_contradicts() -> None:
    result = found(Controls(3).supervised(rise=-0.1, by_base=-0.2).curves())
    assert result["size_at_equal_base_loss"].verdict == "contradicted"
    assert result["base_loss_at_equal_size"].verdict == "contradicted"


def test_base_models_that_are_called_matched_and_are_not_decide_nothing() -> None:
    curves = Controls(4).supervised(rise=0.2, by_base=0.1, matched=False).curves()
    finding = found(curves)["size_at_equal_base_loss"]
    assert (finding.verdict, finding.effect) == ("not tested", None)
    assert finding.evidence.startswith("The base losses of supervision matched spread over 0.1")
    assert "of full supervision: they are not equal. With base loss as a covariate, k changes by " in finding.evidence
    table = slopes(curves).query("supervision == 'matched'")
    design = np.column_stack([np.ones(len(table)), np.log10(table["params"]), table["base_loss"]])
    fitted = np.linalg.lstsq(design, table["k"].to_numpy())[0]
    said = finding.evidence.split("k changes by ")[1]
    low, high = (float(end) for end in said.split("interval ")[1].split(")")[0].split(" to "))
    assert float(said.split(" per")[0]) == pytest.approx(fitted[1], rel=0.01)
    assert f"and by {fitted[2] / 10:+.3g} per 0.1 of base loss." in said
    assert low < 0.2 < high


def test_of_several_levels_the_one_at_the_most_sizes_is_taken_then_the_closest() -> None:
    curves = Controls(5).supervised(rise=0.1).curves()
    matched = curves[curves["supervision"] == "matched"]
    loose = matched.assign(
        supervision="loose",
        run=matched["run"] + "_loose",
        test_loss=matched["test_loss"] - 0.02 * (matched["params"] == SIZES[0]),
    )
    both = found(pd.concat([curves, loose], ignore_index=True))["size_at_equal_base_loss"]
    assert both.effect == found(curves)["size_at_equal_base_loss"].effect
    fewer = curves[(curves["supervision"] != "matched") | (curves["params"] != SIZES[-1])]
    three = found(pd.concat([fewer, loose], ignore_index=True))["size_at_equal_base_loss"]
    assert "supervision loose" in three.evidence


@pytest.mark.parametrize("gone", ["step 0", "matched", "supervision"])
def test_controls_that_a_study_lacks_are_not_tested(gone: str) -> None:
    curves = Controls(6).supervised(levels=()).curves()
    if gone == "step 0":
        curves = curves[curves["step"] > 0]
    elif gone == "matched":
        curves = curves[(curves["supervision"] == "full") | (curves["params"].isin(SIZES[:2]))]
    else:
        curves = curves[curves["supervision"] == "full"].drop(columns="supervision")
    result = found(curves)
    assert result["size_at_equal_base_loss"].evidence.startswith("No supervision other than full has runs")
    assert result["base_loss_at_equal_size"].evidence.startswith("The study has no base model with runs of three")
    assert result["group_size_at_equal_compute"].evidence.startswith("The study has no base model with runs of two")
    assert result["data_efficiency"].verdict != "not tested"


def test_controls_are_no_part_of_the_other_claims() -> None:
    curves = Controls(7).supervised(rise=0.1).curves()
    renamed = curves.replace({"supervision": {"matched": "a-first-in-the-alphabet"}})
    twice = renamed.assign(seed=1, run=renamed["run"] + "_s1")
    more = pd.concat([renamed, twice[twice["supervision"] != "full"]], ignore_index=True)
    alone = found(curves[curves["supervision"] == "full"])
    for name in ("data_efficiency", "compute_efficiency", "power_law_samples", "base_ceiling", "crossovers"):
        assert found(more)[name].effect == alone[name].effect


@pytest.mark.parametrize(("gain", "verdict", "best"), [(2.0, "supported", 32), (0.3, "contradicted", 2)])
def test_group_size_at_equal_compute(gain: float, verdict: str, best: int) -> None:
    """A sample is worth G^gain and costs G: at equal compute the loss falls by k (gain - 1) log10 2 a doubling."""
    finding = found(Controls(8, slope_sd=0.005).groups(gain).curves())["group_size_at_equal_compute"]
    assert finding.verdict == verdict
    assert finding.effect is not None
    assert finding.effect.estimate == pytest.approx(-K * (gain - 1) * np.log10(2), rel=0.25)
    assert f"and {best} where it ends" in finding.evidence
    same = -K * gain * np.log10(2)
    said = float(finding.evidence.split("at equal samples it is ")[1].split(";")[0])
    assert said == pytest.approx(same, rel=0.25)


def test_groups_that_are_worth_what_they_cost_are_inconclusive() -> None:
    finding = found(Controls(9).groups(1.0).curves())["group_size_at_equal_compute"]
    assert finding.verdict == "inconclusive"
    assert finding.effect is not None
    assert finding.effect.low is not None
    assert finding.effect.high is not None
    assert finding.effect.low < 0 < finding.effect.high


def test_an_asymptote_that_wrong_rewards_raise_is_found() -> None:
    floor = {accuracy: 0.5 * (1 - accuracy) for accuracy in ACCURACIES}
    finding = found(Controls(10).rewards(floor).curves())["reward_accuracy_asymptote"]
    assert finding.verdict == "supported"
    opposite = {accuracy: 0.2 - level for accuracy, level in floor.items()}
    against = found(Controls(11).rewards(opposite).curves())["reward_accuracy_asymptote"]
    assert against.verdict == "contradicted"


@pytest.mark.parametrize(
    ("k", "worth"),
    [({1.0: 0.5, 0.9: 0.45, 0.75: 0.4, 0.6: 0.35}, 1.0), (None, 0.7), ({1.0: 0.5, 0.9: 0.46, 0.75: 0.42}, 0.8)],
)
def test_a_lower_slope_or_a_slower_start_is_no_asymptote(k: dict[float, float] | None, worth: float) -> None:
    """Both raise the last loss, which is what would fool a comparison of ends or of bends over equal samples."""
    result = found(Controls(12).rewards(dict.fromkeys(ACCURACIES, 0.0), k, worth).curves())
    assert result["reward_accuracy_end_loss"].verdict == "supported"
    assert result["reward_accuracy_asymptote"].verdict == "inconclusive"


def test_accuracies_that_hardly_learn_are_left_out_and_said() -> None:
    slow = {1.0: 0.4, 0.9: 0.4, 0.6: 0.02}
    finding = found(Controls(13).rewards(dict.fromkeys(slow, 0.0), slow).curves())["reward_accuracy_asymptote"]
    assert "; too short a fall to compare: 0.6;" in finding.evidence
    assert not any("accuracy0.6" in run for run in finding.runs)
    flat = dict.fromkeys((1.0, 0.6), 0.02)
    finding = found(Controls(13).rewards(dict.fromkeys(flat, 0.0), flat).curves())["reward_accuracy_asymptote"]
    assert finding.verdict == "not tested"
    assert finding.evidence.endswith("so where they tend to cannot be told.")


def test_the_fit_of_an_asymptote_recovers_it() -> None:
    log10_x = np.log10(np.geomspace(1, 600, 20))
    for level in (0.0, 0.05, 0.2):
        loss = level + (0.8 - level) * 10 ** (-0.5 * log10_x)
        fitted, k = asymptote(log10_x, np.log10(loss))
        assert fitted == pytest.approx(level, abs=2e-4)
        assert k == pytest.approx(0.5, abs=2e-3)
    # A curve that steepens would want a negative one.
    fitted, k = asymptote(log10_x, -0.3 * log10_x - 0.05 * log10_x**2)
    assert fitted == 0.0
    assert k == pytest.approx(0.44, abs=0.05)


def test_flattening_does_not_depend_on_the_slope() -> None:
    log10_loss = np.linspace(-0.1, -0.5, 9)
    for k in (0.1, 0.7):
        assert flattening(0.4)(-log10_loss / k, log10_loss) == pytest.approx(0.0, abs=1e-9)
        floored = -np.log10(10**log10_loss - 0.2) / k
        ends = [1 / (1 - 0.2 / 10**end) for end in (-0.5, -0.1)]
        assert flattening(0.4)(floored, log10_loss) == pytest.approx((ends[0] - ends[1]) / np.mean(ends), rel=0.15)
