localrules:
    figure_loss,
    figure_slope,
    figure_profile,
    figure_forecast,
    figure_tournament,
    figure_reuse,
    figure_controls,
    figure_factor,


rule figure_loss:
    """Test loss against compute or samples, with the fitted law: the paper's figure 1."""
    input:
        lambda w: studies.open(w.study).paths.spec("figures", f"loss_{w.x}"),
        "results/{study}/tables/curves.parquet",
        "results/{study}/law/fit.json",
    output:
        svg=report(
            "results/{study}/figures/loss_{x}.svg",
            caption="../report/loss.rst",
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


rule figure_profile:
    """The profile of N_0."""
    input:
        lambda w: studies.open(w.study).paths.spec("figures", f"profile_{w.x}"),
        "results/{study}/law/fit.json",
    output:
        svg=report(
            "results/{study}/figures/profile_{x}.svg",
            caption="../report/profile.rst",
            category="Law",
            labels={"study": "{study}", "figure": "profile_{x}"},
        ),
        png="results/{study}/figures/profile_{x}.png",
        record="results/{study}/figures/profile_{x}.svg.record.json",
    log:
        "results/{study}/logs/figure/profile_{x}.log",
    wildcard_constraints:
        x="compute|samples",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["figure"],
    shell:
        "rlscale stage figure {wildcards.study} profile_{wildcards.x}"


rule figure_forecast:
    """Forecasts of sealed sizes against what was observed."""
    input:
        lambda w: studies.open(w.study).paths.spec("figures", f"forecast_{w.x}"),
        "results/{study}/law/forecasts.json",
    output:
        svg=report(
            "results/{study}/figures/forecast_{x}.svg",
            caption="../report/forecast.rst",
            category="Forecasts",
            labels={"study": "{study}", "figure": "forecast_{x}"},
        ),
        png="results/{study}/figures/forecast_{x}.png",
        record="results/{study}/figures/forecast_{x}.svg.record.json",
    log:
        "results/{study}/logs/figure/forecast_{x}.log",
    wildcard_constraints:
        x="compute|samples",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["figure"],
    shell:
        "rlscale stage figure {wildcards.study} forecast_{wildcards.x}"


rule figure_tournament:
    """Every law by its error on what it had not seen."""
    input:
        lambda w: studies.open(w.study).paths.spec("figures", f"tournament_{w.x}"),
        "results/{study}/law/compare.json",
    output:
        svg=report(
            "results/{study}/figures/tournament_{x}.svg",
            caption="../report/tournament.rst",
            category="Forecasts",
            labels={"study": "{study}", "figure": "tournament_{x}"},
        ),
        png="results/{study}/figures/tournament_{x}.png",
        record="results/{study}/figures/tournament_{x}.svg.record.json",
    log:
        "results/{study}/logs/figure/tournament_{x}.log",
    wildcard_constraints:
        x="compute|samples",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["figure"],
    shell:
        "rlscale stage figure {wildcards.study} tournament_{wildcards.x}"


rule figure_reuse:
    """Test loss for each data reuse."""
    input:
        lambda w: studies.open(w.study).paths.spec("figures", "reuse"),
        "results/{study}/tables/curves.parquet",
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


rule figure_controls:
    """Is it the size or the base model: the slope k at equal base loss, and at equal size."""
    input:
        lambda w: studies.open(w.study).paths.spec("figures", "controls"),
        "results/{study}/tables/curves.parquet",
    output:
        svg=report(
            "results/{study}/figures/controls.svg",
            caption="../report/controls.rst",
            category="Controls",
            labels={"study": "{study}", "figure": "controls"},
        ),
        png="results/{study}/figures/controls.png",
        record="results/{study}/figures/controls.svg.record.json",
    log:
        "results/{study}/logs/figure/controls.log",
    conda:
        "../../envs/core.yaml"
    params:
        version=STAGE_VERSION["figure"],
    shell:
        "rlscale stage figure {wildcards.study} controls"


rule figure_factor:
    """Test loss for each level of a factor."""
    input:
        lambda w: studies.open(w.study).paths.spec("figures", w.factor),
        "results/{study}/tables/curves.parquet",
    output:
        svg=report(
            "results/{study}/figures/{factor}.svg",
            caption="../report/factor.rst",
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
