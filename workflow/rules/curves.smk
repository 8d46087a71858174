rule curves:
    """One tidy table for the study."""
    input:
        lambda w: studies.open(w.study).curve_inputs(),
    output:
        "results/{study}/tables/curves.parquet",
        "results/{study}/tables/curves.csv",
        record="results/{study}/tables/curves.parquet.record.json",
    log:
        "results/{study}/logs/curves/curves.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["curves"],
    shell:
        "rlscale stage curves {wildcards.study}"
