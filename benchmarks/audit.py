"""What an audit costs: full beside `sha256sum` on the same files, and quick, in turn.

Run after `make run`: python benchmarks/audit.py [--study mini] [--repeats 5]. Files are in the page cache for all. The
exit code says whether a full audit has half of sha256sum's throughput, and a quick one takes under 2 seconds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

LEAST_THROUGHPUT = 0.5
MOST_SECONDS_QUICK = 2.0


def seconds(command: list[str]) -> float:
    """Return the wall time of a command; its exit code may be that of an audit that found something."""
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    assert done.returncode in {0, 1}, command
    return time.perf_counter() - began


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default="mini")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    study = arguments.study
    audit = [sys.executable, "-m", "rlscale", "audit", study]
    seconds(audit)
    files = list(json.loads(Path(f"results/{study}/audit/digests.json").read_text()))
    mebibytes = sum(os.path.getsize(file) for file in files) / 2**20  # noqa: PTH202
    commands = {"sha256sum": ["sha256sum", *files], "full audit": audit, "quick audit": [*audit, "--quick"]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.repeats):
        for name, command in commands.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{study}: {len(files):,} files, {mebibytes:,.0f} MiB, medians of {arguments.repeats}")
    for name, value in medians.items():
        print(f"{name:12} {value:6.2f} s  {mebibytes / value:7.0f} MiB/s")
    ratio = statistics.median(one / two for one, two in zip(times["sha256sum"], times["full audit"], strict=True))
    print(f"full audit: {ratio:.2f} of sha256sum's throughput")
    return int(ratio < LEAST_THROUGHPUT or medians["quick audit"] > MOST_SECONDS_QUICK)


if __name__ == "__main__":
    sys.exit(main())
