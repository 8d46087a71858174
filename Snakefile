# rlscale: from a study's configuration to its tables, fits and figures.
#
#   snakemake                        the default study (mini)
#   snakemake STUDY                  a study of config/studies
#   snakemake --config study=PATH    a study of your own
#
# Rules are thin: what a study is made of is asked of rlscale.workflow, and each job is one `rlscale stage` command.
import gc
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from rlscale import forkserver
from rlscale.errors import UserError
from rlscale.workflow import (
    STAGE_VERSION,
    PlannedStudies,
    Studies,
    cancel_timers,
    check_cluster,
)

min_version("9.27")

# A plan is a million objects that stay; looking through them as often as Python does by default takes a tenth of the
# time that planning takes (benchmarks/LOG.md).
gc.set_threshold(100_000, 50, 100)

# Jobs find the `rlscale` of the environment that Snakemake runs in, unless one of their own is deployed.
own = Path(sys.executable).parent
is_deployed = bool(workflow.deployment_settings.deployment_method)
shell.prefix(f"PATH=$PATH:{own}; " if is_deployed else f"PATH={own}:$PATH; ")

# The Snakemake process of a job plans nothing: it asks what the one that started it wrote down.
try:
    studies = Studies(config) if workflow.is_main_process else PlannedStudies(config)
except UserError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    study=r"[^/]+",


rule all:
    default_target: True
    input:
        lambda wildcards: studies.targets(studies.default),


for shipped in studies.files:

    rule:
        name:
            shipped
        input:
            lambda wildcards, study=shipped: studies.targets(study),


include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/curves.smk"
include: "workflow/rules/law.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


if workflow.is_main_process and (gpus := studies.planned_gpus(sys.argv[1:])):
    print(gpus, file=sys.stderr)


# Moments of work: beside a cluster, they are done where Snakemake runs.
localrules:
    pool,
    suites,
    curves,
    findings,
    metrics,
    report,


onstart:
    try:
        check_cluster(workflow.executor_settings, workflow.dag.needrun_jobs())
    except UserError as error:
        raise WorkflowError(str(error)) from None
    if workflow.local_exec:  # jobs of this machine need not import torch one by one
        os.environ[forkserver.ADDRESS] = forkserver.address(
            workflow.snakemake_tmp_dir
        )


onsuccess:
    cancel_timers()


onerror:
    cancel_timers()
    print(
        "Some job failed; each has one log: results/STUDY/logs/STAGE/NAME.log",
        file=sys.stderr,
    )
