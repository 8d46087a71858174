"""`rlscale gc`: drops weights that are evaluated, and what no run of a study owns any more; says first what goes."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlscale.cli_output import Json, Study, print_json
from rlscale.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from rlscale.retention import Plan, Weights

MOST_ROWS = 40
"""Of the table of runs; in a larger study the totals say the rest."""


def gc(
    study: Study,
    keep: Annotated[
        str, typer.Option(metavar="WHICH", help="Weights that stay: last, all, none, or steps such as 1,40,120.")
    ] = "last",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Drop the weights of checkpoints whose scores stand, and trainer states and answers that no run owns.

    Base models and the trainer state of every run stay: runs can still be extended.
    """
    from rlscale.config import find_study, load_expanded
    from rlscale.paths import StudyPaths
    from rlscale.removal import carry_out, known_runs, refuse_busy
    from rlscale.retention import plan
    from rlscale.specifications import Specifications

    wanted = _wanted(keep)
    if as_json and not (dry_run or yes):
        raise UserError("--json does not ask: add --yes, or --dry-run")
    path = find_study(study)
    paths = StudyPaths(path.stem)
    specifications = Specifications(paths, *load_expanded(path))
    if specifications.grid is None:
        raise UserError(f"{path}: a published study has no checkpoints")
    runs = known_runs(specifications)
    _refuse_slurm_jobs(path.stem, runs)
    refuse_busy(paths, runs)
    found = plan(specifications, wanted)
    if not as_json:
        _show(path.stem, found)
    is_empty = not (found.weights or found.orphans)
    if is_empty or dry_run or not (yes or typer.confirm("remove it?")):
        if as_json:
            print_json(_facts(path.stem, found, removed=False))
        elif not is_empty:
            typer.echo("nothing was removed")
        return
    left = carry_out(paths, found, f"rlscale gc --keep {keep}")
    for weights in left:
        typer.echo(f"{weights.path} stays: it, or the record of its scores, has changed meanwhile", err=True)
    if as_json:
        print_json(_facts(path.stem, found, removed=True, left=left))
    else:
        freed = found.bytes - sum(weights.bytes for weights in left)
        typer.echo(f"removed {_size(freed)}")


def _wanted(keep: str) -> str | list[int]:
    """Return the word, or the steps, of ``--keep``."""
    from rlscale.answers import KEEP

    if keep in KEEP:
        return keep
    words = [word.strip() for word in keep.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise UserError(
            f'--keep "{keep}": allowed are {", ".join(KEEP)}, or steps parted by commas{did_you_mean(keep, KEEP)}'
        )
    return [int(word) for word in words]


def _refuse_slurm_jobs(study: str, runs: Sequence[str]) -> None:
    from rlscale.removal import WRITING_STAGES
    from rlscale.slurm import SlurmSilentError, comment_of, refuse_live_jobs

    try:
        refuse_live_jobs({comment_of(stage, study, run) for stage in WRITING_STAGES for run in runs})
    except SlurmSilentError as error:
        typer.echo(f"warning: {error}; whether it has jobs of this folder is not known", err=True)


def _show(study: str, found: "Plan") -> None:
    from rlscale.cli_terminal import Column, FittedTable, new_console

    console = new_console()
    runs = list(dict.fromkeys([*(weights.run_id for weights in found.weights), *found.withheld]))
    if runs:
        own = {run: [weights for weights in found.weights if weights.run_id == run] for run in runs[:MOST_ROWS]}
        columns = (
            Column("run", list(own), "id"),
            Column(
                "weights that go, by step", [", ".join(str(one.step) for one in gone) for gone in own.values()], "text"
            ),
            Column("size", [_size(sum(one.bytes for one in gone)) for gone in own.values()]),
            Column("stay, and why", [_reasons(found.withheld.get(run, {})) for run in own], "text"),
        )
        console.print(FittedTable(columns))
        if len(runs) > MOST_ROWS:
            console.print(f"… and {len(runs) - MOST_ROWS} more runs: --json has all")
    for orphan in found.orphans[:MOST_ROWS]:
        console.print(f"{orphan.what} that no run owns: {orphan.path}, {_size(orphan.bytes)}", soft_wrap=True)
    if len(found.orphans) > MOST_ROWS:
        console.print(f"… and {len(found.orphans) - MOST_ROWS} more that no run owns: --json has all")
    if not (found.weights or found.orphans):
        console.print(f"study {study}: nothing to remove")
        return
    counts = Counter(orphan.what for orphan in found.orphans)
    goes = [f"the weights of {len(found.weights)} checkpoints"] if found.weights else []
    goes += [f"{count} {what}{'s' * (count > 1)} that no run owns" for what, count in counts.items()]
    console.print(f"study {study}: {' and '.join(goes)} can go: {_size(found.bytes)}", soft_wrap=True)


def _reasons(withheld: dict[int, str]) -> str:
    by_reason: dict[str, list[int]] = {}
    for step, reason in withheld.items():
        by_reason.setdefault(reason, []).append(step)
    return "; ".join(f"{', '.join(map(str, steps))}: {reason}" for reason, steps in by_reason.items())


def _facts(study: str, found: "Plan", *, removed: bool, left: "Sequence[Weights]" = ()) -> dict[str, Any]:
    return {
        "study": study,
        "removed": removed,
        "bytes": found.bytes,
        "weights": [
            {"run": one.run_id, "step": one.step, "path": str(one.path), "bytes": one.bytes} for one in found.weights
        ],
        "orphans": [
            {"run": one.run_id, "what": one.what, "path": str(one.path), "bytes": one.bytes} for one in found.orphans
        ],
        "withheld": found.withheld,
        "changed_meanwhile": [str(one.path) for one in left],
    }


def _size(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
