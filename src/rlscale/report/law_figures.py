"""Figures of the law: curves with the fitted line of each size, and the slope k(N) with its intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rlscale.report.figure import Figure, Group, Table, axis, rounded
from rlscale.report.material import Material
from rlscale.report.words import SYMBOLS, colours, interval, link, number, plain, size

X_COLUMN = {"compute": "compute_flops", "samples": "samples"}
X_LABEL = {"compute": "training compute C (FLOPs)", "samples": "samples D (prompts)"}
LOSS = "test loss L = 1 − pass@1"
INK = "#333333"


def run_of(rows: pd.DataFrame) -> str:
    """Return the id of the run that rows are of; a published curve has none and is named by variant and size."""
    first = rows.iloc[0]
    return str(first["run"]) if "run" in rows else f"{first.get('variant', 'curve')} {size(first['params'])}"


def runs_of(curves: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the runs of a table in its order of sizes, each with its rows by step."""
    key = "run" if "run" in curves else ["variant", "params"]
    ordered = curves.sort_values("params", kind="stable")
    return [(run_of(rows), rows.sort_values("step")) for _, rows in ordered.groupby(key, sort=False)]


def hover(run: str, *lines: str) -> str:
    """Return what is shown of a point: the run's id, then lines in the plotting library's template language."""
    return "<br>".join([f"<b>{plain(run)}</b>", *lines]) + "<extra></extra>"


def record_link(material: Material, run: str) -> str | None:
    """Return the link to the record of a run's scores, relative to the page; None where nothing was trained."""
    return link(f"runs/{run}/scores.parquet.record.json") if material.steps else None


def loss_figure(material: Material, x: str) -> Figure:
    """Return test loss against compute or samples with the fitted lines, one group for each size."""
    name, fit = _fit_of(material, x)
    column = X_COLUMN[x]
    curves = material.curves
    if material.told["block"] is not None:
        curves = curves[[material.told["block"] in str(blocks).split(",") for blocks in curves["blocks"]]]
    if "variant" in curves and fit["variant"]:
        curves = curves[curves["variant"] == fit["variant"]]
    shown = curves[(curves[column] > 0) & (curves["test_loss"] > 0)]
    sizes = sorted(shown["params"].unique().tolist())
    looks = dict(zip(sizes, colours(len(sizes)), strict=True))
    traces, rows = [], []
    for run, own in runs_of(shown):
        params = own["params"].iloc[0]
        symbol = SYMBOLS[sizes.index(params) % len(SYMBOLS)]
        traces.append(_run_trace(material, run, own, column, colour=looks[params], symbol=symbol))
        record = record_link(material, run)
        for row in own.to_dict("records"):
            error = row.get("test_loss_se")
            cells = [(run, record) if record else run, size(params), number(row["step"]), number(row["samples"])]
            rows.append([*cells, number(row["compute_flops"]), number(row["test_loss"]), number(error)])
    for params in sizes:
        traces += _law_traces(fit, params, shown[shown["params"] == params], column, looks[params])
    groups = [Group(str(params), f"{size(params)} parameters", looks[params]) for params in sizes]
    law = f"log₁₀ L = −k(N)·log₁₀ {'C' if x == 'compute' else 'D'} + E"
    return Figure(
        key=f"loss-{x}",
        title=f"Test loss against {x}",
        caption=f"Points are evaluated checkpoints, a mark for each size; thick lines are the fitted law, {law}, with "
        f"the mean E of a size's runs (fit {name}), dashed beyond the fitted points.",
        traces=traces,
        x=axis(X_LABEL[x]),
        y=axis(LOSS),
        table=Table(
            ("run", "size", "step", "samples", "compute (FLOPs)", "test loss", "standard error"),
            rows,
            f"Evaluated checkpoints behind the figure, {len(rows)} rows",
        ),
        sources=("curves", "fit"),
        groups=groups,
        picture=f"loss_{x}",
        height=520,
    )


