"""What is done to the results of a study, and what its audit says of each: run in a clone by test_audit.

Prints a JSON object: by kind of artefact, the file; by fault, what the audit found; None where a fault does not apply.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rlscale.audit import audit_study

STUDY = "smoke"
RESULTS = Path("results") / STUDY
ONE, OTHER = (RESULTS / "runs" / run for run in ("q3k_base_b0_s0", "q5k_base_b0_s0"))
WEIGHTS = "checkpoints/step-000002/model.safetensors"
FAULTS = ("flipped byte", "deleted", "replaced by another's", "changed, old time restored", "back-dated")


def kinds() -> dict[str, tuple[Path, Path | None]]:
    """Return for each kind of artefact a file, and one of the same kind; None where a study has one only."""
    states = [next((RESULTS / "resume" / run.name).glob("*/step-*/state.safetensors")) for run in (ONE, OTHER)]
    of_runs = {name: f"{name}.parquet" for name in ("steps", "rollouts", "scores")}
    return {
        "data": (RESULTS / "data/pools/chain.parquet", RESULTS / "data/suites.parquet"),
        "checkpoint weights": (ONE / WEIGHTS, OTHER / WEIGHTS),
        "trainer state": (states[0], states[1]),
        **{name: (ONE / file, OTHER / file) for name, file in of_runs.items()},
        "curves": (RESULTS / "tables/curves.parquet", None),
        "fit": (RESULTS / "law/fit.json", None),
        "figure": (RESULTS / "figures/slope_compute.svg", RESULTS / "figures/reuse.svg"),
        "record": (ONE / "scores.parquet.record.json", OTHER / "scores.parquet.record.json"),
        "record of a training": (ONE / "steps.parquet.record.json", OTHER / "steps.parquet.record.json"),
        "specification": (ONE / "cell.json", OTHER / "cell.json"),
        "study file": (Path("config/studies/smoke.yaml"), Path("config/studies/mini.yaml")),
        "ladder file": (Path("config/models/smoke.yaml"), Path("config/models/mini.yaml")),
        "source code": (Path("src/rlscale/models/decoder.py"), Path("src/rlscale/models/forest.py")),
        "lock file": (Path("envs/core.txt"), Path("envs/eval.txt")),
    }


@contextmanager
def tampered(path: Path, fault: str, other: Path | None) -> Iterator[None]:
    """Do something to a file, and undo it."""
    data, status = path.read_bytes(), path.stat()
    old = (status.st_atime_ns, status.st_mtime_ns)
    middle = len(data) // 2
    if fault == "flipped byte":
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif fault == "deleted":
        path.unlink()
    elif other is not None and fault == "replaced by another's":
        shutil.copy2(other, path)
    elif fault == "changed, old time restored":
        path.write_bytes(data[:-3] + b"abc")
        os.utime(path, ns=old)
    else:
        os.utime(path, (10**9, 10**9))
    yield
    path.write_bytes(data)
    os.utime(path, ns=old)


def found(*, quick: bool = False) -> list[dict[str, object]]:
    return [asdict(fault) for fault in audit_study(STUDY, quick=quick).faults]


def main() -> None:
    said: dict[str, object] = {}
    for kind, (path, other) in kinds().items():
        audits: dict[str, object] = {"file": str(path)}
        for fault in FAULTS:
            if other is None and fault == "replaced by another's":
                audits[fault] = None
                continue
            with tampered(path, fault, other):
                # A restored time must not deceive an audit that looks at times.
                audits[fault] = found(quick=fault == "changed, old time restored")
        said[kind] = audits
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "unrelated"], check=True)
    json.dump(said | {"unrelated commit": found()}, sys.stdout)


if __name__ == "__main__":
    main()
