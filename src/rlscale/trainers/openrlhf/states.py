"""What OpenRLHF saved: DeepSpeed's states to go on from, and folders of weights that become checkpoints.

A kill leaves half-written folders of both. DeepSpeed's file ``latest`` names the last whole state; a folder of weights
is whole where the strategy said so. OpenRLHF counts half-written states when it rotates, and would then remove the
whole one, so they go before each start.
"""

from pathlib import Path

from rlscale.files import move_folder, remove_folder, write_json, write_text
from rlscale.provenance import IDENTITY, weights_digest

TAG = "global_step"
COMPLETE = "complete"
"""An empty file in a folder of weights, written after all others."""


class States:
    """The folder ``--ckpt.path`` of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.actor = folder / "_actor"
        self.latest = self.actor / "latest"

    def last_step(self) -> int:
        """Return the step of the last whole state, 0 where there is none."""
        if not self.latest.is_file():
            return 0
        return int(self.latest.read_text(encoding="utf-8").strip().removeprefix(TAG))

    def rewind(self, before: int | None) -> int:
        """Make the newest state before step ``before`` (None: any) the last one; return its step, 0 for none.

        All other states are removed, half-written ones among them.
        """
        last = self.last_step()
        steps = sorted(step for step in self._steps() if step <= last and (before is None or step < before))
        step = steps[-1] if steps else 0
        for other in self._steps():
            if other != step:
                remove_folder(self.actor / f"{TAG}{other}")
        if step == 0:
            remove_folder(self.actor)
        elif step != last:
            write_text(self.latest, f"{TAG}{step}")
        return step

    def weights(self, step: int) -> Path | None:
        """Return the folder of a step's weights, None where there is no whole one."""
        folder = self.folder / f"{TAG}{step}_hf"
        return folder if any((folder / name).is_file() for name in (COMPLETE, IDENTITY)) else None

    def drop_weights(self) -> None:
        """Remove all folders of weights, half-written ones among them."""
        for folder in self.folder.glob(f"{TAG}*_hf"):
            remove_folder(folder)

    def _steps(self) -> list[int]:
        return [int(folder.name.removeprefix(TAG)) for folder in self.actor.glob(f"{TAG}*") if folder.is_dir()]


def keep_checkpoint(weights: Path, checkpoint: Path, identity: dict[str, object]) -> None:
    """Move a folder of weights to a checkpoint's place, with ``checkpoint.json`` beside them; may be tried again."""
    write_json(weights / IDENTITY, identity | {"weights_sha256": weights_digest(weights)})
    (weights / COMPLETE).unlink(missing_ok=True)
    move_folder(weights, checkpoint)
