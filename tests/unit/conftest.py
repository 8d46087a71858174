"""The command line as a function, for the tests of commands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rlscale import cli

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command: its exit code, stdout and stderr."""

    def run_cli(*argv: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(list(argv))
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run_cli
