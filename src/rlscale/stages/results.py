"""The jobs that make results of a study's scores: curves, the law, forecasts, findings, figures.

Each reads its inputs, calls the science and writes the outputs with their record, as `rlscale.stages.runs` does.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rlscale.files import read_json, write_bytes, write_csv, write_json, write_table, write_text
from rlscale.job import logged_job
from rlscale.paths import StudyPaths


def curves(study: str) -> None:
    """Gather the study's curves and scores into tables."""
    import pandas as pd

    from rlscale.curves import run_curve
    from rlscale.points import read_points
    from rlscale.provenance import write_record

    paths = StudyPaths(study)
    spec_path = paths.spec("study", "curves")
    with logged_job("curves", paths.log("curves", "curves")) as started:
        spec = read_json(spec_path)
        inputs = [spec_path]
        outputs = [paths.curves_csv]
        if spec["kind"] == "published":
            inputs.append(Path(spec["points"]))
            table = read_points(Path(spec["points"]))
        else:
            rows, scores = [], []
            for run in spec["runs"]:
                score_path, step_path = paths.scores(run["run"]), paths.steps(run["run"])
                inputs += [score_path, step_path]
                scores.append(pd.read_parquet(score_path).assign(run=run["run"]))
                rows.append(run_curve(run, pd.read_parquet(step_path), scores[-1], **spec["measure"]))
            table = pd.concat(rows, ignore_index=True)
            write_csv(pd.concat(scores, ignore_index=True).set_index("run").reset_index(), paths.all_scores)
            outputs.append(paths.all_scores)
        write_table(table, paths.curves)
        write_csv(table, paths.curves_csv)
        write_record(paths.curves, study=study, stage="curves", inputs=inputs, outputs=outputs, started=started)


def law(study: str) -> None:
    """Fit the law, with intervals, for each X and loss space that the study asks for."""
    import pandas as pd

    from rlscale.curves import drawn_losses, law_points
    from rlscale.fit import fit_points
    from rlscale.provenance import write_record

    paths = StudyPaths(study)
    spec_path, output = paths.spec("study", "law"), paths.fit
    with logged_job("law", paths.log("law", "law")) as started:
        spec = read_json(spec_path)
        inputs = [spec_path, paths.curves]
        points = law_points(pd.read_parquet(paths.curves), block=spec["block"], first_step=spec["first_step"])
        drawn = None
        if spec["measure"] is not None and spec["intervals"] != "none":
            tables = {run: paths.problem_scores(run) for run in sorted(points["run"].unique())}
            inputs += tables.values()
            scores = {run: pd.read_parquet(path) for run, path in tables.items()}
            drawn = drawn_losses(scores, **spec["measure"], draws=spec["draws"], seed=spec["seed"])
        options = {name: spec[name] for name in ("max_params", "intervals", "draws", "seed")}
        fits = {
            f"{x}_{loss}": fit_points(points, x=x, loss=loss, problem_losses=drawn, **options).to_json()
            for x in spec["x"]
            for loss in spec["loss"]
        }
        write_text(output, json.dumps({"fits": fits}, indent=2) + "\n")
        write_csv(points, paths.law_points)
        write_record(output, study=study, stage="law", inputs=inputs, outputs=[paths.law_points], started=started)


def compare(study: str) -> None:
    """Let every law forecast what it has not seen, and rank them; every size of the points takes part."""
    from rlscale.forecasts.tournament import run_tournament
    from rlscale.points import read_points
    from rlscale.provenance import write_record

    paths = StudyPaths(study)
    spec_path, output = paths.spec("study", "law"), paths.comparison
    with logged_job("compare", paths.log("compare", "compare")) as started:
        spec = read_json(spec_path)
        points, loss = read_points(paths.law_points), spec["loss"][0]
        found = run_tournament(points, xs=spec["x"], loss=loss)
        forecasts = {x: _drawn_forecasts(points, x, loss) for x in spec["x"]}
        write_text(output, json.dumps(found.to_json(), indent=2) + "\n")
        write_csv(found.ranking, paths.ranking)
        write_text(paths.forecasts, json.dumps(forecasts) + "\n")
        outputs = [paths.ranking, paths.forecasts]
        write_record(
            output, study=study, stage="compare", inputs=[spec_path, paths.law_points], outputs=outputs, started=started
        )


def _drawn_forecasts(points: Any, x: Any, loss: Any) -> list[dict[str, Any]]:
    """Return the forecasts that a figure shows: of each size from smaller ones, or of later steps for want of sizes."""
    from rlscale.errors import UserError
    from rlscale.fitting.law_fits import LAWS
    from rlscale.forecasts.forecast import run_forecasts

    laws = {"saturating_slope": LAWS["saturating_slope"]}
    try:
        made = run_forecasts(points, protocol="early-size", laws=laws, x=x, loss=loss, training="smaller")
    except UserError:  # too few sizes
        made = run_forecasts(points, protocol="early-time", laws=laws, x=x, loss=loss)
    return [forecast.to_json() for forecast in made]


