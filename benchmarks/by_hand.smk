# The DAG of a study, written by hand: the rules, files, wildcards, logs, params and resources of the project's workflow,
# and none of its code. benchmarks/planning.py plans it beside the project; `study.json` says runs, figures and sources.
import json
from pathlib import Path

STUDY = json.loads(Path("study.json").read_text())
NAME = STUDY["name"]
RUNS = STUDY["runs"]
VERSION = STUDY["versions"]

HOME = "results/{study}"
RUN = "results/{study}/runs/{run}"
SPEC = "results/{study}/specs"


wildcard_constraints:
    study=r"[^/]+",


localrules:
    pool,
    suites,
    curves,
    findings,
    metrics,
    report,


rule all:
    input:
        expand(
            f"{HOME}/{{file}}",
            study=NAME,
            file=[
                "tables/curves.csv",
                "law/fit.json",
                "tables/ranking.csv",
                "tables/sensitivity.csv",
                "law/findings.json",
                "tables/metrics.json",
                "report.html",
            ],
        ),
        expand(
            f"{HOME}/figures/{{figure}}.{{suffix}}",
            study=NAME,
            figure=STUDY["figures"],
            suffix=["svg", "png"],
        ),


rule pool:
    input:
        f"{SPEC}/pools/{{pool}}.json",
    output:
        f"{HOME}/data/pools/{{pool}}.parquet",
        record=f"{HOME}/data/pools/{{pool}}.parquet.record.json",
    log:
        f"{HOME}/logs/pool/{{pool}}.log",
    conda:
        "envs/core.yaml"
    params:
        version=VERSION["pool"],
    shell:
        "rlscale stage pool {wildcards.study} {wildcards.pool}"


rule suites:
    input:
        f"{SPEC}/study/suites.json",
    output:
        f"{HOME}/data/suites.parquet",
        record=f"{HOME}/data/suites.parquet.record.json",
    log:
        f"{HOME}/logs/suites/suites.log",
    conda:
        "envs/core.yaml"
    params:
        version=VERSION["suites"],
    shell:
        "rlscale stage suites {wildcards.study}"


rule base:
    input:
        f"{SPEC}/bases/{{base}}.json",
    output:
        f"{HOME}/models/{{base}}.record.json",
    log:
        f"{HOME}/logs/base/{{base}}.log",
    priority: 2
    conda:
        "envs/core.yaml"
    params:
        version=VERSION["base"],
    shell:
        "rlscale stage base {wildcards.study} {wildcards.base}"


rule train:
    input:
        cell=f"{RUN}/cell.json",
        base=lambda w: f"results/{w.study}/models/{RUNS[w.run]['base']}.record.json",
        pool=lambda w: f"results/{w.study}/data/pools/{RUNS[w.run]['pool']}.parquet",
    output:
        f"{RUN}/steps.parquet",
        record=f"{RUN}/steps.parquet.record.json",
    log:
        f"{HOME}/logs/train/{{run}}.log",
    priority: 1
    conda:
        "envs/core.yaml"
    resources:
        **STUDY["resources"]["train"],
        mem_mb=lambda w, attempt: 1024 * (1 + attempt),
        runtime=lambda w, attempt: 120 * (1 + attempt),
    params:
        version=VERSION["train"],
    shell:
        "rlscale stage train {wildcards.study} {wildcards.run}"


rule evaluate:
    input:
        f"{RUN}/steps.parquet.record.json",
        f"{SPEC}/study/evaluation.json",
        suites=f"{HOME}/data/suites.parquet",
    output:
        f"{RUN}/rollouts.parquet",
        record=f"{RUN}/rollouts.parquet.record.json",
    log:
        f"{HOME}/logs/evaluate/{{run}}.log",
    conda:
        "envs/core.yaml"
    resources:
        **STUDY["resources"]["evaluate"],
        mem_mb=lambda w, attempt: 1024 * (1 + attempt),
        runtime=lambda w, attempt: 120 * (1 + attempt),
    params:
        version=VERSION["evaluate"],
    shell:
        "rlscale stage evaluate {wildcards.study} {wildcards.run}"


rule grade:
    input:
        f"{RUN}/rollouts.parquet",
        suites=f"{HOME}/data/suites.parquet",
    output:
        f"{RUN}/scores.parquet",
        f"{RUN}/problem_scores.parquet",
        record=f"{RUN}/scores.parquet.record.json",
    log:
        f"{HOME}/logs/grade/{{run}}.log",
    conda:
        "envs/core.yaml"
    params:
        version=VERSION["grade"],
    shell:
        "rlscale stage grade {wildcards.study} {wildcards.run}"


