"""What a person meets at a terminal: help and its examples, JSON, colours, widths, completion, usage errors."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.results_tree import copy_workflow, finish_study
from tests.terminal import environment, in_a_terminal

from rlscale import cli
from rlscale.cli_examples import EXAMPLES
from rlscale.cli_terminal import Column, FittedTable
from rlscale.config import find_study, load_grid, shipped_studies
from rlscale.files import write_json
from rlscale.fit import fit_points
from rlscale.fitting.law_fits import LAWS
from rlscale.paths import StudyPaths
from rlscale.plan.hardware import GPUS
from rlscale.points import read_points

ROOT = Path(__file__).parents[2]
POINTS = "config/data/tan2025_base_curves.csv"
COMMANDS = {name: one for name, one in typer.main.get_command(cli.app).commands.items() if not one.hidden}
ESCAPE = "\x1b"

QUICK = (
    *("validate mini", "cells mini", "cells paper-63 --json", f"fit {POINTS} --x compute", "findings mini"),
    *("plan published --budget 500gpuh --gpu A100", "summary mini"),
    *("plan published --from-size 7e9 --at-compute 1e19 --budget 2e19", "audit mini", "gc mini --dry-run"),
    *("status mini", "status mini --state failed,stopped", "status mini --run 'q12k_*' --json"),
    *("diff mini ../other-clone . --exit-code", "jobs", "grade answers.jsonl"),
)
"""Examples that are run; the others need Slurm's jobs, files of one's own, or many seconds."""

FINDING = {
    "id": "compute_efficiency",
    "claim": "Larger models learn faster: the slope grows with size.",
    "verdict": "supported",
    "effect": {"unit": "log10 loss", "estimate": 0.2, "low": 0.1, "high": 0.3, "level": 0.9},
    "p": 0.01,
    "p_holm": 0.02,
    "evidence": "The slope is 0.178 at one size and 0.521 at another.",
    "would_decide": "More base models.",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a made-up study `mini`, a fit of the study `published`, and a Slurm without jobs."""
    folder = tmp_path_factory.mktemp("terminal") / "clone"
    folder.mkdir()
    copy_workflow(folder)
    shutil.copy(folder / "config/studies/smoke.yaml", folder / "config/studies/mini.yaml")
    before = Path.cwd()
    os.chdir(folder)
    try:
        paths = finish_study("mini")
        fit = fit_points(read_points(Path(POINTS)), x="compute", loss="linear", intervals="bootstrap", draws=100)
        for study in (paths, StudyPaths("published")):
            write_json(study.fit, {"fits": {"compute_linear": fit.to_json()}})
        write_json(paths.findings, {"findings": [FINDING], "reuse": None})
    finally:
        os.chdir(before)
    (folder / "answers.jsonl").write_text('{"answer": "1/2", "gold": "0.5"}\n')
    (folder / "squeue").write_text("#!/bin/sh\n")
    (folder / "squeue").chmod(0o755)
    shutil.copytree(folder, folder.parent / "other-clone")
    return folder


