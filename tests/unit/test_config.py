"""Reading YAML: where an error is, what it says, and that the schemas agree with the models."""
# ruff: noqa: E501 (one case a line)

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from rlscale.config import find_study, load_grid, load_ladder, load_study, shipped_studies
from rlscale.errors import UserError
from rlscale.schema import schemas
from rlscale.study import PublishedStudy

ROOT = Path(__file__).parents[2]
LADDERS = sorted((ROOT / "config/models").glob("*.yaml"))
STUDIES = sorted((ROOT / "config/studies").glob("*.yaml"))

TEXT = """\
kind: trained
description: A study.
trainer: local
evaluator: local
ladder: smoke
task:
  kind: skills
  operators: 16
training:
  prompts_per_step: 4
  learning_rate: 1e-3
  train_problems: 64
budgets: [1, 2, 8]
grid:
  law:
    models: [q3k, q5k]
    tau: [1, 4]
evaluation:
  suites: [heldout]
"""


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def write(tmp_path: Path):
    def write_study(text: str | bytes, name: str = "study") -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_study


def errors_of(path: Path) -> list[str]:
    """Return the lines of the error, the path replaced by ``F``."""
    with pytest.raises(UserError) as error:
        load_grid(path)
    return str(error.value).replace(str(path), "F").splitlines()


def test_the_text_that_the_tests_break_is_valid(write: Any):
    study, _, grid = load_grid(write(TEXT))
    assert study.training.learning_rate == 0.001  # YAML 1.2 reads 1e-3 as a number
    assert len(grid.runs) == 4


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("  learning_rate: ", "  learing_rate: ", "F:11:3: training.learing_rate: unknown key; did you mean learning_rate?"),
        ("  train_problems: 64", "  epochs: 2", "F:12:3: training.epochs: unknown key; allowed: adam_betas, clip_range,*"),
        ("    tau: ", "    tua: ", "F:17:5: grid.law.tua: unknown key; did you mean tau?"),
        ("operators: 16", "operatrs: 16", "F:8:3: task.operatrs: unknown key; did you mean operators?"),
        ("1e-3", "fast", 'F:11:3: training.learning_rate: is "fast" (a text); a number is needed'),
        ("1e-3", "'1e-3'", 'F:11:3: training.learning_rate: is "1e-3" (a text); a number is needed; remove the quotes'),
        ("1e-3", "-1", "F:11:3: training.learning_rate: is -1; it must be greater than 0"),
        ("1e-3", "", "F:11:3: training.learning_rate: is empty; a number is needed"),
        ("1e-3", ".nan", "F:11:3: training.learning_rate: is nan; a finite number is needed"),
        ("1e-3", ".inf", "F:11:3: training.learning_rate: is inf; a finite number is needed"),
        ("prompts_per_step: 4", "prompts_per_step: true", "F:10:3: training.prompts_per_step: is true; a whole number is needed"),
        ("prompts_per_step: 4", "prompts_per_step: 4.5", "F:10:3: training.prompts_per_step: is 4.5; a whole number is needed"),
        ("  prompts_per_step: 4\n", "", "F:9:1: training.prompts_per_step: missing; it is required"),
        ("[q3k, q5k]", "[q3k, q5]", 'F:16:19: grid.law.models[1]: no model "q5"; the ladder smoke has q3k, q5k, q12k; did you mean q5k?'),
        ("tau: [1, 4]", "families: [[chian]]", 'F:17:17: grid.law.families[0][0]: is "chian"; allowed: *; did you mean chain?'),
        ("tau: [1, 4]", "tau: [1, 4, 1]", "F:17:17: grid.law.tau[2]: 1 is there twice"),
        ("tau: [1, 4]", "tau: []", "F:17:5: grid.law.tau: is empty; at least one value is needed"),
        ("tau: [1, 4]", "tau: 4", "F:17:5: grid.law.tau: is 4; a list is needed"),
        ("tau: [1, 4]", "reward_accuracy: [1.5]", "F:17:23: grid.law.reward_accuracy[0]: is 1.5; it must be at most 1"),
        ("  law:\n", "  1: {}\n  law:\n", "F:15:3: grid[1]: the key is 1; a text is needed"),
        ("ladder: smoke", "ladder: smoek", 'F:5:1: ladder: is "smoek"; ladders in config/models: *; did you mean smoke?'),
        ("trainer: local", "trainer: lcal", 'F:3:1: trainer: is "lcal"; allowed: local, openrlhf; did you mean local?'),
        ("kind: trained", "kind: traned", 'F:1:1: kind: is "traned"; allowed: trained, published; did you mean trained?'),
        ("kind: trained\n", "", "F:1:1: kind: missing; one of trained, published"),
        ("kind: skills", "kind: skils", 'F:6:1: task: kind is "skils"; allowed: skills, programs, parquet; did you mean skills?'),
        ("[heldout]", "[held]", 'F:19:12: evaluation.suites[0]: no suite "held"; allowed: *; did you mean heldout?'),
        ("[1, 2, 8]", "[1, 8, 2]", "F:13:1: budgets: is [1, 8, 2]; budgets must rise"),
        ("[1, 2, 8]", "{first: 1, last: 8, cuont: 3}", "F:13:30: budgets.cuont: unknown key; did you mean count?"),
        ("[1, 2, 8]", "[1, 20]", "F:12:3: training.train_problems: train_problems is 64; * 20 steps × 4 prompts = 80 problems"),
        ("ladder: smoke\n", "ladder: smoke\nladder: smoke\n", 'F:6:1: duplicate key "ladder"; give each key once'),
        ("[q3k, q5k]", "[q3k, q5k", "F:17:8: expected ',' or ']', but got ':'"),
        ("  kind: skills", "\tkind: skills", "F:7:1: a tab; indent with spaces"),
        ("ladder: smoke", "ladder: !!python/name:os.system smoke", "F:5:9: the tag * is not allowed; write a plain value"),
        ("evaluation:\n", "---\nevaluation:\n", "F:18:1: a second document; a file holds one"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_with_its_place(write: Any, old: str, new: str, error: str):
    assert TEXT.count(old) == 1
    (line,) = errors_of(write(TEXT.replace(old, new)))
    start, _, end = error.partition("*")
    assert line.startswith(start)
    assert line.endswith(end)
    assert ("*" in error) or line == error


def test_all_errors_are_reported_in_the_order_of_the_file(write: Any):
    text = TEXT.replace("trainer: local", "trainer: lcal").replace("1e-3", "0").replace("tau: [1, 4]", "seed: [-1]")
    assert [line.split(": ")[:2] for line in errors_of(write(text))] == [
        ["F:3:1", "trainer"],
        ["F:11:3", "training.learning_rate"],
        ["F:17:12", "grid.law.seed[0]"],
    ]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "F: the file is empty; a mapping of keys is needed"),
        ("# only a comment\n", "F: the file is empty; a mapping of keys is needed"),
        ("- kind: trained\n", "F:1:1: is a list; a mapping of keys is needed"),
        ("trained\n", 'F:1:1: is "trained"; a mapping of keys is needed'),
        (b"kind: tr\xe4ned\n", "F: not UTF-8: byte 8 is 0xe4"),
        ("kind: tra\x01ned\n", "F: not YAML: unacceptable character"),
        ("a: &a [*a]\n", "F:1:1: kind: missing"),
    ],
)
def test_files_that_hold_no_study(write: Any, content: str | bytes, error: str):
    (line,) = errors_of(write(content))
    assert line.startswith(error)


