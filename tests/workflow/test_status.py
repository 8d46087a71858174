"""`rlscale status` beside a Snakemake that trains, after a kill, and at the end."""

import json
import os
import signal
import time
from contextlib import suppress
from typing import Any

import pytest

from rlscale.attempts import attempts
from tests.workflow.clone import Clone

RUN = "q3k_base_b0_s0"
LOG = f"results/watched/logs/train/{RUN}.log"
SCORES = f"results/watched/runs/{RUN}/scores.parquet"
OWN_STUDY = ("--config", "study=watched.yaml")
LAST = 120
TRAINER = "src/rlscale/trainers/local/trainer.py"
STEP = "            row = self._step(step)\n"
SLOWLY = f"            time.sleep(0.5)\n{STEP}"
DEADLINE_SECONDS = 300.0


def one_run(study: dict[str, Any]) -> None:
    study["grid"] = {"law": {"models": ["q3k"]}}
    study["budgets"] = [1, LAST]
    study["training"]["train_problems"] = 16 * LAST
    study["evaluation"]["suites"] = ["heldout"]


def status(clone: Clone) -> dict[str, Any]:
    answer = clone.rlscale("status", "watched.yaml", "--json")
    assert answer.returncode == 0, answer.stderr
    (run,) = json.loads(answer.stdout)["runs"]
    assert isinstance(run, dict)
    return run


@pytest.mark.slow
def test_a_run_is_seen_while_it_trains_when_it_was_killed_and_when_it_is_done(clone: Clone) -> None:
    clone.change_study(one_run, to="watched.yaml")
    clone.replace(TRAINER, STEP, SLOWLY)
    assert status(clone)["state"] == "planned"
    snakemake = clone.start(SCORES, *OWN_STUDY, new_session=True)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (seen := status(clone))["step"]:
            assert snakemake.poll() is None, snakemake.communicate()[0]
            assert time.monotonic() < deadline, seen
    finally:
        with suppress(ProcessLookupError):  # it ended by itself, which another assertion says
            os.killpg(snakemake.pid, signal.SIGKILL)
        snakemake.communicate()
    assert (seen["state"], seen["attempts"], seen["log"], seen["last_step"]) == ("running", 1, LOG, LAST)
    assert 0 <= seen["reward_mean"] <= 1
    assert seen["seconds_left"] > 0
    assert seen["expected_end"] > "2"

    while (killed := status(clone))["state"] == "running":  # its fork is about to notice
        assert time.monotonic() < deadline, killed
    assert (killed["state"], killed["log"], killed["seconds_left"]) == ("stopped", LOG, None)
    assert killed["checkpoints"] == {"1": True, str(LAST): False}
    said = clone.rlscale("status", "watched.yaml").stdout
    assert "study watched: 1 run: 1 stopped; 1 of 2 checkpoints, 0 of 2 scores" in said
    assert f"log: {LOG}" in said

    clone.replace(TRAINER, SLOWLY, STEP)
    clone.snakemake("--unlock", SCORES, *OWN_STUDY)
    clone.snakemake(SCORES, *OWN_STUDY)
    done = status(clone)
    assert (done["state"], done["attempts"], done["log"], done["note"]) == ("done", 2, None, "")
    first, second = attempts(next((clone / f"results/watched/resume/{RUN}").iterdir()))
    assert first.reached is not None
    assert first.reached >= killed["step"]
    assert done["lost_steps"] == first.reached - (second.resumed_after or 0)
    assert [first.outcome, second.outcome] == [None, "done"]
    assert all((*done["checkpoints"].values(), *done["scores"].values()))