@pytest.fixture
def there(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(finished)
    monkeypatch.setenv("PATH", f"{finished}{os.pathsep}{os.environ['PATH']}")
    return finished


def examples(run: Any, command: str) -> list[str]:
    """Return the examples that the help of a command shows in a terminal of 80 columns."""
    code, out, _ = run(command, "--help")
    assert code == 0
    _, _, said = out.partition("Examples:")
    return [line.strip() for line in said.splitlines() if line.strip()]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_ends_with_examples_that_are_command_lines(command: str, run: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "--json" in {word for option in COMMANDS[command].params for word in option.opts}
    shown = examples(run, command)
    assert shown == [f"rlscale {line}" for line in EXAMPLES[command]]  # none is folded
    for line in shown:
        name, *argv = shlex.split(line)[1:]
        assert name == command
        with COMMANDS[name].make_context(name, argv):
            pass


def test_no_example_is_of_a_command_that_is_not_there():
    assert set(EXAMPLES) == set(COMMANDS)
    assert set(QUICK) <= {line for lines in EXAMPLES.values() for line in lines}


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("line", QUICK)
def test_an_example_runs_and_its_json_parses(line: str, run: Any):
    argv = shlex.split(line)
    code, out, err = run(*argv)
    assert code in {0, int(argv[0] == "audit")}, err  # the fits were put there afterwards, and an audit says so
    assert ESCAPE not in out + err
    if "--json" not in argv:
        assert out
        out = run(*argv, "--json")[1]
    assert json.loads(out)


@pytest.mark.parametrize(
    ("changes", "is_coloured"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colour_in_a_terminal(changes: dict[str, str], is_coloured: bool, finished: Path):
    shown = in_a_terminal("findings", "mini", cwd=finished, **changes)
    assert "SUPPORTED" in shown
    assert (ESCAPE in shown) == is_coloured
    if is_coloured:
        assert f"{ESCAPE}[1;32mSUPPORTED{ESCAPE}[0m" in shown


@pytest.mark.parametrize(("changes", "is_coloured"), [({}, False), ({"FORCE_COLOR": "1"}, True)])
def test_colour_in_a_pipe(changes: dict[str, str], is_coloured: bool, finished: Path):
    command = [sys.executable, "-m", "rlscale", "findings", "mini"]
    done = subprocess.run(command, cwd=finished, env=environment(changes), capture_output=True, text=True, check=True)
    assert (ESCAPE in done.stdout) == is_coloured
    assert f"    {FINDING['evidence']} (p = 0.01, 0.02 after Holm)" in done.stdout  # not folded


@pytest.mark.parametrize("columns", [80, 140])
def test_a_wide_table_keeps_ids_and_numbers_whole(columns: int):
    shown = in_a_terminal("cells", "paper-63", cwd=ROOT, columns=columns, NO_COLOR="1")
    runs = load_grid(ROOT / find_study("paper-63"))[2].runs
    assert all(len(line) <= columns for line in shown.splitlines())
    assert "…" not in shown
    assert set(runs) <= set(re.findall(r"^\S+", shown, re.MULTILINE))
    assert ("not shown for want of width: " in shown) == (columns == 80)
    assert "1.162e+22 FLOPs" in shown


CELLS = st.text("abc123_", min_size=1, max_size=12)


@given(
    rows=st.integers(1, 3),
    kinds=st.lists(st.tuples(st.sampled_from(["id", "number", "word"]), st.integers(0, 3)), min_size=1, max_size=9),
    width=st.integers(30, 160),
    data=st.data(),
)
def test_a_table_fits_and_says_what_it_leaves_out(
    rows: int, kinds: list[tuple[Any, int]], width: int, data: st.DataObject
):
    columns = [
        Column(f"head {index}", data.draw(st.lists(CELLS, min_size=rows, max_size=rows)), kind, spare if index else 0)
        for index, (kind, spare) in enumerate(kinds)
    ]
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(FittedTable(columns, "title"))
    shown = file.getvalue()
    assert all(len(line) <= width for line in shown.splitlines())
    table, _, left_out = shown.partition("not shown for want of width: ")
    gone = " ".join(left_out.split()).split(", ") if left_out else []
    cells = table.split()
    for column in columns:
        assert column.spare if column.name in gone else set(column.cells) <= set(cells)


def completed(run: Any, monkeypatch: pytest.MonkeyPatch, shell: str, *words: str) -> list[str]:
    """Return what is offered for the last word."""
    line = shlex.join(["rlscale", *words[:-1]]) + f" {words[-1]}"
    monkeypatch.setenv("_RLSCALE_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    code, out, _ = run()
    assert code == 0
    monkeypatch.delenv("_RLSCALE_COMPLETE")
    return list(out.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("stat",), ["status"]),
        (("validate", ""), list(shipped_studies())),
        (("cells", "paper-"), ["paper-54", "paper-63"]),
        (("validate", "config/studies/mini-"), ["config/studies/mini-full.yaml", "config/studies/mini-programs.yaml"]),
        (("validate", "none"), []),
        (("plan", "config/data/tan2025_base_l"), ["config/data/tan2025_base_lines.csv"]),
        (("plan", "x.csv", "--gpu", "H1"), [name for name in GPUS if name.startswith("H1")]),
        (("fit", "x.csv", "--law", ""), list(LAWS)),
        (("fit", "x.csv", "--loss", "l"), ["linear", "log"]),
        (("status", "smoke", "--run", "q12k"), ["q12k_base_b0_s0"]),
        (("status", "none", "--run", ""), []),
        (("status", "smoke", "--state", "st"), ["stopped"]),
        (("gc", "mini", "--dry"), ["--dry-run"]),
    ],
)
def test_bash_is_offered(words: tuple[str, ...], offered: list[str], run: Any, monkeypatch: pytest.MonkeyPatch):
    assert completed(run, monkeypatch, "bash", *words) == offered


@pytest.mark.usefixtures("there")
def test_studies_with_results_are_offered_for_an_audit_and_a_plan(run: Any, monkeypatch: pytest.MonkeyPatch):
    assert completed(run, monkeypatch, "bash", "audit", "m") == ["mini"]
    assert completed(run, monkeypatch, "bash", "plan", "") == ["mini", "published"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_the_same(shell: str, run: Any, monkeypatch: pytest.MonkeyPatch):
    assert {"paper-54", "paper-63"} <= set(
        re.findall(r"[\w.-]+", " ".join(completed(run, monkeypatch, shell, "cells", "paper-")))
    )


def test_a_real_bash_completes():
    script = 'eval "$(_RLSCALE_COMPLETE=source_bash rlscale)"; COMP_WORDS=(rlscale cells paper-); COMP_CWORD=2; '
    script += '_rlscale_completion rlscale; echo "${COMPREPLY[@]}"'
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "paper-54 paper-63\n"


def test_the_help_loads_no_library_of_the_commands():
    check = "import sys, rlscale.cli; print({'pydantic', 'numpy', 'ruamel.yaml', 'rich.table'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (("statsu", "mini"), "Did you mean 'status'?"),
        (("cells", "mini", "--jsno"), "--json"),
        (("status", "smoke", "--run", "q12k_base_b0_s"), "did you mean q12k_base_b0_s0?"),
    ],
)
def test_a_slip_is_told_the_nearest_match(argv: tuple[str, ...], near: str, run: Any):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert near in err


def test_jobs_of_one_study(there: Path, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    comments = (
        "rule_train_wildcards_mini_q3k",
        "rule_train_wildcards_mini-full_q3k",
        "rule_curves_wildcards_mini",
        "rule_g",
        "rule_train_wildcards_mini_wide_q3k",
    )
    (there / "results/mini_wide").mkdir(parents=True)  # another study, whose name begins with that of the first
    lines = [f"{number}\tRUNNING\t{comment}\tn1\tNone\t{there}" for number, comment in enumerate(comments, 1)]
    (tmp_path / "said").write_text("\n".join(lines) + "\n")
    (tmp_path / "squeue").write_text(f"#!/bin/sh\ncat {tmp_path}/said\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    code, out, err = run("jobs", "--study", "mini", "--json")
    assert (code, [job["job_id"] for job in json.loads(out)["jobs"]]) == (0, ["1", "3"])
    assert err == "warning: 1 group job(s) are left out: of which study is not known\n"
    assert len(json.loads(run("jobs", "--json")[1])["jobs"]) == 5
