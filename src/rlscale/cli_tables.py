"""What the command line shows: tables for people. The same facts are in each command's JSON."""

from typing import TYPE_CHECKING

from rlscale.cli_law_tables import number, parameters, show_fit
from rlscale.cli_terminal import Column, FittedTable, new_console

if TYPE_CHECKING:
    from rlscale.price import Gpus, Price
    from rlscale.summary import Summary


def show_cells(study: str, price: "Price") -> None:
    """Print one line a run, the exclusions and the totals."""
    grid, placed = price.grid, bool(price.placed)
    runs = list(grid.runs.values())
    gpus = zip(*(_placed(price.gpus(run)) for run in runs), strict=True) if placed else [[""] * len(runs)] * 4
    nodes, gpu_hours, wall_hours, run_disk = gpus
    columns = (
        Column("run", [run.run_id for run in runs], "id"),
        Column("fingerprint", [run.fingerprint for run in runs], "id", spare=1),
        Column("blocks", [", ".join(run.blocks) for run in runs], "text", spare=2),
        Column("checkpoints", [str(len(run.budgets)) for run in runs], spare=3),
        Column("last step", [str(run.budgets[-1]) for run in runs]),
        Column("samples", [f"{price.samples(run, run.budgets[-1]):,}" for run in runs], spare=5),
        Column("expected FLOPs", [f"{price.flops(run, run.budgets[-1]):.3g}" for run in runs]),
        Column("nodes × GPUs", nodes, spare=4),
        Column("GPU-hours", gpu_hours),
        Column("hours", wall_hours),
        Column("disk, GiB", run_disk, spare=6),
    )
    console = new_console()
    console.print(FittedTable(columns, f"study {study}"))
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
    fits = list(summary.fits.values())
    columns = (
        Column("X", [fit.x for fit in fits], "id"),
        Column("loss", [fit.loss for fit in fits], "id"),
        Column("K_max", [parameters(fit)[0] for fit in fits]),
        Column("N_0, parameters", [parameters(fit)[1] for fit in fits]),
        Column("saturation", [fit.saturation["verdict"] if fit.saturation else "-" for fit in fits], "word"),
        Column("pooled R²", [number(fit.r2_pooled) for fit in fits], spare=2),
        Column("points", [str(fit.points) for fit in fits], spare=1),
    )
    console.print(FittedTable(columns, f"study {study}: every fit"))
    for what, paths in (("tables", summary.tables), ("figures", summary.figures)):
        console.print(f"{what}:")
        for path in paths:
            console.print(f"  {path}", soft_wrap=True)
