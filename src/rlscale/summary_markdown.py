"""A finished study as Markdown tables, to paste into a paper, an issue or a page of documentation.

The digests at the end are lines that ``sha256sum --check`` reads: of the results, and of the records beside them, which
name every input by its digest.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlscale.cli_law_tables import number
from rlscale.files import read_json
from rlscale.fit import Fit
from rlscale.paths import StudyPaths, record_of
from rlscale.provenance import file_digest
from rlscale.summary import Summary

_FORECAST_FROM = 0.3
"""Share of the steps that the forecasts over time are shown from."""


def summary_markdown(paths: StudyPaths, summary: Summary) -> str:
    """Return the study's first fit by size, all fits, the tournament of its X, the findings and the digests."""
    first, *_ = summary.fits.values()
    parts = [f"## Study `{paths.study}`", _sizes(first), _fits(summary.fits.values())]
    if paths.comparison.is_file():
        parts.append(_forecasts(read_json(paths.comparison), first.x))
    if paths.findings.is_file():
        parts.append(_findings(read_json(paths.findings)["findings"]))
    figures = [figure.with_suffix(suffix) for figure in summary.figures for suffix in (".svg", ".png")]
    return "\n\n".join([*parts, _digests([paths.curves, *summary.tables, *figures])]) + "\n"


def _sizes(fit: Fit) -> str:
    k = f"k of the law{_level(fit)}"
    columns = ("N", k, "k, the size alone", "R² of a run's line, median", "k by thirds of the window")
    rows = []
    for size, slope in fit.k.items():
        interval = "" if fit.intervals is None else f" {_span(fit.intervals['k'][size])}"
        local = ", ".join(number(value, 3) for value in fit.k_local[size])
        alone = (number(fit.k_free[size], 3), number(fit.r2_line[size], 3))
        rows.append((f"{int(size):,}", f"{number(slope, 3)}{interval}", *alone, local))
    return f"Slope k by size, X = {fit.x}, {fit.loss} loss:\n\n{_table(columns, rows)}"


def _fits(fits: Iterable[Fit]) -> str:
    columns = ("X", "loss", "K_max", "N_0, parameters", "saturation", "pooled R²")
    rows = []
    for fit in fits:
        made = fit.intervals or {}
        k_max = f"{number(fit.k_max, 3)} {_span(made.get('k_max'))}"
        n_0 = "-" if fit.n_0 is None else f"{_size(fit.n_0)} {_span(made.get('n_0'), _size)}"
        verdict = "-" if fit.saturation is None else fit.saturation["verdict"]
        rows.append((fit.x, fit.loss, k_max, n_0, verdict, number(fit.r2_pooled, 3)))
    return f"Every fit:\n\n{_table(columns, rows)}"


def _forecasts(comparison: Mapping[str, Any], x: str) -> str:
    """Return, by law, the errors on the largest size from smaller ones and on the rest of a run from its beginning."""
    over_time = {
        row["law"]: row["rmse_test_loss"]
        for row in comparison["ranking"]
        if (row["x"], row["protocol"], row["fraction_of_steps"]) == (x, "early-time", _FORECAST_FROM)
    }
    winner = next((winner for winner in comparison["winners"] if winner["x"] == x), None)
    chosen, target = ({}, {}) if winner is None else (winner["rmse_test_loss"], winner["target_rmse_test_loss"])
    columns = (
        *("law or rule", "sizes below the largest, each from smaller ones", "the largest, from all smaller ones"),
        f"the rest of every run, from {_FORECAST_FROM:.0%} of its steps",
    )
    laws = dict.fromkeys([*chosen, *target, *over_time])
    rows = [(f"`{law}`", *(number(rmse.get(law)) for rmse in (chosen, target, over_time))) for law in laws]
    said = "" if winner is None else f" Declared winner, without the largest size: `{winner['law']}`."
    return f"Forecasts, X = {x}: RMSE in test loss; sizes from their first points.{said}\n\n{_table(columns, rows)}"


def _findings(findings: Iterable[Mapping[str, Any]]) -> str:
    columns = ("claim", "verdict", "effect", "p after Holm")
    rows = []
    for one in findings:
        effect, p = one["effect"], one["p_holm"]
        said = "-" if effect is None else f"{effect['name']}: {effect['estimate']:.3g} {_span(effect)} {effect['unit']}"
        rows.append((one["claim"], one["verdict"], said, "-" if p is None else f"{p:.2g}"))
    return f"Claims:\n\n{_table(columns, rows)}"


def _digests(results: Iterable[Path]) -> str:
    lines = []
    for path in results:
        for file in filter(Path.is_file, (path, record_of(path))):
            lines.append(f"{file_digest(file).sha256}  {file}")
    return "SHA-256 of the results and of their records:\n\n```\n" + "\n".join(lines) + "\n```"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").strip() for cell in line) + " |" for line in lines)


def _level(fit: Fit) -> str:
    return "" if fit.intervals is None else f" [{fit.intervals['level']:.0%} interval]"


def _size(params: float) -> str:
    return f"{params:,.3g}" if params >= 1e6 else f"{params:,.0f}"


def _span(interval: Mapping[str, Any] | None, say: Any = "{:.3g}".format) -> str:
    if interval is None:
        return ""
    low, high = ("open" if end is None else say(end) for end in (interval["low"], interval["high"]))
    return f"[{low}, {high}]"
