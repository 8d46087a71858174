"""A terminal for the tests: a command is run in it, and what it shows is returned."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

COLOUR = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "GITHUB_ACTIONS", "PY_COLORS")


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without what decides about colours and width, but for the changes."""
    return {name: value for name, value in os.environ.items() if name not in COLOUR} | {"TERM": "xterm"} | changes


def in_a_terminal(*argv: str, cwd: Path, columns: int = 80, **changes: str) -> str:
    """Run `rlscale` in a terminal of its own and return what it showed, escape codes included."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [sys.executable, "-m", "rlscale", *argv]
    with subprocess.Popen(command, cwd=cwd, env=environment(changes), stdin=its, stdout=its, stderr=its):
        os.close(its)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")
