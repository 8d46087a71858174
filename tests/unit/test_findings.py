"""Findings: verdicts of claims that are true or false by construction, the published curves, textbook numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.simulated_study import FACTOR_SIZE, FIRST_STEP, SIZES, simulate_study

from rlscale.errors import UserError
from rlscale.findings import Finding, findings, published_reuse
from rlscale.findings.runs import bend, falling, gather_runs, loss_at
from rlscale.points import read_points

DATA = Path(__file__).parents[2] / "config" / "data"
IDS = [
    "compute_efficiency",
    "data_efficiency",
    "power_law_compute",
    "power_law_samples",
    "slope_saturates_compute",
    "slope_saturates_samples",
    "variants_alike",
    "reuse_harmless",
    "reuse_harmful",
    "steps_over_uniqueness",
    "reward_accuracy_slope",
    "reward_accuracy_end_loss",
    "reward_accuracy_asymptote",
    "base_ceiling",
    "diversity_slope",
    "size_at_equal_base_loss",
    "base_loss_at_equal_size",
    "group_size_at_equal_compute",
    "transfer",
    "crossovers",
]


def found(curves: pd.DataFrame, **options: Any) -> dict[str, Finding]:
    """Return the findings of a study by id."""
    defaults = {"x_first_step": FIRST_STEP, "max_params": None, "scores": None, "reuse": None, "saturation": None}
    return {finding.id: finding for finding in findings(curves, **{**defaults, **options})}


def verdicts(curves: pd.DataFrame, **options: Any) -> dict[str, str]:
    return {name: finding.verdict for name, finding in found(curves, **options).items()}


def slopes(curves: pd.DataFrame, x: str = "samples") -> pd.DataFrame:
    """Return each run's slope from the first step on by textbook regression."""
    window = curves[curves["step"] >= FIRST_STEP]
    rows = [
        {**rows.iloc[0].to_dict(), "k": -stats.linregress(np.log10(rows[x]), np.log10(rows["test_loss"])).slope}
        for _, rows in window.groupby("run")
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def study() -> pd.DataFrame:
    """A study in which every claim is true."""
    return simulate_study(
        1,
        arm_bases=3,
        rise=0.15,
        drop=0.1,
        accuracy=0.5,
        share=0.3,
        instruct=1.0,
        r_star=4.0,
        taus=(1, 2, 64),
        slope=0.3,
    )


@pytest.fixture(scope="module")
def published() -> dict[str, Finding]:
    curves = read_points(DATA / "tan2025_base_curves.csv")
    reuse = published_reuse(pd.read_csv(DATA / "tan2025_base_reuse.csv"))
    return found(curves, x_first_step=1, max_params=3.3e10, reuse=reuse)


def test_true_claims_are_supported(study: pd.DataFrame) -> None:
    result = verdicts(study)
    assert list(result) == IDS
    for claim in (
        *("compute_efficiency", "data_efficiency", "power_law_compute", "power_law_samples", "variants_alike"),
        *("reuse_harmful", "reward_accuracy_slope", "reward_accuracy_end_loss", "base_ceiling", "diversity_slope"),
    ):
        assert result[claim] == "supported", claim


def test_the_opposite_of_a_claim_is_contradicted() -> None:
    result = verdicts(
        simulate_study(
            2, arm_bases=4, bases=4, slope=0.5, rise=-0.2, drop=-0.2, accuracy=-0.6, share=-0.6, bend=0.8, instruct=0.5
        )
    )
    for claim in (
        *("compute_efficiency", "data_efficiency", "power_law_compute", "power_law_samples", "variants_alike"),
        *("base_ceiling", "reward_accuracy_slope", "reward_accuracy_end_loss", "diversity_slope"),
    ):
        assert result[claim] == "contradicted", claim


def test_reuse_up_to_tau_star_then_harm() -> None:
    """With r* = 60 four passes are worth 3.9, and 256 are worth 61: the loss is 37 % higher at k = 0.22."""
    result = found(
        simulate_study(
            3, bases=6, arm_bases=6, r_star=60.0, taus=(1, 4, 256), slope=0.22, run_sd=0.002, wander_sd=0.002
        )
    )
    harmless, harmful = result["reuse_harmless"], result["reuse_harmful"]
    assert (harmless.verdict, harmful.verdict) == ("supported", "supported")
    assert harmless.evidence.startswith("Tau* is 4:")
    assert harmless.effect is not None
    assert harmless.effect.name == "loss at tau = 4 over loss at tau = 1"
    assert harmful.effect is not None
    assert harmful.effect.estimate == pytest.approx(1.37, abs=0.08)
    # Of 256 times the data, steps on the same problems give log10(61) and new problems log10(256 / 61).
    steps = result["steps_over_uniqueness"]
    assert steps.effect is not None
    gains = [(np.log10(61) - np.log10(256 / 61)) / np.log10(256), (np.log10(3.9) - np.log10(4 / 3.9)) / np.log10(4)]
    assert steps.effect.estimate == pytest.approx(0.22 * np.mean(gains), abs=0.03)
    assert steps.verdict == "supported"


def test_reuse_that_harms_at_once_contradicts_harmless() -> None:
    result = found(simulate_study(4, bases=6, arm_bases=6, r_star=0.2, slope=0.4, run_sd=0.002, wander_sd=0.002))
    assert result["reuse_harmless"].verdict == "contradicted"
    assert result["reuse_harmless"].evidence.startswith("No tau is shown to be harmless, not even 4:")
    assert result["steps_over_uniqueness"].verdict == "contradicted"


def test_reuse_at_two_sizes_uses_both_and_says_each() -> None:
    """Runs of another size that differ in tau join the blocks; the mean of both sizes hides neither."""
    options: dict[str, Any] = {"bases": 3, "arm_bases": 3, "r_star": 4.0, "taus": (1, 2, 64), "run_sd": 0.002}
    small, large = (simulate_study(3, slope=slope, **options) for slope in (0.15, 0.5))
    large = large[large["params"] == FACTOR_SIZE]
    large = large.assign(params=10 * FACTOR_SIZE, run="large_" + large["run"])
    result = found(pd.concat([small, large], ignore_index=True))
    ends = pd.concat([small, large])
    ends = ends[(ends["step"] == ends["step"].max()) & ends["params"].isin([FACTOR_SIZE, 10 * FACTOR_SIZE])]
    ends = ends[(ends["reward_accuracy"] == 1) & (ends["skill_share"] == 1)]
    wide = np.log10(ends.pivot_table(index=["params", "base_seed"], columns="tau", values="test_loss"))
    ratios = 10 ** (wide[64] - wide[1]).groupby("params").mean()
    said = result["reuse_harmful"].evidence.split(") (")[-1]
    values = [float(part.split(" for ")[0]) for part in said.split(")")[0].split(", ")]
    assert values == pytest.approx(ratios.to_list(), rel=0.05)  # the loss at the end is read off a line through it
    assert said.startswith(f"{values[0]:.3f} for {FACTOR_SIZE // 1000}k, {values[1]:.3f} for {FACTOR_SIZE // 100}k)")
    assert len(result["reuse_harmful"].runs) == 12
    for name in ("reuse_harmless", "steps_over_uniqueness"):
        assert " for 12k, " in result[name].evidence
        assert " for 12k" not in found(small)[name].evidence


def test_one_run_an_arm_borrows_the_spread_between_base_models(study: pd.DataFrame) -> None:
    """sd of the slopes within sizes, pooled, times the norm of the contrast's weights; t with their df."""
    one = study[(study["base_seed"] == 0) | study["run"].isin(law_runs(study))]
    finding = found(one)["diversity_slope"]
    table = slopes(one).set_index("run")
    law = table.loc[law_runs(study)]
    sd = np.sqrt(law.groupby("params")["k"].var().mean())  # as many base models in each size
    arms = table[(table["params"] == FACTOR_SIZE) & (table["base_seed"] == 0) & (table["variant"] == "base")]
    arms = arms[(arms["tau"] == 1) & (arms["reward_accuracy"] == 1.0)]
    line = stats.linregress(arms["skill_share"], arms["k"])
    centred = arms["skill_share"] - arms["skill_share"].mean()
    assert finding.effect is not None
    assert finding.effect.estimate == pytest.approx(line.slope)
    half = stats.t.ppf(0.95, 8) * sd / np.sqrt(np.sum(centred**2))
    assert finding.effect.high == pytest.approx(line.slope + half)
    assert "the spread between base models of 4 replicated sizes stands in for the error" in finding.evidence


def law_runs(study: pd.DataFrame) -> list[str]:
    plain = (study["variant"] == "base") & (study["tau"] == 1)
    return list(study["run"][plain & (study["reward_accuracy"] == 1) & (study["skill_share"] == 1)].unique())


def test_one_run_an_arm_and_no_replicates_say_nothing_of_other_runs() -> None:
    """However clear the difference is within the runs, without a second run there is no p-value and no verdict."""
    finding = found(simulate_study(5, bases=1, r_star=0.5, slope=0.4))["reuse_harmful"]
    assert (finding.verdict, finding.p, finding.p_holm) == ("inconclusive", None, None)
    assert finding.effect is not None
    assert finding.effect.estimate > 1.3
    assert "one run an arm" in finding.evidence
    assert finding.would_decide is not None
    assert finding.would_decide.startswith("A second run of each arm")


def test_arms_of_several_bases_are_a_paired_t_test(study: pd.DataFrame) -> None:
    table = slopes(study)
    both = table[(table["tau"] == 1) & (table["reward_accuracy"] == 1) & (table["skill_share"] == 1)]
    pairs = both.pivot_table(index=["params", "base_seed"], columns="variant", values="k")
    ratio = pairs["instruct"].mean() / pairs["base"].mean()
    error = (pairs["instruct"] - ratio * pairs["base"]).std() / np.sqrt(len(pairs)) / pairs["base"].mean()
    effect = found(study)["variants_alike"].effect
    assert effect is not None
    assert (effect.estimate, effect.high) == pytest.approx((ratio, ratio + stats.t.ppf(0.95, len(pairs) - 1) * error))
    end = study[study["step"] == study["step"].max()]
    assert len(end) == study["run"].nunique()


def test_the_slope_over_sizes_is_a_randomised_block_design(study: pd.DataFrame) -> None:
    """k by size and base_seed: linear contrast of the sizes, error from size by seed, (4 - 1)(3 - 1) = 6 df."""
    table = slopes(study, "compute_flops").set_index("run").loc[law_runs(study)]
    k = table.pivot_table(index="base_seed", columns="params", values="k").to_numpy()
    x = np.log10(SIZES) - np.log10(SIZES).mean()
    weights = x / (x @ x)
    residual = k - k.mean(axis=0) - k.mean(axis=1, keepdims=True) + k.mean()
    error = np.sqrt(np.sum(residual**2) / 6 * (weights @ weights) / 3)
    finding = found(study)["compute_efficiency"]
    assert finding.effect is not None
    assert finding.effect.estimate == pytest.approx(weights @ k.mean(axis=0))
    assert finding.effect.low == pytest.approx(weights @ k.mean(axis=0) - stats.t.ppf(0.95, 6) * error)
    assert finding.p == pytest.approx(2 * stats.t.sf(weights @ k.mean(axis=0) / error, 6))
    assert finding.runs == tuple(sorted(law_runs(study)))


def test_single_runs_are_a_regression_over_the_sizes() -> None:
    curves = simulate_study(6, bases=1, rise=0.1)
    table = slopes(curves).set_index("run").loc[law_runs(curves)]
    line = stats.linregress(np.log10(table["params"]), table["k"])
    finding = found(curves)["data_efficiency"]
    assert finding.effect is not None
    assert finding.effect.estimate == pytest.approx(line.slope)
    assert finding.effect.high == pytest.approx(line.slope + stats.t.ppf(0.95, 2) * line.stderr)
    assert finding.p == pytest.approx(line.pvalue)
    assert "error from the scatter of 4 sizes, one run each, around the line (2 df)" in finding.evidence


def test_training_seeds_are_averaged_where_base_models_are_repeated(study: pd.DataFrame) -> None:
    """A second seed of each run that changes nothing must not make anything surer."""
    again = study.assign(seed=1, run=study["run"] + "_s1")
    once, twice = found(study), found(pd.concat([study, again], ignore_index=True))
    for name, finding in once.items():
        assert twice[name].p == (None if finding.p is None else pytest.approx(finding.p, rel=1e-6, abs=1e-12))
        assert twice[name].verdict == finding.verdict


def test_training_seeds_are_the_unit_where_there_is_one_base_model(study: pd.DataFrame) -> None:
    seeds = study.assign(seed=study["base_seed"], base_seed=0)
    finding, other = found(seeds)["data_efficiency"], found(study)["data_efficiency"]
    assert finding.p == pytest.approx(other.p)
    assert "3 training seeds a size" in finding.evidence
    assert "error from 3 training seeds, each in all arms (2 df)" in found(seeds)["diversity_slope"].evidence


def test_crossovers_are_where_they_were_put() -> None:
    """Same loss against samples at every size: at equal compute the smaller of a pair has seen four times as much."""
    curves = simulate_study(7, bases=5, slope=0.3, slope_sd=0.005, level_sd=0.005)
    finding = found(curves)["crossovers"]
    assert finding.verdict == "supported"
    assert finding.effect is not None
    assert finding.effect.estimate == pytest.approx(4**0.3, rel=0.06)
    assert finding.evidence.count("ahead from") == 3
    assert finding.evidence.count("to the end of both") == 3
    # A drop of the level by k log10(4) is the head start of the smaller; more of it, and the larger is ahead at once.
    behind = found(simulate_study(7, bases=5, slope=0.3, drop=0.6, slope_sd=0.005, level_sd=0.005))["crossovers"]
    assert behind.verdict == "contradicted"
    assert behind.evidence.count("behind from") == 3


def test_a_crossover_ends_where_the_lines_meet() -> None:
    """Slopes 0.2 and 0.26, equal levels at one step: the lines meet where 0.2 (c + log10 4) = 0.26 c, c in decades."""
    curves = simulate_study(8, slope=0.2, rise=0.0996578, slope_sd=0, level_sd=0, run_sd=0, wander_sd=0)
    story = found(curves)["crossovers"].evidence
    first = 30.0 * SIZES[1] * 128  # compute of the larger's first step, where its loss is that of the smaller's
    meet = np.log10(first) + 0.2 * np.log10(4) / 0.06
    assert f"3k against 12k: ahead from {8 * first:.2g} to {10**meet:.2g} FLOPs" in story


def test_transfer_from_the_scores_of_another_suite() -> None:
    curves = simulate_study(9, bases=4)
    own = curves[["run", "step"]].assign(suite="heldout", mode="exact", score=1 - curves["test_loss"], problems=2_000)
    carried = own.assign(suite="long", score=1 - curves["test_loss"] ** 0.5)
    unseen = own.assign(suite="sum", score=0.0)  # a family that no run is trained on and none ever solves
    lost = own.assign(suite="other", score=np.minimum(1 - curves["test_loss"], 0.3) * (1 - curves["step"] / 600))
    greedy = own.assign(mode="greedy", score=0.5)
    scores = pd.concat([own, carried, lost, unseen, greedy], ignore_index=True)
    result = found(curves, scores=scores)
    assert [name for name in result if name.startswith("transfer")] == [
        *("transfer_long", "transfer_other", "transfer_sum"),
    ]
    assert result["transfer_sum"].verdict == "inconclusive"
    assert "ends at 1.000 on average" in result["transfer_sum"].evidence
    assert result["transfer_long"].verdict == "supported"
    assert ", 0.500 of the slope on the law's own suite" in result["transfer_long"].evidence
    assert result["transfer_other"].verdict == "contradicted"
    assert found(curves, scores=own)["transfer"].verdict == "not tested"
    perfect = scores.assign(score=np.where(scores["suite"] == "long", 1.0, scores["score"]))
    assert found(curves, scores=perfect)["transfer_long"].verdict == "inconclusive"
    with pytest.raises(UserError, match="scores: missing columns mode, problems"):
        found(curves, scores=own.drop(columns=["mode", "problems"]))


def test_published(published: dict[str, Finding]) -> None:
    """Seven published base models: the slopes grow, the rest cannot be known from one run a size or a tau."""
    assert list(published) == IDS
    tested = {name: one.verdict for name, one in published.items() if one.verdict != "not tested"}
    assert tested == {
        **dict.fromkeys(("compute_efficiency", "data_efficiency", "base_ceiling"), "supported"),
        **dict.fromkeys(("power_law_compute", "power_law_samples", "crossovers"), "inconclusive"),
        **dict.fromkeys(("reuse_harmless", "reuse_harmful", "steps_over_uniqueness"), "inconclusive"),
    }
    curves = pd.read_csv(DATA / "tan2025_base_curves.csv").query("params <= 3.3e10")
    slope = [
        -np.polyfit(np.log10(rows["compute_flops"]), np.log10(rows["test_loss"]), 1)[0]
        for _, rows in curves.groupby("params")
    ]
    line = stats.linregress(np.log10(sorted(curves["params"].unique())), slope)
    efficiency = published["compute_efficiency"]
    assert efficiency.p == pytest.approx(line.pvalue, rel=1e-6)
    assert efficiency.runs == tuple(sorted(str(size) for size in curves["params"].unique()))
    # The paper: no loss up to tau = 25, some beyond. So it is within these runs; nothing is known of others.
    assert published["reuse_harmless"].evidence.startswith("Tau* is 25:")
    harm = published["reuse_harmful"].effect
    assert harm is not None
    assert harm.low is not None
    assert 1.0 < harm.low < harm.estimate < 1.04
    assert all(one.p is None for name, one in published.items() if name.startswith("reuse"))


def test_json_is_native_and_has_the_fields(study: pd.DataFrame, published: dict[str, Finding]) -> None:
    for finding in (*found(study).values(), *published.values()):
        text = json.loads(json.dumps(finding.to_json(), allow_nan=False))
        assert list(text) == [
            *("id", "claim", "source", "verdict", "effect", "p", "p_holm", "evidence", "would_decide", "runs")
        ]
        assert (text["effect"] is None) == (finding.effect is None)
        assert text["evidence"].endswith((".", ")"))
        assert text["evidence"][0].isupper()
        assert (text["would_decide"] is None) == (finding.verdict != "inconclusive")
        if finding.effect is not None:
            assert list(text["effect"]) == ["name", "unit", "estimate", "low", "high", "level"]
            assert text["effect"]["level"] == 0.9
            assert len(text["runs"]) == len(set(text["runs"])) > 0


def test_the_verdict_on_saturation_is_passed_on(study: pd.DataFrame) -> None:
    saturation = {
        "compute": {"verdict": "saturating", "reason": "it is ahead held out", "p_values": {"log_slope": 0.01}},
        "samples": {"verdict": "not identified", "reason": "the rivals tie", "p_values": {}},
    }
    result = found(study, saturation=saturation)
    assert result["slope_saturates_compute"].verdict == "supported"
    assert "it is ahead held out (log_slope p = 0.01)" in result["slope_saturates_compute"].evidence
    assert result["slope_saturates_samples"].verdict == "inconclusive"
    assert result["data_efficiency"].p_holm == found(study)["data_efficiency"].p_holm  # no part of Holm's family
    without = found(study, saturation={"compute": None, "samples": None})  # as fits without intervals have it
    assert without["slope_saturates_compute"].verdict == "not tested"


def test_claims_without_runs_are_not_tested_and_say_why(study: pd.DataFrame) -> None:
    law = study[study["run"].isin(law_runs(study))]
    result = found(law)
    assert result["variants_alike"].evidence.startswith("The study has no base model with runs of both variants")
    assert result["reuse_harmless"].evidence == "The study has no base model with runs of two values of tau."
    assert result["transfer"].evidence == "The study keeps no scores beside its test loss."
    one = found(law[law["params"] == SIZES[0]])
    assert one["compute_efficiency"].evidence.startswith("The study has 1 size whose runs have at least three points")
    assert one["crossovers"].evidence == "The study has fewer than two sizes with compute."
    short = found(law[law["step"] <= 2 * FIRST_STEP])
    assert short["power_law_samples"].evidence.startswith("The study has 0 sizes whose runs have at least three points")
    for finding in (one["compute_efficiency"], result["transfer"]):
        assert (finding.verdict, finding.effect, finding.p, finding.runs) == ("not tested", None, None, ())


def test_excluded_runs_and_sizes_above_the_limit_are_left_out(study: pd.DataFrame) -> None:
    wild = study["run"] == law_runs(study)[0]
    gated = study.assign(excluded=np.where(wild, "collapsed", ""), test_loss=np.where(wild, 1.0, study["test_loss"]))
    assert found(gated) == found(study[~wild])
    limited = found(study, max_params=50_000)
    assert limited == found(study[study["params"] <= 50_000])
    assert not any(str(SIZES[-1]) in run for run in limited["data_efficiency"].runs)


def test_a_study_that_learns_nothing_is_inconclusive_or_not_tested(study: pd.DataFrame) -> None:
    flat = found(study.assign(test_loss=0.7))
    assert flat.pop("reuse_harmless").verdict == "supported"
    assert {one.verdict for one in flat.values()} == {"inconclusive", "not tested"}
    assert all(one.p is None or one.p > 0.999 for name, one in flat.items() if name != "crossovers")
    assert flat["power_law_samples"].evidence.startswith("The loss does not clearly fall with samples")


def test_more_base_models_are_asked_for_where_they_would_decide() -> None:
    finding = found(simulate_study(11, accuracy=0.25))["reward_accuracy_slope"]
    assert finding.verdict == "inconclusive"
    assert finding.would_decide is not None
    words = finding.would_decide.split()
    assert words[0] == "About"
    assert finding.would_decide.endswith("base models an arm instead of 1, if the effect is as large as it looks now.")
    again = [
        found(simulate_study(seed, accuracy=0.25, bases=int(words[1]), arm_bases=int(words[1]))) for seed in (20, 21)
    ]
    assert all(one["reward_accuracy_slope"].verdict == "supported" for one in again)


def test_bend_and_local_loss_of_a_parabola() -> None:
    x = np.linspace(0.0, 2.0, 21)
    parabola = 0.3 - 0.2 * x - 0.05 * x**2  # the local slope is 0.2 at the start and 0.4 at the end
    assert bend(x, parabola) == pytest.approx(0.2)
    assert falling(x, parabola) == pytest.approx(0.3)
    assert bend(x[[0, 20, 20]], parabola[[0, 20, 20]]) == 0.0
    line = pd.DataFrame({"params": 9, "step": range(1, 51), "samples": range(8, 408, 8)})
    (run,) = gather_runs(
        line.assign(test_loss=0.9 * line["step"] ** -0.25), first_step=1, max_params=None, source="points"
    )
    reading = loss_at(run, "step", np.log10(20.0))
    assert reading is not None
    assert 10**reading.value == pytest.approx(0.9 * 20**-0.25)
    assert loss_at(run, "step", np.log10(60.0)) is None


def test_the_error_within_a_run_holds_for_correlated_steps() -> None:
    """Over 300 runs of correlated steps, the mean of the jackknife's variances is near the variance of the losses."""
    steps, runs = np.arange(1, 101), 300
    noise = np.random.default_rng(12).normal(0, 0.02, (runs, steps.size))
    for index in range(1, steps.size):
        noise[:, index] += 0.4 * noise[:, index - 1]
    step = np.tile(steps, runs)
    table = pd.DataFrame({"params": np.repeat(np.arange(1, runs + 1), steps.size), "step": step, "samples": step})
    table["test_loss"] = 10 ** (-0.4 + noise.ravel())
    gathered = gather_runs(table, first_step=1, max_params=None, source="points")
    ends = [reading for run in gathered if (reading := loss_at(run, "step", 2.0)) is not None]
    assert len(ends) == runs
    assert np.mean([end.within[0] for end in ends]) == pytest.approx(np.var([end.value for end in ends]), rel=0.25)


def test_refused_options_and_tables(study: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="x_first_step is 0; allowed: 1 or more"):
        found(study, x_first_step=0)
    with pytest.raises(UserError, match=r"curves, row 2: test_loss is -1\.0; allowed: above 0 and at most 1"):
        found(study.assign(test_loss=np.where(study.index == 1, -1.0, study["test_loss"])))
    with pytest.raises(UserError, match="reuse points: missing column step"):
        found(study, reuse=study.drop(columns="step"))
