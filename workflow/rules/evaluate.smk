rule evaluate:
    """Raw answers of every checkpoint of a run, the base model included, to every suite."""
    input:
        "results/{study}/runs/{run}/steps.parquet.record.json",
        lambda w: studies.open(w.study).paths.spec("study", "evaluation"),
        suites="results/{study}/data/suites.parquet",
    output:
        "results/{study}/runs/{run}/rollouts.parquet",
        record="results/{study}/runs/{run}/rollouts.parquet.record.json",
    log:
        "results/{study}/logs/evaluate/{run}.log",
    conda:
        lambda w: studies.open(w.study).environment("evaluate")
    container:
        studies.software.evaluate.container
    envmodules:
        *studies.software.evaluate.modules,
    resources:
        **studies.resources("evaluate"),
    params:
        version=STAGE_VERSION["evaluate"],
    shell:
        "rlscale stage evaluate {wildcards.study} {wildcards.run}"


rule grade:
    """Scores with standard errors over problems; a better grader needs no new answers."""
    input:
        "results/{study}/runs/{run}/rollouts.parquet",
        suites="results/{study}/data/suites.parquet",
    output:
        "results/{study}/runs/{run}/scores.parquet",
        "results/{study}/runs/{run}/problem_scores.parquet",
        record="results/{study}/runs/{run}/scores.parquet.record.json",
    log:
        "results/{study}/logs/grade/{run}.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["grade"],
    shell:
        "rlscale stage grade {wildcards.study} {wildcards.run}"
