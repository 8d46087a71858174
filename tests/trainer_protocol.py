"""What every trainer must do, whatever it trains with; a subclass gives the trainer and a job that it has done."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from rlscale.models.checkpoint import load_checkpoint
from rlscale.provenance import checkpoint_identity, weights_digest
from rlscale.trainers import Progress, Trainer, TrainingJob

COLUMNS = {
    "step", "samples", "unique_samples", "entropy", "answer_tokens_mean", "truncated_share", "compute_flops",
    "reward_mean", "flat_share", "learning_rate", "updates", "gradient_norm", "kl",
    *(f"{what}_{phase}" for what in ("tokens", "flops", "seconds")
      for phase in ("rollout", "old_logprob", "reference_logprob", "update")),
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A job that was done: its table, the progress that it reported, and the steps that it said it went on from."""

    trainer: Trainer
    job: TrainingJob
    table: pd.DataFrame
    reported: list[Progress]
    resumed: list[int]


def trained(trainer: Trainer, make_job: Callable[[Callable[[Progress], None]], TrainingJob]) -> Trained:
    """Do a job, given what makes it of the function that it reports to."""
    reported: list[Progress] = []
    resumed: list[int] = []
    job = replace(make_job(reported.append), resumed=resumed.append)
    table = trainer.train(job)
    return Trained(trainer, replace(job, resumed=lambda _step: None), table, reported, resumed)


class TrainerProtocol:
    """The tests; a subclass has a fixture ``done``."""

    def test_the_table_has_a_row_for_each_step(self, done: Trained) -> None:
        steps = list(range(1, done.job.budgets[-1] + 1))
        assert done.table["step"].tolist() == steps
        assert set(done.table) >= COLUMNS

    def test_it_counts_samples(self, done: Trained) -> None:
        prompts = done.job.identity["training"]["prompts_per_step"]
        assert (done.table["samples"] == done.table["step"] * prompts).all()
        assert (done.table["unique_samples"] <= done.table["samples"]).all()
        assert done.table["unique_samples"].is_monotonic_increasing

    def test_its_numbers_are_possible(self, done: Trained) -> None:
        table = done.table
        for share in ("reward_mean", "flat_share", "truncated_share"):
            assert table[share].between(0, 1).all(), share
        assert (table["learning_rate"] > 0).sum() >= len(table) - 1  # a warm-up may begin at zero
        for name in ("compute_flops", "tokens_rollout", "flops_rollout", "flops_update", "seconds_rollout"):
            assert (table[name] > 0).all(), name
        assert (table["answer_tokens_mean"] >= 1).all()

    def test_it_leaves_a_checkpoint_at_each_budget(self, done: Trained) -> None:
        job = done.job
        found = {path.name for path in job.checkpoint(1).parent.iterdir()}
        assert found == {job.checkpoint(step).name for step in job.budgets}
        for step in job.budgets:
            identity = checkpoint_identity(job.checkpoint(step))
            assert identity is not None
            assert {name: identity[name] for name in ("run", "fingerprint", "step")} == {
                "run": job.run_id, "fingerprint": job.fingerprint, "step": step,
            }  # fmt: skip
            assert identity["weights_sha256"] == weights_digest(job.checkpoint(step))

    def test_the_checkpoints_are_models_that_moved(self, done: Trained) -> None:
        job = done.job
        models = [load_checkpoint(path) for path in (job.base, *map(job.checkpoint, job.budgets))]
        weights = [np.concatenate([w.detach().numpy().ravel() for w in model.parameters()]) for model in models]
        for before, after in pairwise(weights):
            assert before.shape == after.shape
            assert np.isfinite(after).all()
            assert not np.array_equal(before, after)

    def test_the_checkpoints_keep_the_tokenizer(self, done: Trained) -> None:
        from transformers import AutoTokenizer

        prompt = str(done.job.problems["prompt"].iloc[0])
        places = (done.job.base, done.job.checkpoint(done.job.budgets[-1]))
        one, other = (AutoTokenizer.from_pretrained(place, trust_remote_code=False)(prompt) for place in places)
        assert one["input_ids"] == other["input_ids"]

    def test_it_reports_its_progress(self, done: Trained) -> None:
        steps = [progress.step for progress in done.reported]
        assert steps == sorted(set(steps))
        assert steps[-1] == done.job.budgets[-1]
        assert {progress.last_step for progress in done.reported} == {done.job.budgets[-1]}

    def test_it_says_where_it_begins(self, done: Trained) -> None:
        assert done.resumed == [0]

    def test_a_job_that_is_done_is_not_done_again(self, done: Trained) -> None:
        reported: list[Progress] = []
        again = done.trainer.train(replace(done.job, report=reported.append))
        assert reported == []
        pd.testing.assert_frame_equal(again, done.table, check_exact=True)

    def test_a_last_budget_taken_away_costs_no_step(self, done: Trained) -> None:
        reported: list[Progress] = []
        fewer = replace(done.job, budgets=done.job.budgets[:-1], report=reported.append)
        table = done.trainer.train(fewer)
        assert reported == []
        pd.testing.assert_frame_equal(table, done.table.head(fewer.budgets[-1]), check_exact=True)
