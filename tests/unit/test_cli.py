"""The command line: what it prints, its JSON, and one sentence with exit code 2 on bad input."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rlscale import cli
from rlscale.config import find_study, load_grid
from rlscale.paths import StudyPaths
from rlscale.provenance import IDENTITY

ROOT = Path(__file__).parents[2]
POINTS = "config/data/tan2025_base_curves.csv"
HEAVY = ("torch", "transformers", "vllm", "openrlhf", "ray")


@pytest.fixture
def in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that has the configuration but no results."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(tmp_path)


def test_validate(run: Any):
    code, out, _ = run("validate", "mini")
    assert (code, out) == (0, "mini is valid: 39 runs, 702 cells, 18 base models, 0 runs excluded\n")
    assert json.loads(run("validate", "paper-63", "--json")[1])["excluded"] == 3
    assert json.loads(run("validate", "published", "--json")[1])["points"] == POINTS


def test_cells(run: Any):
    code, out, _ = run("cells", "smoke")
    assert code == 0
    for run_id, planned in load_grid(find_study("smoke"))[2].runs.items():
        assert run_id in out
        assert planned.fingerprint in out


def test_cells_json_prices_by_true_parameters_and_counted_tokens(run: Any):
    found = json.loads(run("cells", "smoke", "--json")[1])
    grid = load_grid(find_study("smoke"))[2]
    assert {row["run_id"]: row["fingerprint"] for row in found["runs"]} == {
        run_id: planned.fingerprint for run_id, planned in grid.runs.items()
    }
    assert len(found["cells"]) == found["totals"]["cells"] == 48
    # A chain of two is a digit, two operators and "="; then two digits and the end: 7 tokens.
    assert found["tokens_per_rollout"] == {"chain": 7.0}
    row = next(row for row in found["runs"] if row["run_id"] == "q3k_base_b0_s0")
    assert row["expected_flops"] == 6 * 3012 * (12 * 16) * 8 * 7
    assert found["totals"]["expected_flops"] == pytest.approx(sum(row["expected_flops"] for row in found["runs"]))


def test_cells_of_a_hub_study_are_priced_at_the_limits_and_name_exclusions(run: Any):
    found = json.loads(run("cells", "paper-63", "--json")[1])
    assert (found["tokens_per_rollout"], found["tokens_are"]) == ({"all": 6144.0}, "at most")
    assert [row["run_id"] for row in found["excluded"]] == [f"qwen2.5-72b_instruct_s{seed}" for seed in (0, 1, 2)]
    row = next(row for row in found["runs"] if row["run_id"] == "qwen2.5-0.5b_base_s0")
    assert row["expected_flops"] == 6 * 360_000_000 * (105 * 512) * 8 * 6144
    assert "excluded qwen2.5-72b_instruct_s0: assumed" in run("cells", "paper-63")[1]


def test_fit_on_the_published_points(run: Any):
    code, out, _ = run("fit", POINTS, "--x", "compute", "--max-params", "3.3e10", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["k_max"] == pytest.approx(0.1518, abs=3e-4)  # Tan et al., arXiv 2509.25300, Table 6
    assert found["n_0"] == pytest.approx(17.37e9, abs=0.10e9)
    assert list(found["k"]) == ["500000000", "1500000000", "3000000000", "7000000000", "14000000000", "32000000000"]
    assert "K_max = 0.1518" in run("fit", POINTS, "--x", "compute", "--max-params", "3.3e10")[1]


def test_fit_options_reach_the_fit(run: Any):
    found = json.loads(run("fit", POINTS, "--x", "samples", "--loss", "log", "--first-steps", "25", "--json")[1])
    assert (found["x"], found["loss"], found["first_steps"], found["points"]) == ("samples", "log", 25, 175)


def test_fit_chooses_a_variant(run: Any, tmp_path: Path):
    base = pd.read_csv(ROOT / POINTS)
    path = tmp_path / "two.csv"
    pd.concat([base, base.assign(variant="instruct")]).to_csv(path, index=False)
    assert json.loads(run("fit", str(path), "--x", "compute", "--variant", "base", "--json")[1])["variant"] == "base"
    code, _, err = run("fit", str(path), "--x", "compute")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.usefixtures("in_a_copy")
def test_status_of_a_study_in_progress(run: Any):
    grid = load_grid(find_study("smoke"))[2]
    paths = StudyPaths("smoke")
    for run_id, fingerprint in (
        ("q3k_base_b0_s0", grid.runs["q3k_base_b0_s0"].fingerprint),
        ("q5k_base_b0_s0", "0" * 16),
    ):
        for step in (1, 2, 3):
            paths.checkpoint(run_id, step).mkdir(parents=True)
            identity = {"run": run_id, "step": step, "fingerprint": fingerprint}
            (paths.checkpoint(run_id, step) / IDENTITY).write_text(json.dumps(identity))
    pd.DataFrame({"step": [0, 1, 1, 2], "suite": "heldout"}).to_parquet(paths.scores("q3k_base_b0_s0"))

    found = json.loads(run("status", "smoke", "--json")[1])
    assert (found["planned"], found["checkpoints"], found["scores"]) == (48, 3, 2)
    rows = {row["run_id"]: row for row in found["runs"]}
    assert [step for step, there in rows["q3k_base_b0_s0"]["checkpoints"].items() if there] == ["1", "2", "3"]
    assert [step for step, there in rows["q3k_base_b0_s0"]["scores"].items() if there] == ["1", "2"]
    assert rows["q5k_base_b0_s0"]["changed"]
    assert not any(rows["q5k_base_b0_s0"]["checkpoints"].values())

    out = run("status", "smoke")[1]
    assert out.startswith("study smoke: 6 runs: 6 planned; 3 of 48 checkpoints, 2 of 48 scores\n")
    assert "q5k_base_b0_s0: changed: will be trained anew\n" in out


def test_schema_writes_what_is_in_the_repository(run: Any, tmp_path: Path):
    found = json.loads(run("schema", "--folder", str(tmp_path), "--json")[1])
    assert set(found["written"]) == {"study", "ladder", "record"}
    for name in found["written"]:
        file = f"{name}.schema.json"
        assert (tmp_path / file).read_bytes() == (ROOT / "config/schema" / file).read_bytes()


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (("validate", "min"), 'error: no study "min"; did you mean mini?'),
        (("validate", "none.yaml"), "error: no file none.yaml"),
        (("cells", "published"), "error: config/studies/published.yaml: this study trains nothing"),
        (("status", "published"), "error: config/studies/published.yaml: this study trains nothing"),
        (("fit", "none.csv", "--x", "compute"), "error: none.csv"),
        (("fit", POINTS, "--x", "compute", "--first-steps", "0"), "error: "),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(run: Any, argv: tuple[str, ...], error: str):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.startswith(error)
    assert err.count("\n") == 1


def test_each_error_of_a_file_is_a_line(run: Any, tmp_path: Path):
    path = tmp_path / "bad.yaml"
    text = (
        (ROOT / "config/studies/mini.yaml")
        .read_text()
        .replace("clip_range", "clip_rnge")
        .replace("seed_offset: 0", "seed_offset: x")
    )
    path.write_text(text)
    code, _, err = run("validate", str(path))
    assert code == 2
    assert err.splitlines() == [
        f'error: {path}:9:1: seed_offset: is "x" (a text); a whole number is needed',
        f"error: {path}:27:3: training.clip_rnge: unknown key; did you mean clip_range?",
    ]


@pytest.mark.parametrize("argv", [("fit", POINTS), ("fit", POINTS, "--x", "tokens"), ("validate",), ("unknown",)])
def test_wrong_usage_exits_with_2(run: Any, argv: tuple[str, ...]):
    assert run(*argv)[0] == 2


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def broken(_name: str) -> Path:
        raise ZeroDivisionError

    monkeypatch.setattr("rlscale.config.find_study", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["validate", "mini"])


@pytest.mark.parametrize(
    "code",
    [
        "import rlscale.cli",
        "from rlscale.cli import main\ntry: main(['cells', 'mini', '--json'])\nexcept SystemExit: pass",
        "from rlscale.cli import main\ntry: main(['status', 'mini', '--json'])\nexcept SystemExit: pass",
    ],
)
def test_the_command_line_loads_no_heavy_library(code: str):
    loaded = f"[name for name in {HEAVY!r} if name in sys.modules]"
    check = f"{code}\nimport sys\nloaded = {loaded}\nsys.exit(str(loaded) if loaded else 0)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "rlscale", "validate", "min"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("figure", sorted((ROOT / "docs/figures").glob("mini-*.png")), ids=lambda path: path.stem)
def test_a_figure_of_the_docs_is_one_whose_digest_is_stated(figure: Path):
    study = figure.stem.partition("_")[0]
    stated = (ROOT / f"docs/results/{study}.md").read_text()
    assert hashlib.sha256(figure.read_bytes()).hexdigest() in stated
