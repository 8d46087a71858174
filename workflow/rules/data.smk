rule pool:
    """Training problems, in the order in which a fresh stream consumes them."""
    input:
        lambda w: studies.open(w.study).problem_inputs("pools", w.pool),
    output:
        "results/{study}/data/pools/{pool}.parquet",
        record="results/{study}/data/pools/{pool}.parquet.record.json",
    log:
        "results/{study}/logs/pool/{pool}.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["pool"],
    shell:
        "rlscale stage pool {wildcards.study} {wildcards.pool}"


rule suites:
    """Problems of all evaluation suites."""
    input:
        lambda w: studies.open(w.study).problem_inputs("study", "suites"),
    output:
        "results/{study}/data/suites.parquet",
        record="results/{study}/data/suites.parquet.record.json",
    log:
        "results/{study}/logs/suites/suites.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["suites"],
    shell:
        "rlscale stage suites {wildcards.study}"
