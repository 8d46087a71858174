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
    container:
        studies.software.train.container
    envmodules:
        *studies.software.train.modules,
    resources:
        **studies.resources("train"),
    params:
        version=STAGE_VERSION["train"],
    shell:
        "rlscale stage train {wildcards.study} {wildcards.run}"
