"""Which code a stage's results depend on."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlscale import sources
from rlscale.sources import BOOKKEEPING, function_digest, source_file, stage_sources
from rlscale.stage_versions import STAGE_VERSION


def modules(stage: str, adapter: str | None = None) -> set[str]:
    return {name.removeprefix("rlscale/").removesuffix(".py") for name in stage_sources(stage, adapter)}


@pytest.mark.parametrize("stage", STAGE_VERSION)
def test_every_stage_has_code_and_none_depends_on_what_only_watches(stage: str):
    found = modules(stage, "local" if stage in {"train", "evaluate"} else None)
    assert not found & BOOKKEEPING
    assert not {name for name in found if name.startswith(("cli", "audit", "planned", "workflow", "status"))}
    assert all(source_file(name).is_file() for name in stage_sources(stage, None))


def test_a_stage_has_its_own_modules_and_not_those_of_others():
    assert {"trainers/local/trainer", "models/decoder", "tasks/subsets"} <= modules("train", "local")
    assert not {name for name in modules("train", "local") if "openrlhf" in name}
    assert "models/decoder" not in modules("grade")
    assert "grading/equivalence" in modules("grade")
    assert "grading/equivalence" not in modules("train", "local")
    assert "figures/style" not in modules("law")


def test_templates_and_scripts_of_the_page_count():
    found = modules("report")
    assert {"report/planner/planner.js", "report/page.html.j2", "report/vendor/plotly-basic.min.js"} <= found
    assert not {name for name in modules("figure") if name.startswith("report")}


def test_what_runs_in_a_process_of_its_own_counts():
    assert "grading/child" in modules("grade")
    assert "evaluators/vllm_child" in modules("evaluate", "vllm")
    assert {"trainers/openrlhf/launch", "trainers/openrlhf/reward"} <= modules("train", "openrlhf")


def test_a_trainer_in_one_file_counts_with_what_it_imports_and_for_its_own_runs_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "rlscale"
    shutil.copytree(sources.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(sources.PACKAGE.parents[1] / "docs/examples/averaged.py", package / "trainers")
    monkeypatch.setattr(sources, "PACKAGE", package)
    stage_sources.cache_clear()
    own, local = modules("train", "averaged"), modules("train", "local")
    stage_sources.cache_clear()
    assert own - local == {"trainers/averaged"}
    assert "trainers/local/trainer" in own


def test_all_that_a_job_imports_of_the_package_counts(tmp_path: Path):
    """What `rlscale stage curves` has loaded when it is done, apart from the command line and the bookkeeping."""
    shown = "import sys; from rlscale.stages.results import curves\ntry: curves('none')\nexcept OSError: pass\n"
    shown += "print(*(name for name in sys.modules if name.startswith('rlscale.')))"
    done = subprocess.run([sys.executable, "-c", shown], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = {name.removeprefix("rlscale.").replace(".", "/") for name in done.stdout.split()}
    watching = {"stages", "stages/report", "stages/runs", "stages/results"} | BOOKKEEPING
    watching |= {"canonical"}  # records need canonical JSON
    known = {name.removesuffix("/__init__") for name in modules("curves")}
    assert loaded - watching <= known


def test_an_edit_of_one_stage_concerns_that_stage_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "rlscale"
    shutil.copytree(sources.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", package)
    before = {name: function_digest("rlscale/stages/runs.py", name) for name in ("pool", "grade", "train")}
    file = package / "stages/runs.py"
    file.write_text(file.read_text().replace("table = _task(", "table =  _task(", 1))
    sources._tree.cache_clear()
    after = {name: function_digest("rlscale/stages/runs.py", name) for name in before}
    assert [name for name in before if before[name] != after[name]] == ["pool"]
    assert None not in before.values()
    file.write_text("def pool(:\n")
    sources._tree.cache_clear()
    assert function_digest("rlscale/stages/runs.py", "pool") is None
    assert function_digest("rlscale/stages/absent.py", "pool") is None
