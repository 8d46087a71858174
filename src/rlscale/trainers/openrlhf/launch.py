"""The process that runs OpenRLHF: ``python -m rlscale.trainers.openrlhf.launch SETTINGS OPTION...``.

It starts a Ray of its own, or joins the one that the settings name, puts the planned strategy in the place of
OpenRLHF's, and runs OpenRLHF's own command. It ends with its parent.
"""

import ctypes
import os
import runpy
import signal
import sys
import time
from functools import partial
from pathlib import Path

from rlscale.files import read_json
from rlscale.trainers.openrlhf.cluster import LOCAL
from rlscale.trainers.openrlhf.process import EXTENSIONS
from rlscale.trainers.openrlhf.referee import SETTINGS

PR_SET_PDEATHSIG = 1
SECONDS_TO_JOIN = 300.0
PASSED_ON = {"TOKENIZERS_PARALLELISM": "true", "NCCL_DEBUG": "WARN", "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1"}
"""What OpenRLHF would pass on to Ray's workers if it started Ray itself, with its defaults."""


def main() -> None:
    """Run OpenRLHF."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    settings_path = Path(sys.argv[1])
    settings = read_json(settings_path)

    import openrlhf.utils
    import ray

    from rlscale.trainers.openrlhf.strategy import PlannedStrategy

    passed_on = {name: os.environ.get(name, value) for name, value in PASSED_ON.items()}
    passed_on[EXTENSIONS] = os.environ[EXTENSIONS]
    address = settings["ray"]["address"]
    own = {"include_dashboard": False, "_temp_dir": settings["ray"]["folder"]} if address == LOCAL else {}
    ray.init(
        address=address,
        runtime_env={
            "env_vars": passed_on | {SETTINGS: str(settings_path)},
            "worker_process_setup_hook": "rlscale.trainers.openrlhf.worker.forbid_remote_code",
        },
        **own,
    )
    _wait_for_gpus(settings["gpus"])
    openrlhf.utils.get_strategy = partial(PlannedStrategy, settings["budgets"])
    sys.argv = ["openrlhf.cli.train_ppo_ray", *sys.argv[2:]]
    runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__", alter_sys=True)


def _wait_for_gpus(count: int) -> None:
    """Wait until all nodes have joined: OpenRLHF would wait for a missing GPU for ever, and say nothing.

    Raises:
        TimeoutError: some have not come.
    """
    import ray

    deadline = time.monotonic() + SECONDS_TO_JOIN
    while (there := ray.cluster_resources().get("GPU", 0)) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Ray has {there:.0f} of {count} GPUs after {SECONDS_TO_JOIN:.0f} s")
        time.sleep(1.0)


if __name__ == "__main__":
    main()
