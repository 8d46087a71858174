# A job of the shape of an OpenRLHF training on two nodes, with the resources that `rule train` asks for.
from rlscale.needs import Needs

NEEDS = Needs(nodes=2, gpus_per_node=2, cpus_per_node=3, memory_mb=4000, runtime_min=5, disk_mb=1)


rule two_nodes:
    output:
        "seen.json",
    resources:
        **NEEDS.resources(attempt=1),
    shell:
        "python -m tests.slurm.ray_job {output}"
