"""The tables of the page that have no figure: main numbers, findings, health, what is missing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlscale.report.figure import Table
from rlscale.report.law_figures import runs_of
from rlscale.report.material import Material
from rlscale.report.other_figures import cost_by_size
from rlscale.report.words import count, interval, number, seconds, size, words


@dataclass(frozen=True)
class Finding:
    """A claim with its verdict, ready to be shown."""

    claim: str
    verdict: str
    effect: str
    p: str
    evidence: str
    would_decide: str
    source: str


def key_numbers(material: Material) -> list[tuple[str, str]]:
    """Return the numbers at the head of the page: name and value."""
    name = next(iter(material.fits))
    fit = material.fits[name]
    ends = fit["intervals"] or {}
    found = [
        ("K_max", interval(ends.get("k_max") or _bare(fit["k_max"]))),
        ("N_0", interval(ends.get("n_0") or _bare(fit["n_0"]), size)),
        ("interval", f"{ends['level']:.0%}, fit {name}" if ends else f"none, fit {name}"),
        ("saturation", (fit.get("saturation") or {}).get("verdict", "not asked")),
    ]
    runs = runs_of(material.curves)
    found.append(("runs" if material.steps else "curves", count(len(runs))))
    if material.steps:
        totals = cost_by_size(material).sum()
        found += [("computed", f"{number(totals['flops'])} FLOPs"), ("training time", seconds(totals["seconds"]))]
    return found


def _bare(value: float | None) -> dict[str, Any] | None:
    return None if value is None else {"estimate": value, "low": None, "high": None}


def fits_table(material: Material) -> Table:
    """Return the parameters of every fit."""
    rows = []
    for name, fit in material.fits.items():
        ends = fit["intervals"] or {}
        verdict = fit.get("saturation") or {}
        k_max, n_0 = ends.get("k_max") or _bare(fit["k_max"]), ends.get("n_0") or _bare(fit["n_0"])
        cells = [words(name), interval(k_max), interval(n_0, size), number(fit["r2_pooled"], 4), count(fit["points"])]
        rows.append([*cells, verdict.get("verdict", "–"), words(verdict.get("reason", "–"))])
    heads = ("fit", "K_max", "N_0 (parameters)", "R², pooled", "points", "saturation", "why")
    return Table(heads, rows, "Parameters of every fit, with intervals")


def curves_table(material: Material) -> Table:
    """Return the curves by size, for a study that trained nothing."""
    rows = []
    for run, own in runs_of(material.curves):
        last = own.iloc[-1]
        rows.append(
            [run, size(last["params"]), count(len(own)), number(last["compute_flops"]), number(last["test_loss"])]
        )
    return Table(("curve", "size", "points", "last compute (FLOPs)", "last test loss"), rows, "Curves of the study")


def findings(material: Material) -> list[Finding]:
    """Return the study's claims."""
    found = []
    for one in material.findings["findings"]:
        effect = one["effect"]
        said = ""
        if effect:
            said = f"{effect['name']}: {interval(effect)} {effect['unit']}, {effect['level']:.0%} interval"
        p = "" if one["p"] is None else f"p = {number(one['p'], 2)}, {number(one['p_holm'], 2)} by Holm"
        rest = (one["evidence"] or "", one["would_decide"] or "", one["source"] or "")
        found.append(Finding(one["claim"], one["verdict"], said, p, *rest))
    return found


def reuse_table(material: Material) -> tuple[Table, str] | None:
    """Return the laws of reuse with their parameters, and which won; None where no runs tell."""
    reuse = material.findings.get("reuse")
    if not reuse:
        return None
    rows = []
    for law in reuse["laws"].values():
        said = [f"{name} = {interval(one)} {one['unit']}" for name, one in law["parameters"].items()]
        rows.append(
            [words(law["law"]), law["formula"], "; ".join(said) or "none", number(law["aic"], 5), number(law["r2"])]
        )
    table = Table(("law", "formula", "parameters, with intervals", "AIC", "R²"), rows, "Laws of data reuse")
    return table, f"{words(reuse['winner'])}: {reuse['reason']}"


def sensitivity_table(material: Material) -> Table:
    """Return how the law's numbers move with choices."""
    heads = (
        "choice",
        "value",
        "points",
        "K_max",
        "N_0 (parameters)",
        "change of K_max (%)",
        "change of N_0 (%)",
        "note",
    )
    rows = []
    for row in material.sensitivity.to_dict("records"):
        note = row["reason"] if isinstance(row["reason"], str) else ""
        numbers = [number(row[name]) for name in ("k_max_change_percent", "n_0_change_percent")]
        n_0 = "–" if _is_nan(row["n_0_params"]) else size(row["n_0_params"])
        rows.append(
            [str(row["choice"]), str(row["value"]), count(row["points"]), number(row["k_max"]), n_0, *numbers, note]
        )
    return Table(heads, rows, "One choice of the analysis changed in each row")


def _is_nan(value: Any) -> bool:
    return value is None or bool(np.isnan(value))


def health_table(material: Material) -> Table | None:
    """Return, by run, what the gates looked at and what they said; None where nothing was trained."""
    if not material.steps:
        return None
    rows = []
    for run, own in runs_of(material.curves):
        excluded = own["excluded"].iloc[0] if "excluded" in own else ""
        losses, last = own["test_loss"], own.iloc[-1]
        said = excluded if isinstance(excluded, str) and excluded else "passed"
        rise = float(last["test_loss"] - losses.min())
        rows.append([run, number(last["truncated_share"], 2), number(rise, 2), number(last["samples"]), said])
    heads = ("run", "truncated answers at the end", "last loss above its least", "samples seen", "gates")
    return Table(heads, rows, "What the gates looked at, by run")


def gates(material: Material) -> list[str]:
    """Return the gates as sentences."""
    told = material.told["gates"] or {}
    return [f"{words(name)}: {'off' if limit is None else number(limit)}" for name, limit in told.items()]


def missing(material: Material) -> Iterator[str]:
    """Yield what was planned or is there, and is not in the law: excluded, missing, beyond the fit."""
    there = {run for run, _ in runs_of(material.curves)}
    for run in material.told["runs"]:
        if run not in there:
            yield f"{run}: planned, and there is no curve of it"
    for run, reason in material.told["excluded"]:
        yield f"{run}: left out by the study: {reason}"
    if "excluded" in material.curves:
        for run, own in runs_of(material.curves):
            reason = own["excluded"].iloc[0]
            if isinstance(reason, str) and reason:
                yield f"{run}: excluded by a gate: {reason}"
    for name, fit in material.fits.items():
        for params in sorted(set(material.curves["params"]) - set(map(int, fit["k"]))):
            yield f"{size(params)} parameters: not in the fit {name}"
        yield from (f"fit {name}: {note}" for note in fit["notes"])
