"""Resolves an environment's lock from its file of requirements and the package's own, from metadata only.

Run as a module it writes the locks that it is given; a test compares them with what is committed.
"""

import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PLATFORM = "x86_64-manylinux_2_28"
COMPILED = ("flash-attn",)
"""Installed after the lock (envs/train.post-deploy.sh): it has no wheel, and needs the lock's torch to be compiled."""


def resolved(lock: Path) -> str:
    """Return the lock as it resolves now, its own pins preferred.

    Raises:
        subprocess.CalledProcessError: the requirements contradict each other.
    """
    inputs = [str(lock.with_suffix(".in").relative_to(REPOSITORY)), "pyproject.toml"]
    left_out = [word for name in COMPILED for word in ("--no-emit-package", name)]
    command = [sys.executable, "-m", "uv", "pip", "compile", *inputs, "--python-platform", PLATFORM, *left_out]
    options = ["--python-version", "3.11", "--no-annotate", "--no-header", "--quiet", "--constraint", str(lock)]
    done = subprocess.run([*command, *options], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout


def pins(lock: str) -> list[str]:
    """Return the lines of a lock that pin something."""
    return [line for line in lock.splitlines() if line and not line.startswith("#")]


def main() -> None:
    """Write the locks anew, with the newest versions that go together."""
    for name in sys.argv[1:]:
        lock = (REPOSITORY / name).resolve()
        head = [line for line in lock.read_text().splitlines() if line.startswith("#")]
        lock.write_text("")
        lock.write_text("\n".join([*head, *pins(resolved(lock))]) + "\n")
        script = lock.with_suffix(".post-deploy.sh")
        digest = sha256(lock.read_bytes()).hexdigest()
        script.write_text(re.sub(r'"[0-9a-f]{64}  ', f'"{digest}  ', script.read_text()))


if __name__ == "__main__":
    main()
