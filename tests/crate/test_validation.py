"""The crate of a study that Snakemake ran, before the judges: the validator of its profile, offline, and runcrate.

`make test-crate` sets up their environment, whose versions contradict ours (envs/crate.txt), and shows what they say.
"""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.clone import REPOSITORY, Clone, fresh_clone

JUDGES = REPOSITORY / ".venv-crate"
PROFILE = "provenance-run-crate-0.5"
AGENT = ("--agent", "Josiah Carberry", "--orcid", "0000-0002-1825-0097")

NOT_SAID = {
    "process-run-crate-0.5_3.2": "the stages of rlscale have no page of their own",
    "process-run-crate-0.5_5.1": "nor a URL that would name them, or one version of a library",
    "ro-crate-1.1_22.3": "a study has no publisher before it is published",
    "ro-crate-1.1_30.2": "the person's affiliation is not asked for",
    "ro-crate-1.1_30.3": "the same",
    "workflow-ro-crate-1.0_8.1": "that profile wants a workflow that is published under a URL",
}
"""What the profiles recommend and the crate cannot honestly say."""


OFFLINE = ("--offline", "--cache-path", JUDGES / "contexts")
"""The validator may only look into its cache, never into the network."""


def judged(*command: object) -> "subprocess.CompletedProcess[str]":
    words = [str(JUDGES / "bin" / str(command[0])), *map(str, command[1:])]
    return subprocess.run(words, text=True, capture_output=True, check=False, cwd=JUDGES)


def validator(crate: Path, severity: str, *options: object) -> "subprocess.CompletedProcess[str]":
    how = ("--no-paging", "--verbose", "-p", PROFILE, "-l", severity, *options)
    return judged("rocrate-validator", "-y", "--disable-color", "validate", *OFFLINE, *how, crate)


def validated(crate: Path, severity: str, report: Path) -> dict[str, Any]:
    """Return what the validator finds wrong in a folder."""
    done = validator(crate, severity, "-f", "json", "-o", report)
    assert report.is_file(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    assert done.returncode == (0 if found["passed"] else 1), done.stdout + done.stderr
    return found


def show(title: str, found: dict[str, Any]) -> None:
    """Print what the validator said, for CI to show."""
    statistics = {name: value for name, value in found["statistics"].items() if isinstance(value, int | float)}
    print(f"\n{title}: {'passed' if found['passed'] else 'failed'}; {json.dumps(statistics)}")
    for (check, severity, says), count in Counter(
        (issue["check"]["identifier"], issue["severity"], issue["message"]) for issue in found["issues"]
    ).items():
        print(f"  {count} x {severity} {check}: {says}")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the study `smoke` was run."""
    made = fresh_clone(tmp_path_factory.mktemp("clone"))
    made.snakemake("smoke")
    return made


@pytest.fixture(scope="module")
def crate(clone: Clone) -> Path:
    """Its crate, as a folder."""
    done = clone.rlscale("crate", "smoke", "--out", "crate", *AGENT)
    assert done.returncode == 0, done.stderr
    return clone / "crate"


def test_the_crate_keeps_the_profile_and_what_it_recommends(crate: Path, tmp_path: Path) -> None:
    found = validated(crate, "recommended", tmp_path / "report.json")
    show(f"{PROFILE}, required and recommended", found)
    assert {issue["severity"] for issue in found["issues"]} == {"RECOMMENDED"}
    assert {issue["check"]["identifier"] for issue in found["issues"]} == set(NOT_SAID)


def test_the_crate_with_weights_keeps_the_profile_as_a_zip_file(clone: Clone) -> None:
    done = clone.rlscale("crate", "smoke", "--with-checkpoints")
    assert done.returncode == 0, done.stderr
    judgement = validator(clone / "results/smoke.crate.zip", "required")  # as text: as JSON it fails on zip files
    print(judgement.stdout)
    assert judgement.returncode == 0, judgement.stdout + judgement.stderr


def test_the_validator_sees_what_is_missing(crate: Path, tmp_path: Path) -> None:
    """Or else a validator that finds no profile, or no context, would be content with everything."""
    spoilt = tmp_path / "spoilt"
    shutil.copytree(crate, spoilt)
    metadata = spoilt / "ro-crate-metadata.json"
    values = json.loads(metadata.read_text())
    control = next(entity for entity in values["@graph"] if entity["@type"] == "ControlAction")
    del control["instrument"]
    metadata.write_text(json.dumps(values))
    (spoilt / "results/smoke/law/fit.json").unlink()
    found = validated(spoilt, "required", tmp_path / "report.json")
    said = " ".join(issue["message"] for issue in found["issues"])
    assert not found["passed"]
    assert "A ControlAction must reference a HowToStep" in said
    assert "does not include the Data Entity 'results/smoke/law/fit.json'" in said


def test_runcrate_reads_every_job(clone: Clone, crate: Path) -> None:
    done = judged("runcrate", "report", crate)
    assert done.returncode == 0, done.stderr
    print(f"\n{done.stdout[:1500]}...")
    actions = done.stdout.split("\n\n")
    records = list((clone / "results/smoke").rglob("*.record.json"))
    assert sum(action.startswith("action: ") for action in actions) == len(records) + 1
    assert sum("  step: workflow/rules/" in action for action in actions) == len(records)
    (law,) = (action for action in actions if action.startswith("action: #run/smoke/law\n"))
    assert "results/smoke/tables/curves.parquet <- #law/input/curves" in law
    assert "results/smoke/law/fit.json <- #law/output/fit" in law
