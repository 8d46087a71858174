"""A job that fails: the terminal says where to read why, and the rest goes on."""

import pytest

from tests.workflow.clone import Clone, times_below


@pytest.mark.slow
def test_a_failed_training_names_its_log_and_the_others_finish(smoke: Clone) -> None:
    weights = smoke / "results/smoke/models/q5k_base_b0/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    smoke.change_study(lambda study: study["training"].update(clip_range=0.3))
    runs = ("q12k_base_b0_s0", "q3k_base_b0_s0", "q5k_base_b0_s0")
    before = {run: times_below(smoke / f"results/smoke/runs/{run}", "steps.parquet") for run in runs}
    said = smoke.snakemake(*(f"results/smoke/runs/{run}/steps.parquet" for run in runs), fails=True)
    log = "results/smoke/logs/train/q5k_base_b0_s0.log"
    assert log in said
    assert "train q5k_base_b0_s0: failed" in (smoke / log).read_text()
    assert "Traceback" in (smoke / log).read_text()
    for run in runs[:2]:
        after = times_below(smoke / f"results/smoke/runs/{run}", "steps.parquet")
        assert after != before[run], f"{run} did not finish"
        assert "failed" not in (smoke / f"results/smoke/logs/train/{run}.log").read_text()
