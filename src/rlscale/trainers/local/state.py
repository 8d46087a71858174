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
from rlscale.models.qwen2 import Qwen2

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class State:
    """A step, its tensors by name, and the rows of all steps so far."""

    step: int
    tensors: dict[str, Tensor]
    rows: pd.DataFrame


def save_state(folder: Path, step: int, model: Qwen2, optimiser: torch.optim.AdamW, rows: pd.DataFrame) -> None:
    """Write the state after ``step``; states of other steps are removed afterwards."""
    tensors = {}
    for name, parameter in model.named_parameters():
        tensors[f"weights.{name}"] = parameter.detach()
        for moment in MOMENTS:
            tensors[f"{moment}.{name}"] = optimiser.state[parameter][moment]
    place = folder / f"step-{step:06d}"
    with atomic_folder(place) as temporary:
        (temporary / "state.safetensors").write_bytes(save(tensors))
        rows.to_parquet(temporary / "steps.parquet", index=False)
    for older in folder.glob("step-*"):
        if older != place:
            remove_folder(older)


def load_state(folder: Path, last_step: int) -> State | None:
    """Return the newest readable state at or before ``last_step``, or None."""
    for place in sorted(folder.glob("step-*"), reverse=True):
        step = int(place.name.removeprefix("step-"))
        if step > last_step:
            continue
        try:
            tensors = load((place / "state.safetensors").read_bytes())
            return State(step, tensors, pd.read_parquet(place / "steps.parquet"))
        except (OSError, ValueError, SafetensorError):
            continue  # a state that a full disk or a lost node broke is no state; an older one or step 0 serves
    return None


def restore(state: State, model: Qwen2, optimiser: torch.optim.AdamW) -> None:
    """Put the tensors of ``state`` into ``model`` and ``optimiser``."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state.tensors[f"weights.{name}"])
            moments = {moment: state.tensors[f"{moment}.{name}"].clone() for moment in MOMENTS}
            optimiser.state[parameter] = {"step": torch.tensor(float(optimiser_steps(state))), **moments}


def optimiser_steps(state: State) -> int:
    """Return the number of optimiser updates behind a state; AdamW corrects its bias by it."""
    return int(state.rows["updates"].sum())
