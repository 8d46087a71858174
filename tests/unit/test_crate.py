"""What `rlscale crate` exports and what it refuses; whether a crate keeps the profile, tests/crate asks a validator."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.results_tree import STARTED, copy_workflow, finish_study

from rlscale.crate import Options, export_crate, orcid_url
from rlscale.errors import UserError
from rlscale.files import write_json
from rlscale.paths import StudyPaths, record_of
from rlscale.provenance import drop_weights, git_state, write_record
from rlscale.records import DamagedRecordError, read_record

STUDY = Path("config/studies/smoke.yaml")
RUN = "q3k_base_b0_s0"
PAIRS = (
    "conformsTo",
    "hasPart",
    "object",
    "result",
    "instrument",
    "workExample",
    "connection",
    "exampleOfWork",
    "step",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder outside every repository, with a finished study."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
        patch.delenv("SLURM_JOB_ID", raising=False)
        git_state.cache_clear()
        copy_workflow(folder)
        finish_study("smoke")
        yield folder
    git_state.cache_clear()


@pytest.fixture
def paths(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    """A finished study in the current folder, to do as one likes with."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return StudyPaths("smoke")


Entities = dict[str, dict[str, Any]]


def entities(crate: Path) -> Entities:
    """Return the entities of a crate by id; every id stands once."""
    if crate.suffix == ".zip":
        text = zipfile.ZipFile(crate).read("ro-crate-metadata.json")
    else:
        text = (crate / "ro-crate-metadata.json").read_bytes()
    graph = json.loads(text)["@graph"]
    found = {entity["@id"]: entity for entity in graph}
    assert len(found) == len(graph)
    return found


def refs(entity: dict[str, Any], name: str) -> list[str]:
    value = entity.get(name, [])
    return [one["@id"] for one in (value if isinstance(value, list) else [value])]


def of_type(found: Entities, kind: str) -> list[dict[str, Any]]:
    return [
        one for one in found.values() if kind in (one["@type"] if isinstance(one["@type"], list) else [one["@type"]])
    ]


def exported(**options: Any) -> Entities:
    return entities(export_crate(STUDY, Path("out"), Options(**options)).path)


def test_every_record_is_an_action_with_what_it_read_and_made(paths: StudyPaths) -> None:
    found = exported()
    actions = of_type(found, "CreateAction")
    records = list(paths.root.rglob("*.record.json"))
    assert len(actions) == len(records) + 1  # and the run of the whole
    record = read_record(record_of(paths.steps(RUN)))
    action = found[f"#run/smoke/train/{RUN}"]
    assert (action["startTime"], action["endTime"]) == (record.started, record.ended)
    carried = [str(paths.cell(RUN)), str(paths.pool("chain"))]
    assert sorted(refs(action, "object")) == sorted([f"#{paths.base('q3k_base_b0')}/", *carried])
    assert f"#{paths.checkpoint(RUN, 12)}/" in refs(action, "result")
    assert str(record_of(paths.steps(RUN))) in refs(action, "result")
    tool = found[refs(action, "instrument")[0]]
    assert tool["name"] == "rlscale stage train"
    libraries = {found[ref]["name"]: found[ref]["softwareVersion"] for ref in refs(tool, "softwareRequirements")}
    assert libraries == {"Python": record.environment.python, **record.environment.libraries}
    facts = {found[ref]["name"]: found[ref]["value"] for ref in refs(action, "additionalProperty")}
    assert facts["derivation"] == record.derivation
    assert facts["lock_sha256"] == record.environment.lock_sha256
    assert facts["seed"] == 0
    usage = found[refs(action, "resourceUsage")[0]]
    assert usage["value"] == record.cpu_seconds


def test_whatever_is_referred_to_is_there(paths: StudyPaths) -> None:  # noqa: ARG001
    found = exported()
    for entity in found.values():
        for name in PAIRS if entity["@id"] != "ro-crate-metadata.json" else ():  # which names the specification
            assert set(refs(entity, name)) <= set(found), (entity["@id"], name)


