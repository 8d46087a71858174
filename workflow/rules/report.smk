rule report:
    """The page of a study: one file with its figures, planner and provenance."""
    input:
        lambda w: studies.open(w.study).report_inputs(),
    output:
        "results/{study}/report.html",
        record="results/{study}/report.html.record.json",
    log:
        "results/{study}/logs/report/report.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["report"],
    shell:
        "rlscale stage report {wildcards.study}"
