"""What OpenRLHF logged of each step: TensorBoard's scalars, and the samples that its rewards were asked for."""

import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

from rlscale.trainers.openrlhf.arguments import EVENTS
from rlscale.trainers.openrlhf.referee import SAMPLES

PREFIX = "train/"

Scalars = dict[str, float]


class Events:
    """The scalars of one attempt, read on as they grow."""

    def __init__(self, attempt: Path) -> None:
        self.folder = attempt / EVENTS
        self._reader: Any = None

    def steps(self) -> dict[int, Scalars]:
        """Return the scalars of each step, by name without ``train/``; empty before the first."""
        if self._reader is None:
            if not any(self.folder.glob("events.*")):
                return {}
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

            logging.getLogger("tensorboard").setLevel(logging.WARNING)  # it says at each look that there is no more
            self._reader = EventAccumulator(str(self.folder), size_guidance={"scalars": 0})
        self._reader.Reload()
        steps: dict[int, Scalars] = defaultdict(dict)
        for tag in self._reader.Tags()["scalars"]:
            if tag.startswith(PREFIX):
                for event in self._reader.Scalars(tag):
                    steps[event.step][tag.removeprefix(PREFIX)] = event.value
        return dict(steps)


def samples_by_place(attempt: Path) -> dict[int, list[float]]:
    """Return the rewards that an attempt gave, by place in the run; a last line that a kill cut short is left out."""
    rewards: dict[int, list[float]] = defaultdict(list)
    for file in sorted((attempt / SAMPLES).glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                sample = json.loads(line)
                rewards[sample["place"]].append(sample["reward"])
    return dict(rewards)