def test_a_byte_order_mark_and_an_alias_are_taken(write: Any):
    text = TEXT.replace("[1, 2, 8]", "&steps [1, 2, 8]").encode()
    assert load_study(write(b"\xef\xbb\xbf" + text)) == load_study(write(TEXT, "other"))


@pytest.mark.parametrize(
    ("old", "new"), [("1e-3", "0.001"), ("1e-3", "1.0e-03 # the same"), ("64", "0x40"), ("4]", "+4]")]
)
def test_a_respelt_number_is_the_same_study(write: Any, old: str, new: str):
    before, after = load_grid(write(TEXT))[2], load_grid(write(TEXT.replace(old, new)))[2]
    assert [run.cell_spec() for run in before.runs.values()] == [run.cell_spec() for run in after.runs.values()]


def test_files_that_are_not_there(tmp_path: Path, write: Any):
    with pytest.raises(UserError, match=r"^no file .*none\.yaml$"):
        load_study(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="Is a directory"):
        load_ladder(tmp_path)
    with pytest.raises(UserError, match='"a b" names no study'):
        load_study(write(TEXT, "a b"))


def test_find_study_by_name_and_by_path(write: Any):
    assert find_study("mini") == Path("config/studies/mini.yaml")
    path = write(TEXT)
    assert find_study(str(path)) == path
    with pytest.raises(
        UserError, match=r'^no study "min"; did you mean mini\?; shipped: mini, mini-full, mini-programs, paper-54'
    ):
        find_study("min")
    with pytest.raises(UserError, match=r"^no file config/studies/mni.yaml; did you mean config/studies/mini.yaml\?$"):
        find_study("config/studies/mni.yaml")


