"""Studies other than smoke: published, planned only, one's own, and wrong ones."""

import json
import re

import pytest

from rlscale.fit import fit_points
from rlscale.points import read_points
from tests.workflow.clone import Clone, files_below

pytestmark = pytest.mark.slow


def test_published_fits_what_the_paper_does(clone: Clone) -> None:
    clone.snakemake("published")
    law = json.loads((clone / "results/published/law/fit.json").read_text())["fits"]
    assert set(law) == {"compute_linear", "compute_log", "samples_linear", "samples_log"}
    points = read_points(clone / "config/data/tan2025_base_curves.csv")
    direct = fit_points(points, x="compute", loss="linear", max_params=3.3e10).to_json()
    assert law["compute_linear"]["k_max"] == pytest.approx(direct["k_max"], rel=1e-9)
    assert law["compute_linear"]["n_0"] == pytest.approx(direct["n_0"], rel=1e-9)
    # Tan et al., arXiv 2509.25300, Table 6
    assert law["compute_linear"]["k_max"] == pytest.approx(0.1518, abs=0.0003)
    assert law["compute_linear"]["n_0"] == pytest.approx(17.37e9, abs=0.10e9)
    assert law["samples_linear"]["k_max"] == pytest.approx(0.1631, abs=0.0003)
    assert law["samples_linear"]["n_0"] == pytest.approx(16.95e9, abs=0.10e9)
    figures = files_below(clone / "results/published/figures", "*.[sp][vn]g")
    kinds, axes = ("loss", "slope", "profile", "forecast", "tournament"), ("compute", "samples")
    names = {f"{kind}_{x}.{suffix}" for kind in kinds for x in axes for suffix in ("svg", "png")}
    assert set(figures) == names
    assert law["compute_linear"]["saturation"]["verdict"] == "not identified"
    claims = json.loads((clone / "results/published/law/findings.json").read_text())["findings"]
    assert {one["id"]: one["verdict"] for one in claims}["compute_efficiency"] == "supported"
    winner = json.loads((clone / "results/published/law/compare.json").read_text())["winners"][0]
    assert (winner["target_params"], winner["chosen_on_params"]) == (
        72_000_000_000,
        [7 * 10**9, 14 * 10**9, 32 * 10**9],
    )
    assert min(map(len, figures.values())) > 5000
    assert len(read_points(clone / "results/published/tables/curves.csv")) == len(points)


def test_the_paper_s_grid_is_planned_without_torch_and_not_trained(clone: Clone) -> None:
    no_torch = clone / "no-torch"
    no_torch.mkdir()
    (no_torch / "torch.py").write_text('raise ImportError("planning imports torch")\n')
    with_torch = clone.environment["PYTHONPATH"]
    clone.environment["PYTHONPATH"] = f"{with_torch}:{no_torch}"
    planned = clone.planned("paper-54")
    clone.environment["PYTHONPATH"] = with_torch
    assert (planned["train"], planned["evaluate"], planned["grade"]) == (54, 54, 54)
    base = min((clone / "results/paper-54/specs/bases").iterdir()).stem
    clone.environment.update(HF_HUB_OFFLINE="1", HF_HOME=str(clone / "no-cache"))
    answer = clone.rlscale("stage", "base", "paper-54", base)
    assert answer.returncode == 2
    assert re.match(rf"error: {base}: Qwen/\S+ at [0-9a-f]{{40}} cannot be fetched: ", answer.stderr.splitlines()[-1])


def test_a_dry_run_says_what_a_study_takes(clone: Clone) -> None:
    said = clone.snakemake("-n", "paper-63")
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.strip().startswith("qwen")}
    assert rows["qwen2.5-72b"] == ["8", "×", "8", "3", "10,465", "55", "6,500", "406"]
    assert re.search(r"total +63 +36,529 +163 +22,725 +1,420\n", said)
    assert re.search(r"^train +63$", said, re.MULTILINE)
    assert "GPU-hours" not in clone.snakemake("-n", "smoke")


def test_a_broken_study_stops_with_its_error_only(clone: Clone) -> None:
    clone.change_study(lambda study: study["training"].update(learing_rate=0.1), to="broken.yaml")
    said = clone.snakemake("-n", "--config", "study=broken.yaml", fails=True)
    line = next(line for line in said.splitlines() if line.startswith("broken.yaml:"))
    assert line.endswith("training.learing_rate: unknown key; did you mean learning_rate?")
    assert "Traceback" not in said


def test_an_unknown_study_is_refused(clone: Clone) -> None:
    said = clone.snakemake("-n", "--config", "study=smok", fails=True)
    assert 'no study "smok"; did you mean smoke?' in said
    assert "Traceback" not in said


def test_companions_are_made_along(clone: Clone) -> None:
    clone.change_study(lambda study: study.update(companions=["published"]), to="first.yaml")
    planned = clone.planned("--config", "study=first.yaml")
    alone = clone.planned("--config", "study=config/studies/smoke.yaml")
    published = clone.planned("published")
    assert planned["law"] == alone["law"] + published["law"] == 2
    assert planned["figure_slope"] == alone["figure_slope"] + published["figure_slope"]
    clone.change_study(lambda study: study.update(companions=["publishd"]), to="wrong.yaml")
    said = clone.snakemake("-n", "--config", "study=wrong.yaml", fails=True)
    assert 'study wrong: companions: no other study "publishd"; there are ' in said
    assert "did you mean published?" in said


def test_controls_are_drawn_where_three_sizes_or_three_levels_have_them(clone: Clone) -> None:
    shares = {"half": 0.5, "quarter": 0.25, "matched": {"q3k": 1, "q5k": 0.5, "q12k": 0.25}}
    clone.replace("config/models/smoke.yaml", "kind: built\n", f"kind: built\nsupervisions: {json.dumps(shares)}\n")
    blocks = {
        "levels": {"models": ["q3k"], "supervision": ["full", "half", "quarter"]},
        "matched": {"supervision": ["matched"]},
        "few": {"models": ["q3k", "q5k"], "supervision": ["half"]},
    }
    for name, bases in {"levels": 5, "matched": 6, "few": 5}.items():
        clone.change_study(
            lambda study, name=name: study.update(grid={"law": {}, name: blocks[name]}), to=f"{name}.yaml"
        )
        planned = clone.planned("--config", f"study={name}.yaml")
        assert (planned["base"], planned["train"]) == (bases, bases)
        assert planned.get("figure_controls", 0) == (name != "few")


def test_a_study_of_one_s_own_takes_no_shipped_name(clone: Clone) -> None:
    clone.change_study(lambda _: None, to="smoke.yaml")
    said = clone.snakemake("-n", "--config", "study=smoke.yaml", fails=True)
    assert "smoke.yaml: a shipped study is called smoke (config/studies/smoke.yaml): rename the file" in said
    clone.change_study(lambda study: study["grid"].pop("instruct"), to="mine.yaml")
    planned = clone.planned("--config", "study=mine.yaml")
    assert (planned["train"], planned["base"]) == (5, 3)
    assert (clone / "results/mine/specs").is_dir()
    assert not (clone / "results/smoke").exists()
