"""One training on the cluster that something happens to, watched from outside: its jobs, its steps, its checkpoints."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rlscale import attempts
from rlscale.errors import UserError
from rlscale.slurm import SlurmJob, comment_of, live_jobs
from tests.slurm.daemons import wait_until
from tests.slurm.slurm_clone import slurm_arguments, trainings
from tests.workflow.clone import Clone

RUN = "q12k_base_b0_s0"
LAST = 240
MIDDLE = LAST // 3
HELD_AFTER = MIDDLE + 30  # progress is written once a second, so that the last steps before a stop are not seen
BUDGETS = [1, 40, 120, LAST]
STUDY = ("--config", "study=drill.yaml")
RESULTS = "results/drill"
STEPS = f"{RESULTS}/runs/{RUN}/steps.parquet"
CURVES = f"{RESULTS}/tables/curves.csv"
TRAINER = "src/rlscale/trainers/local/trainer.py"
BEFORE = (f"{RESULTS}/models/q12k_base_b0.record.json", f"{RESULTS}/data/pools/chain.parquet")
DEADLINE_SECONDS = 400.0


def one_run(study: dict[str, Any]) -> None:
    """Reduce the study smoke to one run."""
    study["grid"] = {"law": {"models": ["q12k"]}}
    study["budgets"] = BUDGETS
    study["training"].update(prompts_per_step=16, train_problems=16 * LAST)
    study["evaluation"]["suites"] = ["heldout"]


def slow_down(clone: Clone) -> None:
    """Let each step last, and save states often: a fault is to find a training halfway, with a state behind it."""
    clone.replace(TRAINER, "SECONDS_BETWEEN_STATES = 20.0", "SECONDS_BETWEEN_STATES = 0.2")
    clone.replace(TRAINER, "row = self._step(step)", "time.sleep(0.05); row = self._step(step)")


@dataclass
class Seen:
    """What was seen from outside.

    Attributes:
        most_at_once: jobs of the run that ran at the same time, at most.
        checkpoints: that were there once.
        vanished: of these, that were gone later.
    """

    most_at_once: int = 0
    checkpoints: set[str] = field(default_factory=set)
    vanished: set[str] = field(default_factory=set)


class Drill:
    """One clone, and the commands of its user.

    Args:
        clone: in which all that the training needs was made.
        options: further ones of Snakemake.
    """

    def __init__(self, clone: Clone, *options: str) -> None:
        self.clone, self.options = clone, options
        self.seen = Seen()

    def place(self, **placement: Any) -> None:
        """State where the model trains."""
        path, yaml = self.clone / "config/models/smoke.yaml", YAML()
        ladder = yaml.load(path)
        usual = {"gpus_per_node": 1, "cpus_per_node": 1, "reason": "a drill"}
        ladder["models"]["q12k"]["placement"] = usual | placement
        yaml.dump(ladder, path)

    def before_step(self, statement: str) -> None:
        """Let the trainer do something before each step; `once(step)` is true the first time that it is asked."""
        folder = self.clone / "asked"
        folder.mkdir()
        once = f"\n\ndef once(step):\n    path = pathlib.Path({str(folder)!r}, str(step))\n"
        once += "    is_first = not path.exists()\n    path.touch()\n    return is_first\n"
        self.clone.replace(TRAINER, "import time\n", "import pathlib\nimport time\n")
        self.clone.replace(TRAINER, "\nRow = dict[str, float]\n", f"\nRow = dict[str, float]\n{once}")
        self.clone.replace(TRAINER, "time.sleep(", f"{statement}\n            time.sleep(")

    def hold(self) -> None:
        """Let the training wait after its middle until `go`, so that it is not over before what is to happen to it."""
        gate = f"pathlib.Path({str(self.clone / 'go')!r})"
        self.clone.replace(TRAINER, "import time\n", "import pathlib\nimport time\n")
        waits = f"while step > {HELD_AFTER} and not {gate}.exists(): time.sleep(0.1)"
        self.clone.replace(TRAINER, "time.sleep(0.05);", f"{waits}\n            time.sleep(0.05);")

    def go(self) -> None:
        """Let the training go on."""
        (self.clone / "go").touch()

    def start(self) -> "subprocess.Popen[str]":
        """Start Snakemake on the cluster; as a user does, in a process group of its own."""
        return self.clone.start(*slurm_arguments(STEPS, *STUDY, *self.options), new_session=True)

    def finish(self, snakemake: "subprocess.Popen[str]") -> str:
        """Wait for the end, which must be a good one; return all that was said."""
        said = snakemake.communicate(timeout=DEADLINE_SECONDS)[0]
        assert snakemake.returncode == 0, said
        return said

    def kill(self, snakemake: "subprocess.Popen[str]") -> None:
        """Kill Snakemake as the loss of its machine would: it can say nothing and do nothing more."""
        os.killpg(snakemake.pid, signal.SIGKILL)
        snakemake.communicate()

    def interrupt(self, snakemake: "subprocess.Popen[str]") -> str:
        """Press Ctrl-C; return all that was said."""
        os.killpg(snakemake.pid, signal.SIGINT)
        return snakemake.communicate(timeout=DEADLINE_SECONDS)[0]

    def unlock(self) -> None:
        """Take away the lock that a killed Snakemake left."""
        self.clone.snakemake("--unlock", STEPS, *STUDY)

    def wait_for_step(self, step: int) -> SlurmJob:
        """Wait until the training has come to a step; return its job."""
        wait_until(lambda: self.step >= step, f"{self.clone.folder}: step {step}", DEADLINE_SECONDS)
        (job,) = [job for job in self.jobs() if not job.waits]
        return job

    @property
    def step(self) -> int:
        """The last step that was reported."""
        found = [attempts.progress(folder) for folder in self.states()]
        return max((reported.step for reported in found if reported), default=0)

    def jobs(self) -> list[SlurmJob]:
        """Return the jobs of the run that wait or run."""
        return [job for job in live_jobs(self.clone.folder) if job.comment == comment_of("train", "drill", RUN)]

    def states(self) -> list[Path]:
        """Return the folders of trainer states, one for each fingerprint."""
        return list((self.clone / f"{RESULTS}/resume/{RUN}").glob("*"))

    def attempts(self) -> list[attempts.Attempt]:
        """Return the attempts of the run."""
        (folder,) = self.states()
        return attempts.attempts(folder)

    @contextmanager
    def watched(self) -> Iterator[Seen]:
        """Watch the run's jobs and checkpoints until the end."""
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,))
        watcher.start()
        try:
            yield self.seen
        finally:
            over.set()
            watcher.join()

    def _watch(self, over: threading.Event) -> None:
        folder = self.clone / f"{RESULTS}/runs/{RUN}/checkpoints"
        while not over.wait(0.3):
            there = {path.name for path in folder.glob("step-*")}
            self.seen.vanished |= self.seen.checkpoints - there
            self.seen.checkpoints |= there
            try:
                running = sum(job.state == "RUNNING" for job in self.jobs())
            except UserError:
                continue  # the controller is down, as part of the drill
            self.seen.most_at_once = max(self.seen.most_at_once, running)


@dataclass(frozen=True)
class Outcome:
    """A line of the drill's table."""

    fault: str
    happened: str
    jobs: str
    attempts: int
    lost_steps: int
    duplicates: int
    lost_checkpoints: int


def outcome(fault: str, happened: str, drill: Drill) -> Outcome:
    """Return what a fault came to."""
    made = drill.attempts()
    jobs = [f"{job.state}{f' (requeued {job.restarts}×)' if job.restarts else ''}" for job in trainings(drill.clone)]
    return Outcome(
        fault=fault,
        happened=happened,
        jobs=", ".join(jobs),
        attempts=len(made),
        lost_steps=sum(attempt.lost_steps for attempt in made),
        duplicates=max(0, drill.seen.most_at_once - 1),
        lost_checkpoints=len(drill.seen.vanished),
    )


def table(outcomes: list[Outcome]) -> str:
    """Return the drill's table as Markdown."""
    head = ("fault", "what happened", "Slurm's jobs", "attempts", "lost steps", "duplicates", "lost checkpoints")
    rows = [head, tuple("---" for _ in head), *(tuple(map(str, vars(found).values())) for found in outcomes)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
