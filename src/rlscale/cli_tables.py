"""What the command line shows: tables for people. The same facts are in each command's JSON."""

from typing import TYPE_CHECKING

from rich.table import Table

from rlscale.cli_law_tables import new_console, number, parameters, show_fit

if TYPE_CHECKING:
    from rlscale.price import Gpus, Price
    from rlscale.summary import Summary


def show_cells(study: str, price: "Price") -> None:
    """Print one line a run, the exclusions and the totals."""
    grid, placed = price.grid, bool(price.placed)
    gpu_columns = ("nodes × GPUs", "GPU-hours", "hours", "disk, GiB") if placed else ()
    columns = ("run", "fingerprint", "blocks", "budgets", "samples", "expected FLOPs", *gpu_columns)
    table = Table(*columns, title=f"study {study}")
    for column in table.columns[3:]:
        column.justify = "right"
    for run in grid.runs.values():
        last = run.budgets[-1]
        budgets = f"{len(run.budgets)} to step {last}"
        cost = (f"{price.samples(run, last):,}", f"{price.flops(run, last):.3g}")
        table.add_row(run.run_id, run.fingerprint, ", ".join(run.blocks), budgets, *cost, *_placed(price.gpus(run)))
    console = new_console()
    console.print(table)
    for run_id, reason in grid.excluded:
        console.print(f"excluded {run_id}: {reason}")
    cells = sum(len(run.budgets) for run in grid.runs.values())
    tokens = ", ".join(f"{pool} {price.tokens_are} {count:,.4g}" for pool, count in price.tokens.items())
    console.print(f"tokens a rollout: {tokens}")
    totals = f"{len(grid.runs)} runs, {cells} cells, {price.total_samples:,} samples"
    console.print(f"{totals}, expected {price.total_flops:.4g} FLOPs (6·N·T, N without embeddings)")
    if placed:
        hours, disk, kept = price.total_gpu_hours, price.total_checkpoint_gib, price.total_kept_gib
        stays = f"{disk:,.0f} GiB of checkpoints, of which {kept:,.0f} stay once they are evaluated"
        console.print(f"{hours:,.0f} GPU-hours if every rollout is as long as allowed; {stays}")


def _placed(gpus: "Gpus | None") -> tuple[str, ...]:
    if gpus is None:
        return ()
    return (f"{gpus.nodes} × {gpus.gpus_per_node}", *map(_brief, (gpus.hours, gpus.wall_hours, gpus.checkpoint_gib)))


def _brief(value: float) -> str:
    return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def show_summary(study: str, summary: "Summary") -> None:
    """Print the study's first fit, K_max and N_0 of all of them, and where the files are."""
    first, *_ = summary.fits.values()
    show_fit(first)
    console = new_console()
    table = Table("X", "loss", "K_max", "N_0", "saturation", "pooled R²", "points", title=f"study {study}: every fit")
    for fit in summary.fits.values():
        verdict = fit.saturation["verdict"] if fit.saturation else "-"
        table.add_row(fit.x, fit.loss, *parameters(fit), verdict, number(fit.r2_pooled), str(fit.points))
    console.print(table)
    for what, paths in (("tables", summary.tables), ("figures", summary.figures)):
        console.print(f"{what}:")
        for path in paths:
            console.print(f"  {path}")
