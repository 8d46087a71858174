"""What `rlscale next` ranks, writes and refuses, and what `rlscale outlook` forecasts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.known_fit import known_fit

from rlscale.config import load_grid
from rlscale.overlay import add_runs
from rlscale.plan.belief import Goal, Noise, believe
from rlscale.plan.choose import Candidate, choose, rank
from rlscale.plan.lines import read_lines
from rlscale.plan.outlook import Ended, forecast_end, worth_finishing

ROOT = Path(__file__).parents[2]


def the_fit() -> dict[str, Any]:
    """Return the fit of two known lines, with 400 replicates and two runs of each size."""
    random = np.random.default_rng(0)
    fit = known_fit(tuple(0.2 + 0.01 * random.standard_normal(400)), levels=tuple(0.02 * random.standard_normal(400)))
    sizes = ["1000000000", "1000000000", "3000000000", "3000000000"]
    fit["curves"] = {f"run {place}": {"params": int(size)} for place, size in enumerate(sizes)}
    fit["k_free_se"] = dict.fromkeys(sizes, 0.001)
    fit["bounds"] = {"n_0": [1e6, 1e12], "k_max": [0.0, 1e3]}
    fit["intervals"] |= {"run_sd": 0.01, "run_freedom": 2}
    return fit


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the configuration and a fitted study smoke."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "results/smoke/law").mkdir(parents=True)
    sizes = {"1000000000": "3012", "3000000000": "11784"}
    fit = the_fit()
    fit["curves"]["run 4"] = {"params": 5296}
    for by_size in (fit["ranges"], *(fit["intervals"]["replicates"][name] for name in ("levels", "pivot", "level"))):
        by_size["5296"] = by_size["1000000000"]
    text = json.dumps({"fits": {"compute_linear": fit}})
    for old, new in sizes.items():
        text = text.replace(old, new)
    (tmp_path / "results/smoke/law/fit.json").write_text(text)
    (tmp_path / "fit.json").write_text(json.dumps(the_fit()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_more_runs_shrink_the_interval_and_noisier_ones_less():
    fit = the_fit()
    lines = read_lines(fit)
    belief = believe(fit, lines, Goal("loss", 3e9, 1e20))
    own, other = (belief.after(size, float(lines.last[size])) for size in (1, 0))
    assert max(own.width, other.width) < belief.width
    assert own.after(1, float(lines.last[1])).width < own.width
    short = belief.after(1, float(lines.first[1] + lines.last[1]) / 2)
    assert own.width < short.width < belief.width
    noise = Noise(4 * belief.noise.run, 4 * belief.noise.within, 4 * belief.noise.level)
    assert replace(belief, noise=noise).after(1, float(lines.last[1])).width > own.width


def test_the_width_is_that_of_the_replicates():
    fit = the_fit()
    lines = read_lines(fit)
    drawn = lines.log10_loss(np.asarray(20.0))[1:, 1]
    low, high = np.quantile(drawn, (0.05, 0.95))
    assert believe(fit, lines, Goal("loss", 3e9, 1e20)).width == pytest.approx(high - low, rel=1e-6)


def test_a_batch_keeps_to_its_budget_and_order():
    fit = the_fit()
    lines = read_lines(fit)
    goal = Goal("k_max")
    kinds = [Candidate(1e9, True, 19.0, 1.0, 2), Candidate(3e9, True, 19.5, 3.0, 2)]
    batch = choose(believe(fit, lines, goal), kinds, 5.0)
    assert batch[-1].spent <= 5.0
    widths = [believe(fit, lines, goal).width, *(one.width for one in batch)]
    assert widths == sorted(widths, reverse=True)
    ranking = rank(lambda chosen: believe(fit, lines, goal, chosen), kinds, 400)
    assert ranking[0].per_cost >= ranking[1].per_cost
    assert all(0 < one.error < one.shrinks for one in ranking)


def test_the_overlay_adds_the_chosen_runs_and_changes_no_other(here: Path, run: Any):
    before = load_grid(here / "config/studies/smoke.yaml")[2]
    made = here / "config/studies/smoke.yaml"
    options = ["--goal-size", "11784", "--goal-compute", "1e20", "--budget", "1e21", "--most", "2"]
    code, out, err = run("next", "smoke", *options, "--output", str(made), "--force", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    after = load_grid(made)[2]
    assert sorted(set(after.runs) - set(before.runs)) == found["overlay"]["added"] != []
    assert len(found["batch"]) == len(found["overlay"]["added"])
    assert all(after.runs[name].fingerprint == one.fingerprint for name, one in before.runs.items())
    assert all("law" in after.runs[name].blocks for name in found["overlay"]["added"])
    assert (found["overlay"]["shares_results"], found["overlay"]["command"]) == (True, "snakemake smoke")
    code, _, err = run("next", "smoke", *options, "--output", str(made))
    assert (code, "--force overwrites it" in err) == (2, True)
    code, _, err = run("next", "smoke", *options, "--output", str(here / "more/smoke.yaml"))
    assert (code, "config/studies/smoke.yaml itself, with --force, or another name" in err) == (2, True)
    assert "# Every stage in about a minute" in made.read_text()


@pytest.mark.usefixtures("here")
def test_a_size_that_the_law_lacks_begins_with_the_seeds_of_the_others():
    made = add_runs(Path("config/studies/mini.yaml"), {"q330k": 2, "q3k": 1})
    assert made.added == ["q330k_base_b0_s0", "q330k_base_b1_s0", "q3k_base_b3_s0"]
    assert made.kept == 39


@pytest.mark.usefixtures("here")
def test_points_get_a_ranking_and_no_overlay(run: Any):
    options = ["--goal", "k_max", "--budget", "1e21"]
    code, out, err = run("next", "fit.json", *options, "--gpu", "h100")
    assert (code, err) == (0, "")
    assert "GPU-hour" in out
    assert "no study to extend" in out
    code, _, err = run("next", "fit.json", *options, "--output", "x.yaml")
    assert (code, err.count("\n")) == (2, 1)


GOOD = ["--goal", "k_max", "--budget", "1e21"]
BAD = {
    "no goal": (["fit.json", "--budget", "1e21"], "no goal"),
    "nonsense": (["fit.json", "--goal", "kmax", "--budget", "1"], "did you mean k_max"),
    "half a goal": (["fit.json", "--goal-size", "1e9", "--budget", "1"], "--goal-compute is missing"),
    "NaN size": (["fit.json", "--goal-size", "nan", "--goal-compute", "1e20", "--budget", "1"], "--goal-size is nan"),
    "negative compute": (["fit.json", "--goal-size", "1e9", "--goal-compute", "-1", "--budget", "1"], "-1"),
    "size of n_0": (["fit.json", "--goal", "n_0", "--goal-size", "1e9", "--budget", "1"], "belongs to the goal loss"),
    "no budget": (["fit.json", "--goal", "k_max"], "no budget"),
    "budget 0": (["fit.json", "--goal", "k_max", "--budget", "0"], "positive"),
    "budget -1": (["fit.json", "--goal", "k_max", "--budget", "-1"], "positive"),
    "budget nan": (["fit.json", "--goal", "k_max", "--budget", "nan"], "positive"),
    "small budget": (["fit.json", "--goal", "k_max", "--budget", "1e10"], "buy no run"),
    "unknown GPU": (["fit.json", *GOOD, "--gpu", "H10O"], "did you mean H100"),
    "unknown study": (["smokey", *GOOD], "did you mean smoke"),
    "no fit yet": (["mini", *GOOD], "no such file"),
    "another schema": (["other.json", *GOOD], "something else"),
    "no replicates": (["bare.json", *GOOD], "no replicates"),
    "damaged": (["damaged.json", *GOOD], "damaged"),
    "bad size": (["fit.json", *GOOD, "--size", "nan"], "--size is nan"),
    "published": (["published", *GOOD, "--output", "x.yaml"], "trains nothing"),
    "not YAML": (["smoke", *GOOD, "--output", "x.txt"], ".yaml"),
}


@pytest.mark.parametrize(("options", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence_and_code_2(here: Path, run: Any, options: list[str], said: str):
    (here / "other.json").write_text('{"law": "linear"}')
    (here / "bare.json").write_text(json.dumps(the_fit() | {"intervals": None}))
    (here / "damaged.json").write_text(json.dumps({k: v for k, v in the_fit().items() if k != "curves"}))
    code, out, err = run("next", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def curve(k: float, length: int, level: float = -0.05) -> Any:
    return 1 - 10.0 ** (level - k * np.log10(np.arange(1, length + 1)))


def test_the_end_of_a_run_follows_from_runs_like_it():
    random = np.random.default_rng(0)
    slopes = {1e3: 0.2, 1e4: 0.4}
    ended = [
        Ended("a", size, curve(k + e, 100), 10.0 ** (-0.05 - (k + e) * 2))
        for size, k in slopes.items()
        for e in 0.01 * random.standard_normal(4)
    ]
    drawn, basis = forecast_end("a", 1e4, curve(0.4, 30), last_step=100, ended=ended, slopes=None)
    assert basis == "4 of this size"
    assert drawn is not None
    low, high = np.quantile(drawn[1:], (0.05, 0.95))
    assert low < -0.85 < high
    assert high - low < 0.05
    law = lambda sizes: np.tile(0.2 * np.log10(sizes) - 0.4, (3, 1))  # noqa: E731
    unseen, basis = forecast_end("a", 1e3, curve(0.2, 30), last_step=100, ended=ended[4:], slopes=law)
    assert basis == "4 of other sizes, law"
    assert unseen is not None
    assert unseen[0] == pytest.approx(-0.45, abs=0.03)
    assert forecast_end("b", 1e3, curve(0.2, 30), last_step=100, ended=ended, slopes=law)[0] is None
    assert worth_finishing(drawn, np.full(10, -0.5)) == 1.0
    assert worth_finishing(drawn, np.full(10, -1.5)) == 0.0


@pytest.mark.usefixtures("here")
def test_an_outlook_without_results_says_so(run: Any):
    code, out, _ = run("outlook", "smoke", "--json")
    assert (code, json.loads(out)) == (0, {"study": "smoke", "ended": 0, "runs": []})
