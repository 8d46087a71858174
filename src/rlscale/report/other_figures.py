"""Figures of what the law was put to: tournament, forecasts, sweeps of reuse and factors, and what runs cost."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from rlscale.ledger import PHASES
from rlscale.report.figure import Figure, Group, Table, axis, rounded
from rlscale.report.law_figures import LOSS, X_COLUMN, hover, record_link, runs_of
from rlscale.report.material import Material
from rlscale.report.words import SYMBOLS, colours, count, number, plain, seconds, size, words

AXES = ("tau", "group_size", "reward_accuracy", "skill_share", "variant")
_LABELS = {
    "tau": "data reuse τ (passes over the unique problems)",
    "group_size": "group size G (rollouts a prompt)",
    "reward_accuracy": "probability that a reward is right",
    "skill_share": "share of the skills in the training problems",
    "variant": "variant of the base model",
}
_OTHERS = (
    *("params", "variant", "tau", "group_size", "reward_accuracy", "families", "skill_share", "supervision"),
    *("base_seed", "seed"),
)


def tournament_figure(material: Material, x: str) -> Figure | None:
    """Return the forecast error of each law under each protocol, None where there is none."""
    rows = material.ranking[(material.ranking["x"] == x) & material.ranking["rmse_test_loss"].notna()]
    if rows.empty:
        return None
    rows = rows.assign(setting=[_setting(row) for row in rows.to_dict("records")])
    settings = list(dict.fromkeys(rows["setting"]))
    looks = dict(zip(settings, colours(len(settings)), strict=True))
    order = rows.groupby("law")["rmse_test_loss"].median().sort_values(ascending=False).index.tolist()
    traces = []
    for rank, (setting, own) in enumerate(rows.groupby("setting", sort=False)):
        own = own.set_index("law").reindex([law for law in order if law in set(own["law"])]).reset_index()  # noqa: PLW2901
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": rounded(own["rmse_test_loss"]),
                "y": [words(law) for law in own["law"]],
                "text": [f"rank {number(place)}" for place in own["rank"]],
                "legendgroup": str(setting),
                "marker": {"color": looks[str(setting)], "size": 9, "symbol": SYMBOLS[rank % len(SYMBOLS)]},
                "hovertemplate": f"%{{y}}<br>{plain(setting)}<br>RMSE %{{x:.3~g}}, %{{text}}<extra></extra>",
            }
        )
    cells = [
        [row["setting"], words(row["law"]), row["role"], number(row["rank"]), number(row["rmse_test_loss"])]
        + [number(row[f"coverage_{level}"]) for level in (50, 80, 90)]
        for row in rows.to_dict("records")
    ]
    heads = ("protocol", "law", "role", "rank", "RMSE in test loss", "in 50 % band", "in 80 % band", "in 90 % band")
    return Figure(
        key=f"tournament-{x}",
        title=f"Tournament of laws, {x}",
        caption="Root mean square error in test loss on what a law had not seen, by protocol; further left is better. "
        "Refit-level refits a level on its target and is no forecast.",
        traces=traces,
        x=axis("RMSE in test loss"),
        y={"title": {"text": ""}, "type": "category", "categoryarray": [words(law) for law in order]},
        table=Table(heads, cells, "Ranking by protocol"),
        sources=("ranking", "comparison"),
        groups=[Group(setting, setting, looks[setting]) for setting in settings],
        picture=f"tournament_{x}",
        height=520,
    )


def _setting(row: Mapping[Any, Any]) -> str:
    trained = row["training"]
    how = f"first {row['fraction_of_steps']:.0%} of the steps" if pd.isna(trained) else f"from {trained} sizes"
    return f"{row['protocol']}, {how}"


def forecast_figure(material: Material, x: str) -> Figure | None:
    """Return forecast test loss against observed, None where nothing was forecast."""
    made = [
        one for one in material.forecasts.get(x, []) if one["role"] == "law" and one["hidden"] and not one["reason"]
    ]
    if not made:
        return None
    names = list(dict.fromkeys(one["target_params"] for one in made))
    looks = dict(zip(names, colours(len(names)), strict=True))
    traces: list[dict[str, Any]] = []
    rows, ends = [], []
    for one in made:
        hidden, target = one["hidden"], one["target_params"]
        band = hidden["bands"]["0.9"]
        observed, said = hidden["test_loss"], hidden["predicted_test_loss"]
        run = str(one["curve"]) if material.steps else f"{size(target)}"
        ends += [*observed, *said]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": rounded(observed),
                "y": rounded(said),
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": rounded(high - at for high, at in zip(band["high"], said, strict=True)),
                    "arrayminus": rounded(at - low for low, at in zip(band["low"], said, strict=True)),
                    "thickness": 0.7,
                    "width": 0,
                },
                "text": [f"step {step:,.0f}" for step in hidden["step"]],
                "legendgroup": str(target),
                "marker": {"color": looks[target], "size": 6, "symbol": SYMBOLS[names.index(target) % len(SYMBOLS)]},
                "meta": {"run": run, "record": record_link(material, run)},
                "hovertemplate": hover(run, "%{text}", "observed %{x:.3~g}, forecast %{y:.3~g}"),
            }
        )
        scores = one["scores"]
        held = scores["coverage"]["0.9"]
        trained = ", ".join(size(params) for params in one["training_params"])
        cells = [run, size(target), trained, number(scores["points"]), number(scores["rmse_test_loss"])]
        rows.append([*cells, "–" if held is None else f"{held:.0%}", words(scores["best_baseline"] or "–")])
    low, high = min(ends), max(ends)
    line = {"type": "scatter", "mode": "lines", "x": [low, high], "y": [low, high], "hoverinfo": "skip"}
    traces.append(line | {"line": {"color": "#333333", "dash": "dash", "width": 1}})
    heads = ("curve", "size", "fitted on", "hidden points", "RMSE", "in 90 % band", "best naive rule")
    return Figure(
        key=f"forecast-{x}",
        title=f"Forecast against observed, {x}",
        caption=f"{made[0]['label'].capitalize()}: points were hidden until the forecast was made, bars are its 90 % "
        "bands, on the dashed line a forecast is right.",
        traces=traces,
        x=axis("observed test loss"),
        y=axis("forecast test loss"),
        table=Table(heads, rows, "Forecasts by curve"),
        sources=("forecasts",),
        groups=[Group(str(name), f"{size(name)} parameters", looks[name]) for name in names],
        picture=f"forecast_{x}",
    )


def sweep_figure(material: Material, name: str) -> Figure | None:
    """Return test loss by level of one axis, of runs that differ in nothing else; None where no two do."""
    curves = material.curves
    if name not in curves:
        return None
    others = [column for column in _OTHERS if column in curves and column != name]
    varied = curves[curves.groupby(others, dropna=False)[name].transform("nunique") > 1]
    shown = varied[(varied["step"] > 0) & (varied["test_loss"] > 0)]
    if shown.empty:
        return None
    levels = sorted(shown[name].unique().tolist())
    looks = dict(zip(levels, colours(len(levels)), strict=True))
    traces, rows = [], []
    for run, own in runs_of(shown):
        level, last = own[name].iloc[0], own.iloc[-1]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": rounded(own["samples"]),
                "y": rounded(own["test_loss"]),
                "text": [
                    f"step {step:,} · loss {number(loss)}"
                    for step, loss in zip(own["step"], own["test_loss"], strict=True)
                ],
                "legendgroup": str(level),
                "line": {"color": looks[level], "width": 1},
                "marker": {"color": looks[level], "size": 6, "symbol": SYMBOLS[levels.index(level) % len(SYMBOLS)]},
                "meta": {"run": run, "record": record_link(material, run)},
                "hovertemplate": hover(run, f"{plain(words(name))} {plain(level)}", "%{text}"),
            }
        )
        record = record_link(material, run)
        rows.append(
            [
                (run, record) if record else run,
                size(last["params"]),
                str(level),
                number(last["step"]),
                number(last["test_loss"]),
            ]
        )
    return Figure(
        key=name.replace("_", "-"),
        title=f"Sweep of {words(name)}",
        caption=f"Test loss by {_LABELS[name]}: runs that differ in nothing else.",
        traces=traces,
        x=axis("samples D (prompts)"),
        y=axis(LOSS),
        table=Table(("run", "size", words(name), "last step", "last test loss"), rows, "Where the runs end"),
        sources=("curves",),
        groups=[Group(str(level), f"{words(name)} {level}", looks[level]) for level in levels],
        picture="reuse" if name == "tau" else name,
    )


def cost_figure(material: Material) -> Figure | None:
    """Return FLOPs by phase and size, None where nothing was trained."""
    if not material.steps:
        return None
    totals = cost_by_size(material)
    phases = [phase for phase in PHASES if totals[f"flops_{phase}"].sum() > 0]
    looks = dict(zip(phases, colours(len(phases)), strict=True))
    names = [size(params) for params in totals.index]
    traces = [
        {
            "type": "bar",
            "x": names,
            "y": rounded(totals[f"flops_{phase}"]),
            "legendgroup": phase,
            "marker": {"color": looks[phase]},
            "hovertemplate": f"%{{x}} parameters<br>{words(phase)}: %{{y:.3~g}} FLOPs<extra></extra>",
        }
        for phase in phases
    ]
    heads = [
        "size",
        "runs",
        "steps",
        "rollout tokens",
        *(f"{words(phase)} (FLOPs)" for phase in phases),
        "computed (FLOPs)",
    ]
    heads += ["law's 6·N·T (FLOPs)", "time"]
    rows = []
    for params, row in [*totals.iterrows(), ("all", totals.sum())]:
        spent = [number(row[f"flops_{phase}"]) for phase in phases]
        named = params if isinstance(params, str) else size(float(params))  # type: ignore[arg-type]
        cells = [named, count(row["runs"]), count(row["steps"]), count(row["tokens"]), *spent]
        rows.append([*cells, number(row["flops"]), number(row["law"]), seconds(row["seconds"])])
    return Figure(
        key="cost",
        title="What training cost, by phase",
        caption="FLOPs that were really computed, all runs of a size together; evaluation is not among them. The law's "
        "compute, 6·N·T, stands in the table.",
        traces=traces,
        x={"title": {"text": "model size N (parameters)"}, "type": "category"},
        y=axis("FLOPs", "linear"),
        table=Table(heads, rows, "Cost by size"),
        sources=("curves", "steps"),
        groups=[Group(phase, words(phase), looks[phase]) for phase in phases],
        height=360,
        bars="stack",
    )


def cost_by_size(material: Material) -> pd.DataFrame:
    """Return runs, steps, tokens, FLOPs by phase and seconds, summed over the runs of each size."""
    params = material.curves.groupby("run")["params"].first()
    rows = []
    for run, steps in material.steps.items():
        spent = {
            f"flops_{phase}": float(steps[f"flops_{phase}"].sum()) for phase in PHASES if f"flops_{phase}" in steps
        }
        took = math.fsum(float(steps[column].sum()) for column in steps if str(column).startswith("seconds_"))
        row = {"params": params[run], "runs": 1, "steps": len(steps), "tokens": float(steps["tokens_rollout"].sum())}
        law = float(steps[X_COLUMN["compute"]].sum())
        rows.append(row | spent | {"flops": sum(spent.values()), "law": law, "seconds": took})
    return pd.DataFrame(rows).fillna(0.0).groupby("params").sum()
