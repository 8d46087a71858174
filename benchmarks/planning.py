"""What planning costs: `snakemake -n` on grids of 54 to 3,000 cells, beside a Snakefile written by hand.

A cell is here the largest thing that the word can mean: one training run of the grid, with its four budgets, its
evaluation and its grading. (Elsewhere in this project a budget of a run is a cell: 3,000 of those are 750 runs.) The
studies are synthetic (ladder mini, local trainer), and so are their results: files of one line that Snakemake made,
and so has all metadata of. `by_hand.smk` has the same jobs, files, wildcards, logs, params and resources and none of
the project's code; both read the same metadata, and both must find nothing to do with it. Measured in turn, each in a
process of its own: wall time, CPU seconds and peak memory of

- cold: nothing is made; the project writes all specifications, which the other has from the start;
- done: everything is up to date;
- changed: done, but for the learning rate of a size that one run uses;
- job: what the own Snakemake process of one training job, on a cluster, plans before it starts.

The exit code says whether the requirements at the top of the file are met.

Run: python benchmarks/planning.py [--cells 54 500 3000] [--repeats 3]
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
MOST_TIMES_BY_HAND = 1.5
MOST_SECONDS_DONE = 20.0
"""For 3,000 cells that are up to date, on two cores."""

CELLS = (54, 500, 3000)
BASE_SEEDS = 4
SIZES = ["q3k", "q5k", "q12k", "q33k", "q83k", "q185k"]
ALONE = "q330k"
"""The size of one run only, which a change concerns."""

ALONE_RUN = f"{ALONE}_base_b0_s0"
CASES = ("cold", "done", "changed", "job")
OF_ONE_RUN = {"train": 1, "evaluate": 1, "grade": 1}
SHARED = ("pool", "suites", "base")
NAMED = ("--quiet", "host")
"""Has Snakemake list each job, which the default profile forbids."""


@dataclass(frozen=True)
class Cost:
    """One planning: wall time [s], CPU time [s], peak memory [MiB], jobs planned of each rule, runs of listed jobs."""

    wall: float
    cpu: float
    mebibytes: float
    jobs: dict[str, int]
    runs: frozenset[str]


@dataclass(frozen=True)
class Workflow:
    """A folder in which Snakemake runs, and what it is told there."""

    folder: Path
    arguments: tuple[str, ...] = ()

    @property
    def cell(self) -> Path:
        """The specification of the run that changes."""
        return self.folder / "results/big/runs" / ALONE_RUN / "cell.json"

    def plan(self, *arguments: str) -> Cost:
        """Return what a dry run costs; its process has no children."""
        started = time.perf_counter()
        command = [sys.executable, "-m", "snakemake", "-n", *self.arguments, *arguments]
        with (self.folder / "said.txt").open("w+") as said:
            process = subprocess.Popen(command, cwd=self.folder, env=environment(), stdout=said, stderr=said)
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            said.seek(0)
            text = said.read()
        assert status == 0, text
        runs = frozenset(re.findall(r"^ +wildcards: .*\brun=(\S+)", text, re.MULTILINE))
        return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, planned_jobs(text), runs)

    def make(self) -> None:
        """Let Snakemake make every output, of one line, with its metadata."""
        command = [sys.executable, __file__, "--make", *self.arguments]
        subprocess.run(command, cwd=self.folder, env=environment(), check=True, capture_output=True)


def environment() -> dict[str, str]:
    """Return the environment of both workflows: the project's code as it stands here, compiled once."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(ROOT / "src")}


def planned_jobs(text: str) -> dict[str, int]:
    """Return how many jobs of each rule Snakemake's table names; empty where nothing is to be done, or nothing said."""
    if "Nothing to be done" in text or not text:
        return {}
    table = re.search(r"^Job stats:\n.*\n[- ]+\n((?:\S+ +\d+\n)+)", text, re.MULTILINE)
    assert table, text
    return {name: int(count) for name, count in map(str.split, table[1].splitlines()) if name not in {"all", "total"}}


def study(cells: int) -> dict[str, object]:
    """Return a study of so many runs: six sizes by bases and seeds, a reuse block, and one run of a size alone."""
    seeds, reuse = divmod(cells - 2, len(SIZES) * BASE_SEEDS)
    return {
        "kind": "trained",
        "description": f"{cells} runs.",
        "trainer": "local",
        "evaluator": "local",
        "ladder": "mini",
        "task": {"kind": "skills"},
        "training": {"prompts_per_step": 16, "learning_rate": 0.0016, "warmup_steps": 2},
        "budgets": [1, 2, 4, 8],
        "grid": {
            "law": {"models": SIZES, "base_seed": list(range(BASE_SEEDS)), "seed": list(range(seeds))},
            "reuse": {"models": [SIZES[0]], "tau": [4], "seed": list(range(reuse + 1))},
            "alone": {"models": [ALONE]},
        },
        "evaluation": {"suites": ["heldout"]},
    }


