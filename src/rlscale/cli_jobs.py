"""`rlscale jobs`: what Slurm still has of this folder, after a Snakemake that was killed."""

import time
from dataclasses import asdict
from typing import Annotated

import typer

from rlscale.cli_output import Json, print_json
from rlscale.errors import UserError
from rlscale.slurm import SlurmJob, cancel, has_slurm, live_jobs

SECONDS_BETWEEN_LOOKS = 5.0


def jobs(
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all of them have ended.")] = False,
    cancel_all: Annotated[bool, typer.Option("--cancel", help="Cancel them, and wait until they are gone.")] = False,
    as_json: Json = False,
) -> None:
    """List the Slurm jobs that Snakemake submitted from here and that are not over; wait for them or cancel them."""
    if not has_slurm():
        raise UserError("there is no Slurm here: squeue is not on the path")
    if wait and cancel_all:
        raise UserError("--wait and --cancel exclude each other; give one of them")
    found = live_jobs()
    if as_json:
        print_json({"jobs": [asdict(job) for job in found]})
    else:
        _show(found)
    if cancel_all and found:
        cancel(found)
    while (wait or cancel_all) and found:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        now = live_jobs()
        if len(now) != len(found):
            typer.echo(f"{len(now)} left", err=True)
        found = now


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
