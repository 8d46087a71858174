"""Does what a page of the documentation says: its console blocks in one shell, its diffs, and compares the output."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HERE = re.compile(r"<<'(\w+)'$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command of a console block, and what the page says that it prints."""

    text: str
    output: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [Block(*found) for found in _FENCE.findall(page.read_text())]


def commands(block: str) -> list[Command]:
    """Return the commands of a console block: lines after ``$ ``, with their here-documents."""
    found: list[Command] = []
    lines = iter(block.splitlines())
    output: list[str] = []
    text = ""
    for line in lines:
        if line.startswith("$ "):
            if text:
                found.append(Command(text, "\n".join(output)))
            text, output = line.removeprefix("$ "), []
            if here := _HERE.search(text):
                text = "\n".join([text, *_until(here[1], lines)])
        else:
            output.append(line)
    return [*found, Command(text, "\n".join(output))]


def matches(expected: str, said: str) -> bool:
    """Whether an output is as a page has it: ``...`` is anything, and runs of spaces are one."""
    words = [re.escape(" ".join(part.split())) for part in expected.split("...")]
    return re.fullmatch(r"\s*" + r".*".join(words) + r"\s*", " ".join(said.split()), re.DOTALL) is not None


class Shell:
    """One shell, in which one command after the other is run."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env={**environment, "COLUMNS": "160", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, text: str) -> str:
        """Return what a command prints; it must succeed."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{text}\nprintf '\\n=DONE=%s\\n' $?\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            if line.startswith("=DONE="):
                assert line == "=DONE=0\n", f"{text}\n{''.join(said)}"
                return "".join(said)
            said.append(line)
        raise AssertionError(f"the shell ended at: {text}\n{''.join(said)}")

    def close(self) -> None:
        """End the shell."""
        assert self._process.stdin
        self._process.stdin.close()
        assert self._process.stdout
        self._process.stdout.close()
        assert self._process.wait(timeout=60) is not None


def walk(shell: Shell, block: str, instead: Mapping[str, str]) -> int:
    """Run a console block; ``instead`` has what is run in the place of some commands. Return how many there were."""
    found = commands(block)
    for command in found:
        said = shell.run(instead.get(command.text, command.text))
        if command.text not in instead:
            assert matches(command.output, said), f"$ {command.text}\n{said}\n--- the page says\n{command.output}"
    return len(found)


def _until(end: str, lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line == end:
            return