def project(folder: Path, cells: int) -> Workflow:
    """Return a copy of the project's workflow with a study of so many runs."""
    for name in ("config", "workflow", "envs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")
    YAML().dump(study(cells), folder / "big.yaml")
    return Workflow(folder, ("--config", "study=big.yaml"))


def by_hand(folder: Path, planned: Workflow) -> Workflow:
    """Return the workflow written by hand for the study that the project has planned, with the same specifications."""
    from rlscale.stage_versions import STAGE_VERSION

    home = planned.folder / "results/big"
    plan = json.loads((home / "specs/study/jobs.json").read_text())
    cells = {path.parent.name: json.loads(path.read_text()) for path in home.glob("runs/*/cell.json")}
    resources = {stage: [_resources(group["needs"]) for group in plan["needs"][stage]] for stage in plan["needs"]}
    values = {
        "name": "big",
        "runs": {run: {"base": cells[run]["base"], "pool": cells[run]["pool"]} for run in sorted(cells)},
        "figures": sorted(path.stem for path in home.glob("specs/figures/*.json")),
        "versions": STAGE_VERSION,
        "resources": {stage: alike for stage, (alike,) in resources.items()},
    }
    folder.mkdir()
    (folder / "study.json").write_text(json.dumps(values))
    shutil.copy(ROOT / "benchmarks/by_hand.smk", folder / "Snakefile")
    shutil.copytree(ROOT / "envs", folder / "envs")
    shutil.copytree(ROOT / "workflow/profiles", folder / "profiles")
    shutil.copytree(planned.folder / "results", folder / "results")
    return Workflow(folder)


def _resources(needs: dict[str, int]) -> dict[str, int | str]:
    from rlscale.needs import Needs

    values = Needs(**needs).resources(attempt=1)
    functions = {"mem_mb", "runtime"}  # of the attempt, by hand too
    return {name: value for name, value in values.items() if value is not None and name not in functions}


def adopt(workflow: Workflow, other: Workflow) -> None:
    """Give a workflow the results and the metadata of another, with their times."""
    for name in ("results", ".snakemake"):
        shutil.rmtree(workflow.folder / name, ignore_errors=True)
        shutil.copytree(other.folder / name, workflow.folder / name)


@contextmanager
def replaced(path: Path, text: str) -> Iterator[None]:
    """Give a file another text for a while; then its old text and time again."""
    old, stat = path.read_text(), path.stat()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(old)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


class Bench:
    """Both workflows of one study, and what their plannings cost.

    Attributes:
        costs: by case, the costs of project and hand-written workflow, in turn.
    """

    def __init__(self, folder: Path, cells: int) -> None:
        self.cells = cells
        self.project = project(folder / "project", cells)
        self.project.plan()
        self.by_hand = by_hand(folder / "by-hand", self.project)
        self.costs: dict[str, list[tuple[Cost, Cost]]] = {case: [] for case in CASES}

    def run(self, repeats: int) -> None:
        """Measure every case; both workflows must plan the same jobs, and the right ones."""
        for _ in range(repeats):
            for name in ("results", ".snakemake"):
                shutil.rmtree(self.project.folder / name, ignore_errors=True)
            self._measure("cold", self.project.plan(), self.by_hand.plan())
        self.by_hand.make()
        adopt(self.project, self.by_hand)
        target = f"train:study=big,run={ALONE_RUN}"
        job = ("--mode", "subprocess", "--target-jobs", target, "--allowed-rules", "train", "--force", "--nolock")
        for _ in range(repeats):
            self._measure("done", self.project.plan(), self.by_hand.plan())
            self._measure("changed", *self._changed())
            self._measure("job", self.project.plan(*job), self.by_hand.plan(*job))
        whole = self._jobs("cold")
        assert (whole["train"], whole["evaluate"], whole["grade"]) == (self.cells,) * 3
        again = {rule: OF_ONE_RUN.get(rule, count) for rule, count in whole.items() if rule not in SHARED}
        expected = {"done": {}, "changed": again, "job": {}}
        for case, jobs in expected.items():
            assert self._jobs(case) == jobs, f"{case}: {self._jobs(case)}"

    def _changed(self) -> tuple[Cost, Cost]:
        file = self.project.folder / "big.yaml"
        text = f"{file.read_text()}per_model: {{{ALONE}: {{learning_rate: 0.01}}}}\n"
        cell = self.project.cell.read_text()
        with replaced(self.project.cell, cell), replaced(file, text):
            project = self.project.plan(*NAMED)
            changed = self.project.cell.read_text()
        assert changed != cell
        with replaced(self.by_hand.cell, changed):
            by_hand = self.by_hand.plan(*NAMED)
        assert project.runs == by_hand.runs == {ALONE_RUN}
        return project, by_hand

    def _measure(self, case: str, project: Cost, by_hand: Cost) -> None:
        assert project.jobs == by_hand.jobs, f"{case}: {project.jobs} and {by_hand.jobs}"
        self.costs[case].append((project, by_hand))

    def _jobs(self, case: str) -> dict[str, int]:
        return self.costs[case][0][0].jobs

    def median(self, case: str, name: str) -> tuple[float, float, float]:
        """Return the medians of one figure: of the project, by hand, and of their ratios within a repetition."""
        pairs = [(getattr(ours, name), getattr(theirs, name)) for ours, theirs in self.costs[case]]
        ours, theirs = zip(*pairs, strict=True)
        return statistics.median(ours), statistics.median(theirs), statistics.median(a / b for a, b in pairs)

    def rows(self) -> Iterator[str]:
        """Yield one row a case."""
        for case in CASES:
            wall, cpu, memory = (self.median(case, name) for name in ("wall", "cpu", "mebibytes"))
            yield (
                f"{self.cells:>6} {case:>8} {wall[0]:>8.2f} {wall[1]:>8.2f} {wall[2]:>6.2f} "
                f"{cpu[0]:>8.2f} {cpu[1]:>8.2f} {cpu[2]:>6.2f} {memory[0]:>6.0f} {memory[1]:>6.0f} {memory[2]:>6.2f}"
            )


