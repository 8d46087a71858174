"""What rlscale asks of OpenRLHF beyond its options: keep the prompts' order, save at the budgets, say what is saved.

OpenRLHF hands its strategy to every worker, so a subclass of it changes them all, and no file of OpenRLHF is touched.
"""

from pathlib import Path
from typing import Any

from openrlhf.utils.deepspeed import DeepspeedStrategy

from rlscale.trainers.openrlhf.states import COMPLETE


class Budgets:
    """Stands in for a number of steps between savings: ``step % budgets`` is 0 at the budgets, and there only."""

    def __init__(self, steps: list[int]) -> None:
        self.steps = frozenset(steps)

    def __rmod__(self, step: int) -> int:
        return 0 if step in self.steps else 1


class PlannedStrategy(DeepspeedStrategy):  # type: ignore[misc]
    """DeepSpeed as OpenRLHF sets it up, on a plan.

    Args:
        budgets: steps to save at.
        args: OpenRLHF's parsed arguments.
    """

    def __init__(self, budgets: list[int], args: Any) -> None:
        args.ckpt.save_steps = Budgets(budgets)
        super().__init__(
            seed=args.train.seed,
            full_determinism=args.train.full_determinism_enable,
            max_norm=args.actor.max_norm,
            micro_train_batch_size=args.train.micro_batch_size,
            train_batch_size=args.train.batch_size,
            zero_stage=args.ds.zero_stage,
            args=args,
        )

    def setup_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """Return a loader that keeps the order of its rows: the trainer asks for a shuffle that nothing seeds."""
        dataset, batch_size, pin_memory, _, *rest = args
        return super().setup_dataloader(dataset, batch_size, pin_memory, False, *rest, **kwargs)

    def save_model(self, model: Any, tokenizer: Any, output_dir: str, **kwargs: Any) -> None:
        """Write weights and say when all are written; the copy after the last step is a checkpoint already."""
        if output_dir == self.args.ckpt.output_dir:
            return
        super().save_model(model, tokenizer, output_dir, **kwargs)
        if self.is_rank_0():
            (Path(output_dir) / COMPLETE).touch()
