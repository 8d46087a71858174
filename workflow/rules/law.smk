rule law:
    """The fitted law with its intervals, for each X and loss space that the study asks for."""
    input:
        lambda w: studies.open(w.study).law_inputs(),
    output:
        "results/{study}/law/fit.json",
        "results/{study}/law/points.csv",
        record="results/{study}/law/fit.json.record.json",
    log:
        "results/{study}/logs/law/law.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["law"],
    shell:
        "rlscale stage law {wildcards.study}"


rule compare:
    """Every law under every forecast protocol."""
    input:
        lambda w: studies.open(w.study).paths.spec("study", "law"),
        "results/{study}/law/points.csv",
    output:
        "results/{study}/law/compare.json",
        "results/{study}/law/forecasts.json",
        report(
            "results/{study}/tables/ranking.csv",
            caption="../report/ranking.rst",
            category="Law",
            labels={"study": "{study}", "figure": "ranking"},
        ),
        record="results/{study}/law/compare.json.record.json",
    log:
        "results/{study}/logs/compare/compare.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["compare"],
    shell:
        "rlscale stage compare {wildcards.study}"


rule sensitivity:
    """How the law's numbers move with choices that could have been made otherwise."""
    input:
        lambda w: studies.open(w.study).paths.spec("study", "law"),
        "results/{study}/law/points.csv",
    output:
        report(
            "results/{study}/tables/sensitivity.csv",
            caption="../report/sensitivity.rst",
            category="Law",
            labels={"study": "{study}", "figure": "sensitivity"},
        ),
        record="results/{study}/tables/sensitivity.csv.record.json",
    log:
        "results/{study}/logs/sensitivity/sensitivity.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["sensitivity"],
    shell:
        "rlscale stage sensitivity {wildcards.study}"


rule findings:
    """The study's claims, each with a verdict."""
    input:
        lambda w: studies.open(w.study).findings_inputs(),
    output:
        "results/{study}/law/findings.json",
        record="results/{study}/law/findings.json.record.json",
    log:
        "results/{study}/logs/findings/findings.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["findings"],
    shell:
        "rlscale stage findings {wildcards.study}"


rule metrics:
    """The study's main numbers in one small file, for comparing versions."""
    input:
        "results/{study}/law/fit.json",
        "results/{study}/tables/ranking.csv",
        "results/{study}/tables/curves.parquet",
    output:
        "results/{study}/tables/metrics.json",
        record="results/{study}/tables/metrics.json.record.json",
    log:
        "results/{study}/logs/metrics/metrics.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["metrics"],
    shell:
        "rlscale stage metrics {wildcards.study}"