def sensitivity(study: str) -> None:
    """Tabulate how K_max, N_0 and a forecast move with choices that could have been made otherwise."""
    import pandas as pd

    from rlscale.forecasts.sensitivity import sensitivity as vary
    from rlscale.points import read_points
    from rlscale.provenance import write_record

    paths = StudyPaths(study)
    spec_path, output = paths.spec("study", "law"), paths.sensitivity
    with logged_job("sensitivity", paths.log("sensitivity", "sensitivity")) as started:
        spec = read_json(spec_path)
        counts = spec["non_embedding_params"] and {int(size): n for size, n in spec["non_embedding_params"].items()}
        points = read_points(paths.law_points)
        rows = vary(points, x=spec["x"][0], loss=spec["loss"][0], non_embedding_params=counts)
        write_csv(pd.DataFrame([row.to_json() for row in rows]), output)
        write_record(output, study=study, stage="sensitivity", inputs=[spec_path, paths.law_points], started=started)


def findings(study: str) -> None:
    """Test the claims of the study, and fit the law of data reuse where runs differ in it."""
    import pandas as pd

    from rlscale.findings import findings as test_claims
    from rlscale.findings import fit_reuse, published_reuse, reuse_points
    from rlscale.provenance import write_record

    paths = StudyPaths(study)
    spec_path, output = paths.spec("study", "findings"), paths.findings
    with logged_job("findings", paths.log("findings", "findings")) as started:
        spec = read_json(spec_path)
        inputs = [spec_path, paths.curves, paths.fit]
        scores = reuse = None
        if spec["reuse"] is not None:
            inputs.append(Path(spec["reuse"]))
            reuse = published_reuse(pd.read_csv(spec["reuse"]))
        if spec["scores"]:
            inputs.append(paths.all_scores)
            scores = pd.read_csv(paths.all_scores)
        fits, curves = read_json(paths.fit)["fits"], pd.read_parquet(paths.curves)
        found = test_claims(
            curves,
            x_first_step=spec["first_step"],
            max_params=None,
            scores=scores,
            reuse=reuse,
            saturation={x: fits[f"{x}_{spec['loss']}"]["saturation"] for x in spec["x"]},
        )
        reused = reuse_points(curves, first_step=spec["first_step"]) if reuse is None else reuse
        made = {
            "findings": [one.to_json() for one in found],
            "reuse": None if reused is None else fit_reuse(reused, loss=spec["loss"]).to_json(),
        }
        write_text(output, json.dumps(made, indent=2) + "\n")
        write_record(output, study=study, stage="findings", inputs=inputs, started=started)


def metrics(study: str) -> None:
    """Gather the study's main numbers into one small file."""
    import pandas as pd

    from rlscale.metrics import study_metrics
    from rlscale.provenance import write_record

    paths = StudyPaths(study)
    inputs = [paths.fit, paths.ranking, paths.curves]
    with logged_job("metrics", paths.log("metrics", "metrics")) as started:
        found = study_metrics(read_json(paths.fit)["fits"], pd.read_csv(paths.ranking), pd.read_parquet(paths.curves))
        write_json(paths.metrics, found)
        write_record(paths.metrics, study=study, stage="metrics", inputs=inputs, started=started)


def figure(study: str, name: str) -> None:
    """Draw one figure, as SVG and PNG; it carries the digest of what it was derived from."""
    from rlscale.figures import render
    from rlscale.provenance import derivation_of, figure_identifier, write_record

    paths = StudyPaths(study)
    spec_path = paths.spec("figures", name)
    with logged_job(f"figure {name}", paths.log("figure", name)) as started:
        spec = read_json(spec_path)
        drawn, sources = _draw(spec, paths)
        inputs = [spec_path, *sources]
        metadata = {"Title": f"{study}: {name}", "Identifier": figure_identifier(derivation_of("figure", inputs))}
        outputs = [paths.figure(name, suffix) for suffix in ("svg", "png")]
        for output in outputs:
            write_bytes(output, render(drawn, "svg" if output.suffix == ".svg" else "png", metadata))
        write_record(
            outputs[0],
            study=study,
            stage="figure",
            name=name,
            inputs=inputs,
            outputs=outputs[1:],
            started=started,
        )


def _draw(spec: Mapping[str, Any], paths: StudyPaths) -> tuple[Any, list[Path]]:
    """Return a figure and the files that it was drawn from."""
    import pandas as pd

    from rlscale import figures
    from rlscale.curves import law_points
    from rlscale.findings import control_slopes

    def loss() -> Any:
        points = law_points(pd.read_parquet(paths.curves), block=spec["block"], first_step=0)
        return figures.loss_against_x(points, fit(), spec["x"], first_step=spec["first_step"])

    def controls() -> Any:
        return figures.controls(control_slopes(pd.read_parquet(paths.curves), first_step=spec["first_step"]))

    def fit() -> Any:
        return read_json(paths.fit)["fits"][spec["fit"]]

    kinds: dict[str, tuple[Callable[[], Any], list[Path]]] = {
        "loss": (loss, [paths.curves, paths.fit]),
        "slope": (lambda: figures.slope(fit()), [paths.fit]),
        "profile": (lambda: figures.profile(fit()), [paths.fit]),
        "forecast": (lambda: figures.forecast(read_json(paths.forecasts)[spec["x"]]), [paths.forecasts]),
        "tournament": (lambda: figures.tournament(read_json(paths.comparison), spec["x"]), [paths.comparison]),
        "controls": (controls, [paths.curves]),
        "reuse": (lambda: figures.reuse(pd.read_parquet(paths.curves)), [paths.curves]),
        "factor": (lambda: figures.factor(pd.read_parquet(paths.curves), spec["factor"]), [paths.curves]),
    }
    draw, sources = kinds[spec["kind"]]
    return draw(), sources
