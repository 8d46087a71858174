"""Trainer state on disk: what a killed job needs to go on as if nothing had happened.

All noise is a function of seed and step, so weights, optimiser moments, the step and the table so far are all there
is. A state is a folder named by its step, written all or nothing; older ones go once a newer one stands.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rlscale.files import atomic_folder, remove_folder
from rlscale.models.optimiser import AdamW
from rlscale.models.qwen2 import Qwen2

WEIGHTS = "weights."


@dataclass(frozen=True)
class State:
    """A step, its tensors by name, and the rows of all steps so far."""

    step: int
    tensors: dict[str, Tensor]
    rows: pd.DataFrame


def save_state(folder: Path, step: int, model: Qwen2, optimiser: AdamW, rows: pd.DataFrame) -> None:
    """Write the state after ``step``; states of earlier steps are removed afterwards."""
    weights = {f"{WEIGHTS}{name}": parameter.detach() for name, parameter in model.named_parameters()}
    tensors = weights | optimiser.moments()
    place = folder / f"step-{step:06d}"
    with atomic_folder(place) as temporary:
        (temporary / "state.safetensors").write_bytes(save(tensors))
        rows.to_parquet(temporary / "steps.parquet", index=False)
    for other in folder.glob("step-*"):
        if _step(other) < step:
            remove_folder(other)


def load_state(folder: Path, last_step: int | None) -> State | None:
    """Return the newest readable state, at or before ``last_step`` if that is given; None where there is none."""
    for half_written in folder.glob(".step-*"):
        remove_folder(half_written)  # by a process that was killed
    for place in sorted(folder.glob("step-*"), reverse=True):
        step = _step(place)
        if last_step is not None and step > last_step:
            continue
        try:
            tensors = load((place / "state.safetensors").read_bytes())
            return State(step, tensors, pd.read_parquet(place / "steps.parquet"))
        except (OSError, ValueError, SafetensorError):
            continue  # a state that a full disk or a lost node broke is no state; an older one or step 0 serves
    return None


def restore(state: State, model: Qwen2, optimiser: AdamW) -> None:
    """Put the tensors of ``state`` into ``model`` and ``optimiser``."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state.tensors[f"{WEIGHTS}{name}"])
    optimiser.restore(state.tensors, int(state.rows["updates"].sum()))


def _step(place: Path) -> int:
    return int(place.name.removeprefix("step-"))
