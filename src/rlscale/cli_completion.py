"""What the shell offers for an argument: studies, runs, GPUs and laws that there are.

Each function is called when Tab is pressed and imports what it needs then. Where nothing fits, the shell completes the
names of files by itself.
"""

from pathlib import Path

import typer

from rlscale.errors import UserError

YAML = (".yaml", ".yml")
POINTS = (".csv", ".parquet")


def studies(incomplete: str) -> list[str]:
    """Return the shipped studies, and the YAML files of the folder that was begun."""
    from rlscale.config import shipped_studies

    return [name for name in [*shipped_studies(), *_files(incomplete, YAML)] if name.startswith(incomplete)]


def results(incomplete: str) -> list[str]:
    """Return the studies that have results."""
    from rlscale.paths import RESULTS

    found = sorted(path.name for path in RESULTS.glob("*") if path.is_dir())
    return [name for name in found if name.startswith(incomplete)]


def sources(incomplete: str) -> list[str]:
    """Return what a plan is made from: studies with results, tables of points, fits."""
    return [*results(incomplete), *_files(incomplete, (*POINTS, ".json"))]


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the runs of the study that the command line names."""
    from rlscale.config import find_study, load_grid

    study = ctx.params.get("study") or next(iter(ctx.args), "")  # an option without its value ends the parsing
    try:
        grid = load_grid(find_study(study))[2]
    except UserError:
        return []  # no study, no runs; the command will say what is wrong with it
    return [name for name in grid.runs if name.startswith(incomplete)]


def states(incomplete: str) -> list[str]:
    """Return the states of a run."""
    from rlscale.status import STATES

    return [state for state in STATES if state.startswith(incomplete)]


def gpus(incomplete: str) -> list[str]:
    """Return the GPUs whose peak is known."""
    from rlscale.plan.hardware import GPUS

    return [name for name in GPUS if name.startswith(incomplete)]


def laws(incomplete: str) -> list[str]:
    """Return the laws that can be fitted."""
    from rlscale.fitting.law_fits import LAWS

    return [name for name in LAWS if name.startswith(incomplete)]


def _files(incomplete: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the files of these kinds that begin so, as they would be typed."""
    folder, begun = Path(incomplete).parent, Path(incomplete).name
    if incomplete.endswith("/"):
        folder, begun = Path(incomplete), ""
    shown = incomplete.removesuffix(begun) if begun else incomplete
    if not incomplete or not folder.is_dir():  # of all files there a person has seen too many
        return []
    names = [path.name for path in folder.iterdir() if path.suffix in suffixes]
    skips_hidden = not begun.startswith(".")
    return sorted(shown + name for name in names if name.startswith(begun) and not (skips_hidden and name[0] == "."))
