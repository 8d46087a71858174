rule law:
    """The fitted law, for each X and loss space that the study asks for."""
    input:
        lambda w: studies.open(w.study).paths.spec("study", "law"),
        "results/{study}/tables/curves.parquet",
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