def test_files_are_carried_as_they_are_and_weights_described(paths: StudyPaths) -> None:
    found = exported()
    for name, entity in found.items():
        if "sha256" in entity:
            described = Path(name.removeprefix("#")).read_bytes()
            assert (str(len(described)), hashlib.sha256(described).hexdigest()) == (
                entity["contentSize"],
                entity["sha256"],
            )
            assert (Path("out") / name).is_file() != name.startswith("#")
    assert {path.name for path in Path("out").rglob("*.safetensors")} == set()
    assert found[str(paths.figure("reuse", "svg"))]["encodingFormat"] == "image/svg+xml"
    weights = found[f"#{paths.checkpoint(RUN, 12)}/model.safetensors"]
    assert weights in [found[ref] for ref in refs(found[f"#{paths.checkpoint(RUN, 12)}/"], "hasPart")]


def test_weights_come_along_when_asked_for_but_those_that_were_dropped(paths: StudyPaths) -> None:
    drop_weights(paths.checkpoint(RUN, 1), "evaluated; keep_checkpoints is last")
    found = exported(with_checkpoints=True)
    kept, dropped = paths.checkpoint(RUN, 12), paths.checkpoint(RUN, 1)
    assert (Path("out") / kept / "model.safetensors").read_bytes() == (kept / "model.safetensors").read_bytes()
    assert f"{kept}/model.safetensors" in refs(found[f"{kept}/"], "hasPart")
    assert "removed on purpose: evaluated" in found[f"#{dropped}/"]["description"]
    assert not (Path("out") / dropped).exists()


def test_steps_follow_what_flows_between_them(paths: StudyPaths) -> None:  # noqa: ARG001
    found = exported()
    positions: dict[str, int] = {}
    for step in of_type(found, "HowToStep"):
        for tool in refs(step, "workExample"):
            for output in refs(found[tool], "output"):
                positions[output] = int(step["position"])
    flows = 0
    for step in of_type(found, "HowToStep"):
        for flow in refs(step, "connection"):
            flows += 1
            (source,) = refs(found[flow], "sourceParameter")
            assert positions[source] < int(step["position"]), flow
            assert refs(found[flow], "targetParameter")[0] in refs(found[refs(step, "workExample")[0]], "input")
    assert flows > 20
    rules = {step["@id"] for step in of_type(found, "HowToStep")}
    assert {"workflow/rules/train.smk#train", "workflow/rules/figures.smk#figure_loss"} <= rules
    assert all(step["description"] for step in of_type(found, "HowToStep"))


def test_settings_are_parameters_of_the_workflow(paths: StudyPaths) -> None:  # noqa: ARG001
    found = exported()
    values = {one["name"]: one for one in of_type(found, "PropertyValue") if one["@id"].startswith("#setting/")}
    rate = values["training.learning_rate"]
    assert rate["value"] == 0.004
    role = found[refs(rate, "exampleOfWork")[0]]
    assert (role["name"], role["additionalType"]) == ("training.learning_rate", "Float")
    assert role["@id"] in refs(found["Snakefile"], "input")
    assert values["budgets"]["value"] == "[1,2,3,4,6,8,10,12]"


