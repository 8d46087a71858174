"""Which answers of a model stand already, and which weights are superfluous once they do.

The answers of one checkpoint to all suites are a shard, named by everything that they depend on: whoever knows the
name knows whether the checkpoint has to be asked. Evaluation and `rlscale gc` name them by the same functions.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rlscale.canonical import digest
from rlscale.paths import StudyPaths, checkpoint_name
from rlscale.provenance import checkpoint_identity
from rlscale.records import FileDigest

KEEP = ("last", "all", "none")


def longest_answer(identity: Mapping[str, Any]) -> int | None:
    """Return the limit of tokens of an answer; None where the task knows how long a right one is."""
    limit: int | None = identity["training"]["max_new_tokens"]
    return limit if identity["task"]["kind"] == "parquet" else None


def answer_shard(
    paths: StudyPaths, cell: Mapping[str, Any], step: int, *, spec: Mapping[str, Any], suites: FileDigest
) -> Path:
    """Return the place of the answers of a run's checkpoint.

    Args:
        paths: of the study.
        cell: of the run, as in ``cell.json``.
        step: 0 is the base model.
        spec: the specification of the evaluation.
        suites: size and digest of the file of problems.
    """
    longest = longest_answer(cell["identity"])
    asked = [spec, suites.model_dump(), *([longest] if longest else [])]
    key = digest([*asked, checkpoint_identity(asked_checkpoint(paths, cell, step))])[:16]
    return paths.rollout_shards(cell["run"]) / f"{checkpoint_name(step)}-{key}.parquet"


def asked_checkpoint(paths: StudyPaths, cell: Mapping[str, Any], step: int) -> Path:
    """Return the place of the weights of a step; step 0 is the base model."""
    return paths.checkpoint(cell["run"], step) if step else paths.base(cell["base"])


def superfluous(steps: Collection[int], keep: str | Collection[int]) -> list[int]:
    """Return the steps, rising, whose weights are not to be kept.

    Args:
        steps: those that have weights.
        keep: a word of ``KEEP``, or the steps to keep. The last step that has weights is ``last``.
    """
    if isinstance(keep, str):
        kept = {"last": {max(steps, default=0)}, "all": set(steps), "none": set()}[keep]
    else:
        kept = set(keep)
    return sorted(set(steps) - kept)