def slope_figure(material: Material, x: str) -> Figure:
    """Return the slope k of each size alone and of the law, with intervals."""
    name, fit = _fit_of(material, x)
    sizes = sorted(map(int, fit["k_free"]))
    alone = [fit["k_free"][str(one)] for one in sizes]
    errors = [fit["k_free_se"].get(str(one)) or 0.0 for one in sizes]
    along = np.geomspace(sizes[0] / 1.5, sizes[-1] * 1.5, 80)
    traces: list[dict[str, Any]] = []
    ends = (fit["intervals"] or {}).get("k") or {}
    own = [one for one in sizes if str(one) in ends]
    if own:
        band = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "x": own, "hoverinfo": "skip"}
        low, high = ([ends[str(one)][end] for one in own] for end in ("low", "high"))
        traces.append(band | {"y": rounded(low)})
        traces.append(band | {"y": rounded(high), "fill": "tonexty", "fillcolor": "rgba(51,51,51,0.14)"})
    law = fit["k_max"] / (1 + (fit["n_0"] or 0.0) / along)
    traces.append(_line(rounded(along), rounded(law), INK, "law K<sub>max</sub>/(1 + N<sub>0</sub>/N)"))
    said = [f"{size(one)}: k = {number(k)} ± {number(e)}" for one, k, e in zip(sizes, alone, errors, strict=True)]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "x": sizes,
            "y": rounded(alone),
            "error_y": {"type": "data", "array": rounded(errors), "thickness": 1.2, "width": 4},
            "marker": {"color": "#31688e", "size": 9},
            "text": said,
            "hovertemplate": "size alone, %{text}<extra></extra>",
        }
    )
    rows = [
        [size(one), f"{number(k)} ± {number(e)}", interval(ends.get(str(one)))]
        for one, k, e in zip(sizes, alone, errors, strict=True)
    ]
    level = (fit["intervals"] or {}).get("level")
    return Figure(
        key=f"slope-{x}",
        title=f"Slope k(N) against {x}",
        caption="Marks: slope of one size fitted alone, with its standard error as if points were independent. "
        + f"Line: the law (fit {name})"
        + (f"; band: its {level:.0%} interval." if level else "."),
        traces=traces,
        x=axis("model size N (parameters)"),
        y=axis("slope k", "linear") | {"rangemode": "tozero"},
        table=Table(("size", "k, size alone ± standard error", "k, the law, with interval"), rows, "Slopes by size"),
        sources=("fit",),
        picture=f"slope_{x}",
    )


def _fit_of(material: Material, x: str) -> tuple[str, Mapping[str, Any]]:
    name = f"{x}_{material.told['loss']}"
    return name, material.fits[name]


def _run_trace(
    material: Material, run: str, rows: pd.DataFrame, column: str, *, colour: str, symbol: str
) -> dict[str, Any]:
    params = rows["params"].iloc[0]
    errors = rows["test_loss_se"] if "test_loss_se" in rows else pd.Series(np.nan, index=rows.index)
    said = [
        f"step {step:,} · loss {number(loss)}" + (f" ± {number(error)}" if np.isfinite(error) else "")
        for step, loss, error in zip(rows["step"], rows["test_loss"], errors, strict=True)
    ]
    is_dense = len(rows) > 40
    return {
        "type": "scatter",
        "mode": "markers" if is_dense else "lines+markers",
        "x": rounded(rows[column]),
        "y": rounded(rows["test_loss"]),
        "text": said,
        "name": plain(run),
        "legendgroup": str(params),
        "marker": {"color": colour, "size": 4 if is_dense else 6, "symbol": symbol, "opacity": 0.75},
        "line": {"color": colour, "width": 0.8},
        "meta": {"run": run, "record": record_link(material, run)},
        "hovertemplate": hover(run, f"{size(params)} parameters", "%{text}", "X = %{x:.3~g}"),
    }


def _law_traces(
    fit: Mapping[str, Any], params: float, rows: pd.DataFrame, column: str, colour: str
) -> list[dict[str, Any]]:
    levels = [fit["e"][key] for key, curve in fit["curves"].items() if curve["params"] == params]
    k = fit["k"].get(str(int(params)))
    if not levels or k is None or rows.empty:
        return []
    level = float(np.mean(levels))
    inside = fit["ranges"][str(int(params))] if fit.get("ranges") else {}
    first = inside.get("first_x") or rows[column].min()
    last = inside.get("last_x") or rows[column].max()
    found = []
    begin = max(rows[column].min(), 10 ** (level / k)) if k > 0 else first  # no loss is above 1
    for start, end, dash in ((begin, first, "dot"), (first, last, "solid"), (last, 10 * last, "dot")):
        if start < end:
            along = np.geomspace(start, end, 12)
            line = _line(rounded(along), rounded(10 ** (level - k * np.log10(along))), colour, "")
            line["line"] |= {"dash": dash, "width": 2.5 if dash == "solid" else 1.5}
            found.append(line | {"legendgroup": str(params), "hoverinfo": "skip"})
    return found


def _line(x: list[float], y: list[float], colour: str, label: str) -> dict[str, Any]:
    line: dict[str, Any] = {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": {"color": colour, "width": 2}}
    return line | ({"hovertemplate": f"{label}<br>%{{y:.3~g}}<extra></extra>"} if label else {})
