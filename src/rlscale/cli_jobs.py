"""`rlscale jobs`: what Slurm still has of this folder, after a Snakemake that was killed."""

import time
from dataclasses import asdict
from typing import Annotated

import typer

from rlscale import cli_completion
from rlscale.cli_output import Json, print_json
from rlscale.errors import UserError
from rlscale.slurm import SlurmJob, cancel, has_slurm, live_jobs

SECONDS_BETWEEN_LOOKS = 5.0


def jobs(
    study: Annotated[
        str | None, typer.Option(help="Of this study only.", autocompletion=cli_completion.studies)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all of them have ended.")] = False,
    cancel_all: Annotated[bool, typer.Option("--cancel", help="Cancel them, and wait until they are gone.")] = False,
    as_json: Json = False,
) -> None:
    """List the Slurm jobs that Snakemake submitted from here and that are not over; wait for them or cancel them.

    With --study those of one study; a group job does not say of which study it is, and is left out.
    """
    if not has_slurm():
        raise UserError("there is no Slurm here: squeue is not on the path")
    if wait and cancel_all:
        raise UserError("--wait and --cancel exclude each other; give one of them")
    found = _of(study)
    if study is not None and (several := sum(job.is_several for job in live_jobs())):
        typer.echo(f"warning: {several} group job(s) are left out: of which study is not known", err=True)
    if as_json:
        print_json({"jobs": [asdict(job) for job in found]})
    else:
        _show(found)
    if cancel_all and found:
        cancel(found)
    while (wait or cancel_all) and found:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        now = _of(study)
        if len(now) != len(found):
            typer.echo(f"{len(now)} left", err=True)
        found = now


def _of(study: str | None) -> list[SlurmJob]:
    """Return the live jobs of this folder, or those of a study."""
    found = live_jobs()
    if study is None:
        return found
    from rlscale.config import find_study, shipped_studies
    from rlscale.paths import RESULTS

    name = find_study(study).stem
    # Slurm's comment joins study and run by "_", which a study's name may hold too.
    known = {*shipped_studies(), *(path.name for path in RESULTS.glob("*"))}
    longer = [other for other in known if other.startswith(f"{name}_")]
    return [job for job in found if job.is_of(name) and not any(job.is_of(other) for other in longer)]


def _show(found: list[SlurmJob]) -> None:
    from rlscale.cli_terminal import Column, FittedTable, new_console

    console = new_console()
    if not found:
        console.print("no job of this folder waits or runs")
        return
    columns = (
        Column("job", [job.job_id for job in found], "id"),
        Column("state", [job.state for job in found], "word"),
        Column("rule and wildcards", [job.name for job in found], "id"),
        Column("nodes", [job.nodes for job in found], "text", spare=1),
        Column("why it waits", [job.reason if job.waits else "" for job in found], "text"),
    )
    console.print(FittedTable(columns))