def missed(benches: list[Bench]) -> Iterator[str]:
    """Yield each requirement that is not met, in wall time or in CPU time; a busy machine may fail the first alone."""
    for bench in benches:
        for case in CASES:
            for name in ("wall", "cpu"):
                if (ratio := bench.median(case, name)[2]) > MOST_TIMES_BY_HAND:
                    yield f"{bench.cells} {case}: {ratio:.2f} times by hand in {name}, more than {MOST_TIMES_BY_HAND}"
        ours, theirs, _ = bench.median("done", "wall")
        if bench.cells == 3000 and ours > MOST_SECONDS_DONE:
            yield f"3000 done: {ours:.1f} s, more than {MOST_SECONDS_DONE} (by hand {theirs:.1f})"
    for small, large in pairwise(benches):
        for case in CASES[:3]:
            if (more := growths(small, large, case)[0]) > 1:
                yield f"{case}: a cell of {large.cells} costs {more:.2f} times one of {small.cells}"


def growths(small: Bench, large: Bench, case: str) -> tuple[float, float]:
    """Return the CPU time of a cell in the larger study over that in the smaller one, of the project and by hand."""
    more = large.cells / small.cells
    ours, theirs = (large.median(case, "cpu")[i] / small.median(case, "cpu")[i] / more for i in (0, 1))
    return ours, theirs


def growth(small: Bench, large: Bench) -> str:
    """Return a line that says how the cost of a cell grows."""
    parts = []
    for case in CASES[:3]:
        ours, theirs = growths(small, large, case)
        parts.append(f"{case} {ours:.2f} (by hand {theirs:.2f})")
    return f"a cell of {large.cells} over one of {small.cells}, CPU time: {', '.join(parts)}"


def make_outputs(arguments: list[str]) -> None:
    """Run Snakemake with jobs that write one line into each of their outputs."""
    from snakemake.cli import main
    from snakemake.executors import touch
    from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

    def run_job(self: touch.Executor, job: object) -> None:
        for name in job.output:  # type: ignore[attr-defined]
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name}\n")
        info = SubmittedJobInfo(job=job)
        self.report_job_submission(info)
        self.report_job_success(info)

    touch.Executor.run_job = run_job  # its own waits a tenth of a second for each job, and makes no file
    main(["--touch", "--cores", "10000", *arguments])


def main() -> None:
    """Print the table, the growth, and what is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=CELLS, help="runs of the studies")
    parser.add_argument("--repeats", type=int, default=3, help="plannings of a kind; medians are shown")
    arguments = parser.parse_args()
    benches = []
    print("             wall s                    CPU s                     MiB")
    print("  runs     case  project  by hand  ratio  project  by hand  ratio  project by hand ratio")
    for cells in arguments.cells:
        with tempfile.TemporaryDirectory() as folder:
            benches.append(Bench(Path(folder), cells))
            benches[-1].run(arguments.repeats)
        print("\n".join(benches[-1].rows()), flush=True)
    for small, large in pairwise(benches):
        print(growth(small, large))
    if problems := list(missed(benches)):
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make_outputs(sys.argv[2:])
    else:
        main()
