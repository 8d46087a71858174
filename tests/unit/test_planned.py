"""What a job's own process is told about its study is what planning would answer."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from rlscale.errors import UserError
from rlscale.needs import ON_ONE_CPU, RESOURCES, Needs, resource_functions
from rlscale.planned import PlannedStudies, PlannedStudy
from rlscale.workflow import OpenStudy

ROOT = Path(__file__).parents[2]
STAGES = ("train", "evaluate")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["smoke", "mini-full", "paper-63", "published"])
def test_a_job_is_told_what_planning_answers(name: str) -> None:
    study = OpenStudy(name, Path(f"config/studies/{name}.yaml"))
    planned = PlannedStudy(name)
    assert planned.paths == study.paths
    assert [planned.environment(stage) for stage in STAGES] == [study.environment(stage) for stage in STAGES]
    assert planned.curve_inputs() == study.curve_inputs()
    assert planned.law_inputs() == study.law_inputs()
    assert planned.findings_inputs() == study.findings_inputs()
    for run_id in study.grid.runs if study.grid else ():
        assert planned.training_inputs(run_id) == study.training_inputs(run_id)
        assert [planned.needs(stage, run_id) for stage in STAGES] == [study.needs(stage, run_id) for stage in STAGES]


def test_opening_again_writes_nothing(tmp_path: Path) -> None:
    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.json")}

    OpenStudy("smoke", Path("config/studies/smoke.yaml"))
    before = times()
    OpenStudy("smoke", Path("config/studies/smoke.yaml"))
    assert times() == before
    assert len(before) > 20


def test_a_study_that_was_never_planned_is_refused() -> None:
    with pytest.raises(UserError, match=r"no file results/smoke/specs/study/jobs.json: Snakemake writes it"):
        PlannedStudies({}).open("smoke")


def test_needs_are_asked_once_for_all_resources_of_an_attempt() -> None:
    asked: list[tuple[str, str]] = []

    def needs(study: str, run: str) -> Needs:
        asked.append((study, run))
        return ON_ONE_CPU

    functions = resource_functions(needs)
    assert tuple(functions) == RESOURCES
    of_job = SimpleNamespace(study="smoke", run="one")
    for attempt in (1, 1, 2):
        assert {name: ask(of_job, attempt) for name, ask in functions.items()} == ON_ONE_CPU.resources(attempt)
    assert asked == [("smoke", "one")] * 2
