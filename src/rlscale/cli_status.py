"""The command that says how far a study is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import ceil
from typing import TYPE_CHECKING, Annotated

import typer

from rlscale import cli_completion
from rlscale.cli_output import Json, Study, print_json
from rlscale.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from rlscale.cli_terminal import Column
    from rlscale.slurm import SlurmJob
    from rlscale.status import RunJob, RunStatus

MOST_ROWS = 60
"""Of a table that shows every run; in a larger study those that are done or not begun stay away."""


def status(
    study: Study,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="Show runs of this state only; repeat it, or part several by commas.",
            autocompletion=cli_completion.states,
        ),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(help="Show this run only, or those of a pattern: 'q12k_*'.", autocompletion=cli_completion.runs),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help=f"Show every run of more than {MOST_ROWS}.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far a study is: the state of each run, its last step, time left, checkpoints, scores, log to read.

    Works without Snakemake, from files, locks and Slurm's queue.
    """
    from rlscale.config import find_study, load_grid
    from rlscale.status import STATES, study_status, totals

    wanted = _states(state or [], STATES)
    path = find_study(study)
    grid = load_grid(path)[2]
    named = _named(run or [], list(grid.runs))
    jobs, trouble = _slurm_jobs()
    runs = study_status(path.stem, grid, jobs)
    chosen = [one for one in runs if one.run_id in named and (not wanted or one.state in wanted)]
    if trouble:
        typer.echo(f"warning: {trouble}; what waits or starts is not known", err=True)
    if as_json:
        rows = [asdict(run) for run in chosen]
        print_json({"study": path.stem, **asdict(totals(runs)), "slurm_error": trouble, "runs": rows})
        return
    is_all = not wanted and not run
    if is_all and not show_all and len(runs) > MOST_ROWS:
        chosen = [one for one in runs if one.log or one.state in {"running", "queued", "failed", "stopped"}]
    _show(path.stem, runs, chosen)
    if len(chosen) < len(runs):
        hint = "; --all shows every one" if is_all else ""
        typer.echo(f"{len(chosen)} of {len(runs)} runs are shown{hint}")


def _slurm_jobs() -> "tuple[list[SlurmJob], str | None]":
    """Return what Slurm has, and why that is not known where it does not answer."""
    from rlscale.slurm import live_jobs

    try:
        return live_jobs(), None
    except UserError as error:
        return [], str(error)


def _states(given: Sequence[str], known: Sequence[str]) -> set[str]:
    words = {word.strip() for text in given for word in text.split(",")}
    for word in sorted(words - set(known)):
        raise UserError(f'no state "{word}"; there are {", ".join(known)}{did_you_mean(word, known)}')
    return words


def _named(patterns: Sequence[str], known: Sequence[str]) -> set[str]:
    """Return the runs of these names or patterns; all without any."""
    from fnmatch import filter as matching

    for pattern in patterns:
        if not matching(known, pattern):
            raise UserError(f'--run "{pattern}": the study has no such run{did_you_mean(pattern, known)}')
    return {run for pattern in patterns or ["*"] for run in matching(known, pattern)}


def _show(study: str, runs: "Sequence[RunStatus]", chosen: "Sequence[RunStatus]") -> None:
    from rlscale.cli_terminal import FittedTable, new_console
    from rlscale.status import totals

    found, console = totals(runs), new_console()
    states = ", ".join(f"{count} {state}" for state, count in found.states.items() if count)
    cells = f"{found.checkpoints} of {found.planned} checkpoints, {found.scores} of {found.planned} scores"
    count = f"{len(runs)} run{'s' * (len(runs) > 1)}"
    console.print(f"study {study}: {count}: {states}; {cells}", soft_wrap=True)
    if chosen:
        console.print(FittedTable(list(_columns(chosen))))
    for run in chosen:
        said = [run.note] * bool(run.note) + [f"log: {run.log}"] * bool(run.log)
        if said:
            console.print(f"{run.run_id}: {'; '.join(said)}", soft_wrap=True)


def _columns(runs: "Sequence[RunStatus]") -> "Iterator[Column]":
    """Yield what is known of each run; what no run has is not shown."""
    from rlscale.cli_terminal import Column

    yield Column("run", [run.run_id for run in runs], "id")
    yield Column("state", [run.state for run in runs], "word")
    yield Column("Slurm", [", ".join(map(_job, run.slurm_jobs)) for run in runs], "text")
    yield Column("step", ["" if run.step is None else f"{run.step}/{run.last_step}" for run in runs])
    yield Column("reward", ["" if run.reward_mean is None else f"{run.reward_mean:.3f}" for run in runs], spare=3)
    yield Column("left, h:mm", ["" if run.seconds_left is None else _hours(run.seconds_left) for run in runs])
    yield Column("attempts", [str(run.attempts or "") for run in runs], spare=2)
    yield Column("steps lost", [str(run.lost_steps or "") for run in runs], spare=1)
    yield Column("checkpoints", [_share(run.checkpoints) for run in runs])
    yield Column("scores", [_share(run.scores) for run in runs])


def _job(job: "RunJob") -> str:
    """Return a job's number, and what it is about where that is not plain: another stage, why it waits."""
    stage = "" if job.stage == "train" else job.stage
    how = job.reason or ("" if job.state == "RUNNING" else job.state)
    return " ".join(filter(None, (job.job_id, stage, how)))


def _hours(seconds: float) -> str:
    hours, minutes = divmod(ceil(seconds / 60), 60)
    return f"{hours}:{minutes:02d}"


def _share(done: "Mapping[int, bool]") -> str:
    return f"{sum(done.values())}/{len(done)}"
