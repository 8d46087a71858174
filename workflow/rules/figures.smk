rule figure_loss:
    """Test loss against compute or samples, with the fitted law: the paper's figure 1."""
    input:
        lambda w: studies.open(w.study).paths.spec("figures", f"loss_{w.x}"),
        "results/{study}/tables/curves.parquet",
        "results/{study}/law/fit.json",
    output:
        svg=report(
            "results/{study}/figures/loss_{x}.svg",
            caption="../report/loss_{x}.rst",
            category="Law",
            labels={"study": "{study}", "figure": "loss_{x}"},
        ),
        png="results/{study}/figures/loss_{x}.png",
        record="results/{study}/figures/loss_{x}.svg.record.json",
    log:
        "results/{study}/logs/figure/loss_{x}.log",
    wildcard_constraints:
        x="compute|samples",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["figure"],
    shell:
        "rlscale stage figure {wildcards.study} loss_{wildcards.x}"


rule figure_slope:
    """The slope k against model size N."""
    input:
        lambda w: studies.open(w.study).paths.spec("figures", f"slope_{w.x}"),
        "results/{study}/tables/curves.parquet",
        "results/{study}/law/fit.json",
    output:
        svg=report(
            "results/{study}/figures/slope_{x}.svg",
            caption="../report/slope.rst",
            category="Law",
            labels={"study": "{study}", "figure": "slope_{x}"},
        ),
        png="results/{study}/figures/slope_{x}.png",
        record="results/{study}/figures/slope_{x}.svg.record.json",
    log:
        "results/{study}/logs/figure/slope_{x}.log",
    wildcard_constraints:
        x="compute|samples",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["figure"],
    shell:
        "rlscale stage figure {wildcards.study} slope_{wildcards.x}"


rule figure_reuse:
    """Test loss for each data reuse."""
    input:
        lambda w: studies.open(w.study).paths.spec("figures", "reuse"),
        "results/{study}/tables/curves.parquet",
        "results/{study}/law/fit.json",
    output:
        svg=report(
            "results/{study}/figures/reuse.svg",
            caption="../report/reuse.rst",
            category="Data",
            labels={"study": "{study}", "figure": "reuse"},
        ),
        png="results/{study}/figures/reuse.png",
        record="results/{study}/figures/reuse.svg.record.json",
    log:
        "results/{study}/logs/figure/reuse.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["figure"],
    shell:
        "rlscale stage figure {wildcards.study} reuse"


rule figure_factor:
    """Test loss for each level of a factor."""
    input:
        lambda w: studies.open(w.study).paths.spec("figures", w.factor),
        "results/{study}/tables/curves.parquet",
        "results/{study}/law/fit.json",
    output:
        svg=report(
            "results/{study}/figures/{factor}.svg",
            caption="../report/{factor}.rst",
            category="Factors",
            labels={"study": "{study}", "figure": "{factor}"},
        ),
        png="results/{study}/figures/{factor}.png",
        record="results/{study}/figures/{factor}.svg.record.json",
    log:
        "results/{study}/logs/figure/{factor}.log",
    wildcard_constraints:
        factor="reward_accuracy|skill_share|group_size|variant",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["figure"],
    shell:
        "rlscale stage figure {wildcards.study} {wildcards.factor}"