rule curves:
    input:
        f"{SPEC}/study/curves.json",
        expand(
            f"{RUN}/{{table}}.parquet",
            run=RUNS,
            table=["scores", "steps"],
            allow_missing=True,
        ),
    output:
        f"{HOME}/tables/curves.parquet",
        f"{HOME}/tables/curves.csv",
        record=f"{HOME}/tables/curves.parquet.record.json",
    log:
        f"{HOME}/logs/curves/curves.log",
    conda:
        "envs/core.yaml"
    params:
        version=VERSION["curves"],
    shell:
        "rlscale stage curves {wildcards.study}"


rule law:
    input:
        f"{SPEC}/study/law.json",
        f"{HOME}/tables/curves.parquet",
        expand(f"{RUN}/problem_scores.parquet", run=RUNS, allow_missing=True),
    output:
        f"{HOME}/law/fit.json",
        f"{HOME}/law/points.csv",
        record=f"{HOME}/law/fit.json.record.json",
    log:
        f"{HOME}/logs/law/law.log",
    conda:
        "envs/core.yaml"
    params:
        version=VERSION["law"],
    shell:
        "rlscale stage law {wildcards.study}"


rule compare:
    input:
        f"{SPEC}/study/law.json",
        f"{HOME}/law/points.csv",
    output:
        f"{HOME}/law/compare.json",
        f"{HOME}/law/forecasts.json",
        f"{HOME}/tables/ranking.csv",
        record=f"{HOME}/law/compare.json.record.json",
    log:
        f"{HOME}/logs/compare/compare.log",
    conda:
        "envs/core.yaml"
    params:
        version=VERSION["compare"],
    shell:
        "rlscale stage compare {wildcards.study}"


rule sensitivity:
    input:
        f"{SPEC}/study/law.json",
        f"{HOME}/law/points.csv",
    output:
        f"{HOME}/tables/sensitivity.csv",
        record=f"{HOME}/tables/sensitivity.csv.record.json",
    log:
        f"{HOME}/logs/sensitivity/sensitivity.log",
    conda:
        "envs/core.yaml"
    params:
        version=VERSION["sensitivity"],
    shell:
        "rlscale stage sensitivity {wildcards.study}"


rule findings:
    input:
        f"{SPEC}/study/findings.json",
        f"{HOME}/tables/curves.parquet",
        f"{HOME}/law/fit.json",
    output:
        f"{HOME}/law/findings.json",
        record=f"{HOME}/law/findings.json.record.json",
    log:
        f"{HOME}/logs/findings/findings.log",
    conda:
        "envs/core.yaml"
    params:
        version=VERSION["findings"],
    shell:
        "rlscale stage findings {wildcards.study}"


rule metrics:
    input:
        f"{HOME}/law/fit.json",
        f"{HOME}/tables/ranking.csv",
        f"{HOME}/tables/curves.parquet",
    output:
        f"{HOME}/tables/metrics.json",
        record=f"{HOME}/tables/metrics.json.record.json",
    log:
        f"{HOME}/logs/metrics/metrics.log",
    conda:
        "envs/core.yaml"
    params:
        version=VERSION["metrics"],
    shell:
        "rlscale stage metrics {wildcards.study}"


rule report:
    input:
        f"{SPEC}/study/report.json",
        f"{HOME}/tables/curves.parquet",
        f"{HOME}/law/points.csv",
        f"{HOME}/law/fit.json",
        f"{HOME}/law/compare.json",
        f"{HOME}/tables/ranking.csv",
        f"{HOME}/law/forecasts.json",
        f"{HOME}/law/findings.json",
        f"{HOME}/tables/sensitivity.csv",
        expand(f"{RUN}/steps.parquet", run=RUNS, allow_missing=True),
    output:
        f"{HOME}/report.html",
        record=f"{HOME}/report.html.record.json",
    log:
        f"{HOME}/logs/report/report.log",
    conda:
        "envs/core.yaml"
    params:
        version=VERSION["report"],
    shell:
        "rlscale stage report {wildcards.study}"


SOURCES = {
    "loss": ["tables/curves.parquet", "law/fit.json"],
    "slope": ["law/fit.json"],
    "profile": ["law/fit.json"],
    "forecast": ["law/forecasts.json"],
    "tournament": ["law/compare.json"],
    "reuse": ["tables/curves.parquet"],
}
for kind, sources in SOURCES.items():
    figure = kind if kind == "reuse" else f"{kind}_{{x}}"

    rule:
        name:
            f"figure_{kind}"
        input:
            f"{SPEC}/figures/{figure}.json",
            *(f"{HOME}/{source}" for source in sources),
        output:
            svg=f"{HOME}/figures/{figure}.svg",
            png=f"{HOME}/figures/{figure}.png",
            record=f"{HOME}/figures/{figure}.svg.record.json",
        log:
            f"{HOME}/logs/figure/{figure}.log",
        wildcard_constraints:
            x="compute|samples",
        conda:
            "envs/core.yaml"
        params:
            version=VERSION["figure"],
        shell:
            f"rlscale stage figure {{wildcards.study}} {figure.replace('{', '{wildcards.')}"
