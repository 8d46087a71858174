"""The jobs of the workflow, one command each; Snakemake calls ``rlscale stage NAME STUDY ...``."""

import typer

from rlscale.stages import report, results, runs

app = typer.Typer(help="One job of the workflow; Snakemake calls these.", no_args_is_help=True)

for _job in (
    runs.pool,
    runs.suites,
    runs.base,
    runs.train,
    runs.evaluate,
    runs.grade,
    results.curves,
    results.law,
    results.compare,
    results.sensitivity,
    results.findings,
    results.metrics,
    results.figure,
    report.report,
):
    app.command()(_job)
