rule train:
    """One run to its last budget. Checkpoints and trainer state are no outputs: Snakemake never deletes them."""
    input:
        unpack(lambda w: studies.open(w.study).training_inputs(w.run)),
    output:
        "results/{study}/runs/{run}/steps.parquet",
        record="results/{study}/runs/{run}/steps.parquet.record.json",
    log:
        "results/{study}/logs/train/{run}.log",
    priority: 1
    conda:
        lambda w: studies.open(w.study).environment("train")
    resources:
        nodes=studies.training_needs("nodes"),
        gpu=studies.training_needs("gpu"),
        runtime=studies.training_needs("runtime"),
        disk_mb=studies.training_needs("disk_mb"),
    params:
        version=STAGE_VERSION["train"],
    shell:
        "rlscale stage train {wildcards.study} {wildcards.run}"
