"""What a grid would cost, before anything is trained: samples and training FLOPs of each run and cell."""

from dataclasses import asdict, dataclass
from functools import cached_property

import pandas as pd

from rlscale.grid import Grid, Run
from rlscale.ladder import HubLadder, Ladder
from rlscale.ledger import planned_flops
from rlscale.placement import GIB
from rlscale.study import TrainedStudy
from rlscale.task_spec import ParquetTask
from rlscale.tasks import make_problems

COUNTED_PROBLEMS = 256
"""Problems whose tokens are counted for the mean length of a rollout."""


@dataclass(frozen=True)
class Gpus:
    """What a run occupies.

    Attributes:
        nodes: nodes.
        gpus_per_node: GPUs of each.
        hours: hours of one GPU times their number.
        checkpoint_gib: bf16 weights at every budget.
        kept_gib: of that, what stays once all is evaluated.
    """

    nodes: int
    gpus_per_node: int
    hours: float
    checkpoint_gib: float
    kept_gib: float

    @property
    def wall_hours(self) -> float:
        """Hours from start to end."""
        return self.hours / (self.nodes * self.gpus_per_node)


@dataclass(frozen=True)
class Price:
    """The expected cost of a grid, in the literature's 6·N·T with true non-embedding N.

    Attributes:
        grid: the runs that are priced.
        tokens: by pool, tokens of a rollout: prompt and answer.
        tokens_are: "mean", or "at most" where only the limits are known.
        ladder: the model sizes, with the GPUs where it states them.
        keeps_all: whether all checkpoints stay once they are evaluated.
    """

    grid: Grid
    tokens: dict[str, float]
    tokens_are: str
    ladder: Ladder
    keeps_all: bool

    def samples(self, run: Run, step: int) -> int:
        """Return the prompts that ``run`` consumes in ``step`` optimiser steps."""
        return step * run.prompts_per_step

    def flops(self, run: Run, step: int) -> float:
        """Return the expected training FLOPs of ``run`` up to ``step``."""
        return planned_flops(
            params=run.non_embedding_params,
            samples=self.samples(run, step),
            group_size=run.group_size,
            tokens_per_rollout=self.tokens[run.pool_id],
        )

    def gpus(self, run: Run) -> Gpus | None:
        """Return the GPUs of a run and their hours, rollouts and both models' log-probabilities included."""
        if not isinstance(self.ladder, HubLadder) or self.ladder.gpu is None:
            return None
        shape, placement = self.ladder.models[run.model].shape, self.ladder.models[run.model].placement
        if shape is None or placement is None:
            return None
        samples = self.samples(run, run.budgets[-1])
        tokens = samples * run.group_size * self.tokens[run.pool_id]
        hours = self.ladder.gpu.seconds(run.non_embedding_params, tokens) / 3600
        one, count = 2 * shape.params / GIB, len(run.budgets)
        kept = count if self.keeps_all else 1
        return Gpus(placement.nodes, placement.gpus_per_node, hours, count * one, kept * one)

    @cached_property
    def placed(self) -> dict[str, Gpus]:
        """What each run occupies, by its id, of those whose GPUs the ladder states."""
        found = {run_id: self.gpus(run) for run_id, run in self.grid.runs.items()}
        return {run_id: gpus for run_id, gpus in found.items() if gpus is not None}

    @property
    def total_gpu_hours(self) -> float:
        """GPU-hours of all runs whose GPUs are stated."""
        return sum(gpus.hours for gpus in self.placed.values())

    @property
    def total_checkpoint_gib(self) -> float:
        """GiB of checkpoints of these runs."""
        return sum(gpus.checkpoint_gib for gpus in self.placed.values())

    @property
    def total_kept_gib(self) -> float:
        """GiB of these that stay once all is evaluated."""
        return sum(gpus.kept_gib for gpus in self.placed.values())

    @property
    def total_flops(self) -> float:
        """Expected training FLOPs of the whole grid: every run to its last budget."""
        return sum(self.flops(run, run.budgets[-1]) for run in self.grid.runs.values())

    @property
    def total_samples(self) -> int:
        """Samples of the whole grid: every run to its last budget."""
        return sum(self.samples(run, run.budgets[-1]) for run in self.grid.runs.values())

    def gpu_table(self) -> str:
        """Return nodes, GPUs, hours and disk by size, as text; runs whose GPUs are not stated are left out."""
        placed = [(self.grid.runs[run_id], gpus) for run_id, gpus in self.placed.items()]
        runs = pd.DataFrame(
            {
                "size": [run.model for run, _ in placed],
                "params": [run.params for run, _ in placed],
                "nodes × GPUs": [f"{gpus.nodes} × {gpus.gpus_per_node}" for _, gpus in placed],
                "runs": 1,
                "GPU-hours": [gpus.hours for _, gpus in placed],
                "longest run [h]": [gpus.wall_hours for _, gpus in placed],
                "checkpoints [GiB]": [gpus.checkpoint_gib for _, gpus in placed],
                "kept [GiB]": [gpus.kept_gib for _, gpus in placed],
            }
        )
        sums = {
            "runs": "sum",
            "GPU-hours": "sum",
            "longest run [h]": "max",
            "checkpoints [GiB]": "sum",
            "kept [GiB]": "sum",
        }
        sizes = runs.groupby(["params", "size", "nodes × GPUs"]).agg(sums).reset_index().drop(columns="params")
        total = sizes.agg(sums).to_frame().T.assign(size="total").reindex(columns=sizes.columns).fillna("")
        table = pd.concat([sizes.astype(object), total.astype(object)])
        return table.to_string(index=False, float_format=lambda value: f"{value:,.0f}")

    def to_json(self) -> dict[str, object]:
        """Return runs, cells, totals and exclusions as JSON-native values."""
        runs, cells = [], []
        for run in self.grid.runs.values():
            values = {name: value for name, value in asdict(run).items() if name != "identity"}
            last = run.budgets[-1]
            cost = {"samples": self.samples(run, last), "expected_flops": self.flops(run, last)}
            gpus = self.gpus(run)
            placed = {"gpus": None if gpus is None else {**asdict(gpus), "wall_hours": gpus.wall_hours}}
            runs.append({**values, "fingerprint": run.fingerprint, **cost, **placed})
            for step in run.budgets:
                cost = {"samples": self.samples(run, step), "expected_flops": self.flops(run, step)}
                cells.append({"run_id": run.run_id, "step": step, **cost})
        totals: dict[str, float] = {"runs": len(runs), "cells": len(cells), "samples": self.total_samples}
        totals |= {
            "gpu_hours": self.total_gpu_hours,
            "checkpoint_gib": self.total_checkpoint_gib,
            "kept_gib": self.total_kept_gib,
        }
        return {
            "runs": runs,
            "cells": cells,
            "totals": {**totals, "expected_flops": self.total_flops},
            "tokens_per_rollout": self.tokens,
            "tokens_are": self.tokens_are,
            "excluded": [{"run_id": run_id, "reason": reason} for run_id, reason in self.grid.excluded],
        }


def grid_price(study: TrainedStudy, ladder: Ladder, grid: Grid) -> Price:
    """Return the expected cost of a study's grid.

    Procedural problems are short: their tokens are counted. Texts from files are priced at the study's limits.
    """
    keeps_all = study.keep_checkpoints == "all"
    if isinstance(study.task, ParquetTask):
        most = (study.training.max_prompt_tokens or 0) + (study.training.max_new_tokens or 0)
        return Price(grid, dict.fromkeys(grid.pools, float(most)), "at most", ladder, keeps_all)
    source = make_problems(study.task)
    tokens = {}
    for run in grid.runs.values():
        if run.pool_id not in tokens:
            problems = source.train(run.families, run.skill_share, study.task.seed, COUNTED_PROBLEMS)
            words = [
                len(f"{prompt} {answer}".split())
                for prompt, answer in zip(problems["prompt"], problems["answer"], strict=True)
            ]
            tokens[run.pool_id] = sum(words) / len(words) + 1  # and the end of the answer
    return Price(grid, tokens, "mean", ladder, keeps_all)
