rule base:
    """Base model. The record is the output: a folder that is one would be deleted before each new attempt."""
    input:
        lambda w: studies.open(w.study).paths.spec("bases", w.base),
    output:
        "results/{study}/models/{base}.record.json",
    log:
        "results/{study}/logs/base/{base}.log",
    # First: everything else waits for base models, and the largest must not come last.
    priority: 2
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["base"],
    shell:
        "rlscale stage base {wildcards.study} {wildcards.base}"