def test_the_same_study_gives_the_same_bytes(paths: StudyPaths) -> None:
    export_crate(STUDY, paths.crate, Options())
    first = paths.crate.read_bytes()
    export_crate(STUDY, paths.crate, Options())
    assert paths.crate.read_bytes() == first
    export_crate(STUDY, Path("out"), Options())
    with zipfile.ZipFile(paths.crate) as archive:
        files = {str(path.relative_to("out")): path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_a_job_of_slurm_says_its_number(paths: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    finish_study("smoke")
    found = exported()
    (variable,) = refs(found["#run/smoke/law"], "environment")
    assert (found[variable]["name"], found[variable]["value"]) == ("SLURM_JOB_ID", "17")
    assert refs(found[variable], "exampleOfWork") == ["#environment/SLURM_JOB_ID"]


def test_who_ran_it_and_under_which_licence_is_said(paths: StudyPaths) -> None:  # noqa: ARG001
    url = orcid_url("0000-0002-1825-0097", "Josiah Carberry")
    found = exported(agent="Josiah Carberry", orcid=url, licence="CC-BY-4.0")
    assert refs(found["#run/smoke/law"], "agent") == refs(found["./"], "author") == [url]
    assert refs(found["./"], "license") == ["https://spdx.org/licenses/CC-BY-4.0"]
    assert "agent" not in exported()["#run/smoke/law"]


def test_a_study_of_another_folder_comes_along(paths: StudyPaths, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "smoke.yaml"
    elsewhere.write_bytes(STUDY.read_bytes())
    found = entities(export_crate(elsewhere, paths.crate, Options()).path)
    assert str(STUDY) in refs(found["#run/smoke"], "object")


def _no_record(paths: StudyPaths) -> None:
    record_of(paths.rollouts(RUN)).unlink()


def _damaged(paths: StudyPaths) -> None:
    path = record_of(paths.rollouts(RUN))
    path.write_text(path.read_text().replace('"stage_version": 2', '"stage_version": 3'))


def _other_bytes(paths: StudyPaths) -> None:
    paths.curves_csv.write_text("made-up: results/smoke/tables/curves.csv\n")


def _missing(paths: StudyPaths) -> None:
    paths.curves_csv.unlink()


def _changed_study(_: StudyPaths) -> None:
    STUDY.write_text(STUDY.read_text().replace("learning_rate: 0.004", "learning_rate: 0.005"))


def _changed_cell(paths: StudyPaths) -> None:
    write_json(paths.cell(RUN), {"run": RUN})


def _damaged_cell(paths: StudyPaths) -> None:
    paths.cell(RUN).write_text("{")


def _old_scores(paths: StudyPaths) -> None:
    paths.scores(RUN).write_text("other scores\n")
    record = read_record(record_of(paths.scores(RUN)))
    write_record(
        paths.scores(RUN),
        study="smoke",
        stage="grade",
        name=RUN,
        inputs=map(Path, record.inputs),
        outputs=[paths.problem_scores(RUN)],
        started=STARTED,
    )


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            _no_record,
            f"there is no record results/smoke/runs/{RUN}/rollouts.parquet.record.json: the study has not run",
        ),
        (_damaged, "rollouts.parquet.record.json: damaged record"),
        (_other_bytes, "results/smoke/tables/curves.csv: not what the records tell of"),
        (_missing, "results/smoke/tables/curves.csv: missing, though a record tells of it"),
        (_changed_study, "smoke.yaml: the study has changed since it ran"),
        (_changed_cell, f"the study has changed since it ran (results/smoke/runs/{RUN}/cell.json)"),
        (_damaged_cell, f"the study has changed since it ran (results/smoke/runs/{RUN}/cell.json)"),
        (_old_scores, f"runs/{RUN}/scores.parquet: the records of grade {RUN} and curves give it different contents"),
    ],
)
def test_a_history_with_a_hole_is_refused_in_a_sentence(
    paths: StudyPaths, spoil: Callable[[StudyPaths], None], says: str
) -> None:
    spoil(paths)
    with pytest.raises(UserError) as refused:
        export_crate(STUDY, paths.crate, Options())
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not paths.crate.exists()
    assert not list(paths.root.parent.glob(".smoke*"))  # nothing half-made is left


def test_a_damaged_record_is_said_to_be_one(paths: StudyPaths) -> None:
    record_of(paths.fit).write_text("{")
    with pytest.raises(DamagedRecordError):
        export_crate(STUDY, paths.crate, Options())


@pytest.mark.parametrize("name", ["notes", "notes.zip"])
def test_only_an_older_crate_is_replaced(paths: StudyPaths, name: str) -> None:  # noqa: ARG001
    mine = Path(name) / "mine.txt" if name == "notes" else Path(name)
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(UserError, match="something that is no crate stands there"):
        export_crate(STUDY, Path(name), Options())
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("orcid", "agent", "says"),
    [
        ("0000-0002-1825-0098", "A", "a digit of it is wrong"),
        ("1825-0097", "A", "no ORCID"),
        ("0000-0002-1825-0097", None, "whose"),
    ],
)
def test_a_wrong_orcid_is_refused(orcid: str, agent: str | None, says: str) -> None:
    with pytest.raises(UserError, match=says):
        orcid_url(orcid, agent)


def test_an_orcid_may_end_in_x_and_be_a_url() -> None:
    assert orcid_url("https://orcid.org/0000-0002-9079-593X", "A") == "https://orcid.org/0000-0002-9079-593X"
    assert orcid_url(None, None) is None


def test_the_command_says_what_it_wrote(
    paths: StudyPaths, run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("crate", "smoke")
    assert code == 0
    assert out.startswith(f"wrote {paths.crate}: 39 jobs, ")
    code, out, _ = run("crate", "smoke", "--json")
    assert json.loads(out)["files"] == len(zipfile.ZipFile(paths.crate).namelist()) - 2  # its own two texts
    record_of(paths.fit).unlink()
    code, _, err = run("crate", "smoke")
    assert code == 2
    assert err.startswith("error: there is no record results/smoke/law/fit.json.record.json")
