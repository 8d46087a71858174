"""GRPO whose checkpoints are means: of the weights at a budget and at the one before it.

Latest weight averaging (Kaddour, arXiv 2209.14981). The local trainer does the training, keeps the state of a killed
job and counts the FLOPs; its own checkpoints stay beside that state. No checkpoint depends on a later budget, so that
one can be added at the end.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from rlscale.models.checkpoint import load_checkpoint, read_tokenizer, save_checkpoint
from rlscale.provenance import checkpoint_fingerprint
from rlscale.trainers import TrainingJob
from rlscale.trainers.local.trainer import LocalTrainer


class AveragedTrainer:
    """The local trainer, with every checkpoint averaged with the one before it; the first stays as it is."""

    def train(self, job: TrainingJob) -> pd.DataFrame:
        """Train one run; see `rlscale.trainers.Trainer`."""

        def raw(step: int) -> Path:
            return job.resume / "raw" / f"step-{step:06d}"

        table = LocalTrainer().train(replace(job, checkpoint=raw))
        for before, step in zip((job.budgets[0], *job.budgets), job.budgets, strict=False):
            if checkpoint_fingerprint(job.checkpoint(step)) != job.fingerprint:
                _save_mean(job, step, [raw(before), raw(step)])
        return table


def _save_mean(job: TrainingJob, step: int, sources: list[Path]) -> None:
    model = load_checkpoint(sources[-1]).requires_grad_(False)
    others = [dict(load_checkpoint(source).named_parameters()) for source in sources]
    for name, weight in model.named_parameters():
        weight.copy_(sum(other[name].detach() for other in others) / len(others))
    save_checkpoint(
        model,
        job.checkpoint(step),
        tokenizer=read_tokenizer(job.base),
        identity={"run": job.run_id, "fingerprint": job.fingerprint, "step": step},
    )