def test_find_study_without_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there is no config/studies in"):
        find_study("mini")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("kv_heads: 2, ffn: 24", "kv_heads: 2", "{path}:7:3: models.q3k.ffn: missing; it is required"),
        (
            "heads: 2, kv_heads: 2, ffn: 24",
            "heads: 5, kv_heads: 5, ffn: 24",
            "{path}:7:32: models.q3k.heads: is 5; width 12 must",
        ),
        ("  steps: 20", "  steps: 1", "{path}:26:3: instruct.warmup_steps: is 2; at most steps (1)"),
        *(
            ("kind: built", f"supervisions: {{{level}}}\nkind: built", "{path}:3:16: supervisions." + error)
            for level, error in (
                ("full: 0.5", "full: is the name of the whole stage, which every ladder has; choose another"),
                ("half_: 0.5", 'half_: the key is "half_"; it must match'),
                ("half: 0", "half: is 0; it must be greater than 0"),
                ("half: much", 'half: is "much" (a text); a number is needed'),
                ("half: {}", "half: has too few entries; at least 1"),
                ("half: 0.01", "half: is 0.01: 3 of 300 steps, fewer than the 5 of the warm-up"),
            )
        ),
        (
            "kind: built",
            "supervisions: {half: {q3k: 0.01}}\nkind: built",
            "{path}:3:23: supervisions.half.q3k: is 0.01: 3 of 300 steps, fewer than the 5 of the warm-up",
        ),
        (
            "kind: built",
            "supervisions: {half: {q3k: 1, q4k: 0.5}}\nkind: built",
            '{path}:3:31: supervisions.half.q4k: no model "q4k"; the ladder has q3k, q5k, q12k; did you mean q',
        ),
    ],
)
def test_an_error_in_a_ladder_names_the_ladder(tmp_path: Path, old: str, new: str, error: str):
    text = (ROOT / "config/models/smoke.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "ladder.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError) as raised:
        load_ladder(path)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(error.format(path=path))


def test_published_points_must_be_there(write: Any):
    text = "kind: published\ndescription: x\npoints: config/data/none.csv\nsource: y\n"
    with pytest.raises(UserError, match=r':3:1: points: no file "config/data/none\.csv"'):
        load_study(write(text))


def test_a_published_study_has_no_grid():
    with pytest.raises(UserError, match=r"published\.yaml: this study trains nothing"):
        load_grid(find_study("published"))


@pytest.mark.parametrize(
    ("name", "runs"),
    [("smoke", 6), ("mini", 39), ("mini-full", 170), ("mini-programs", 32), ("paper-54", 54), ("paper-63", 63)],
)
def test_shipped_studies_expand(name: str, runs: int):
    study, ladder, grid = load_grid(find_study(name))
    assert len(grid.runs) == runs
    assert len({run.params for run in grid.runs_in(study.law.block)}) >= 3
    assert set(study.grid) == {block for run in grid.runs.values() for block in run.blocks}
    assert len(ladder.models) >= 3


def test_the_default_study_is_the_one_promised():
    study, _, grid = load_grid(find_study("mini"))
    law = grid.runs_in("law")
    assert len({run.params for run in law}) >= 6
    assert len({run.base_seed for run in law}) >= 3
    assert {run.tau for run in grid.runs_in("reuse")} == {1, 4, 16, 64, 250}
    assert len({run.model for run in grid.runs_in("reuse")}) == 1
    assert len({run.reward_accuracy for run in grid.runs_in("reward")}) > 1
    assert len({run.skill_share for run in grid.runs_in("diversity")}) > 1
    assert (study.budgets.steps[0], study.budgets.steps[-1]) == (1, 500)


def test_smoke_has_room_for_a_later_budget():
    study, _, _ = load_grid(find_study("smoke"))
    assert (study.budgets.steps[-1] + 4) * study.training.prompts_per_step <= study.train_problems


def test_every_shipped_study_is_loaded_here():
    assert set(shipped_studies()) == {
        "smoke",
        "mini",
        "mini-full",
        "mini-programs",
        "published",
        "paper-54",
        "paper-63",
    }
    assert isinstance(load_study(find_study("published")), PublishedStudy)


def plain(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["study", "ladder"])
def test_the_schemas_in_the_repository_are_the_models(name: str):
    text = (ROOT / f"config/schema/{name}.schema.json").read_text(encoding="utf-8")
    assert text == schemas()[name], "run: rlscale schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize("path", [*STUDIES, *LADDERS], ids=lambda path: path.stem)
def test_schemas_accept_the_shipped_files_which_point_at_them(path: Path):
    kind = "ladder" if path in LADDERS else "study"
    jsonschema.validate(plain(path), json.loads(schemas()[kind]))
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema=../schema/{kind}.schema.json"
    assert (path.parent / f"../schema/{kind}.schema.json").is_file()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: trained", "kind: traned"), ("1e-3", "fast"), ("1e-3", "-1"), ("    tau: ", "    tua: "),
        ("trainer: local", "trainer: lcal"), ("tau: [1, 4]", "tau: [1, 1]"), ("tau: [1, 4]", "tau: []"),
        ("tau: [1, 4]", "families: [[chian]]"), ("operators: 16", "operatrs: 16"), ("  prompts_per_step: 4\n", ""),
        ("[1, 2, 8]", "{first: 1}"), ("prompts_per_step: 4", "prompts_per_step: true"),
    ],
)  # fmt: skip
def test_schema_and_models_refuse_the_same(write: Any, old: str, new: str):
    path = write(TEXT.replace(old, new))
    with pytest.raises(UserError):
        load_study(path)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain(path), json.loads(schemas()["study"]))
