"""Adds chosen runs to a study: the same file with more seeds or sizes in the law's block, and all else left alone.

A block is a product of axes, and chosen runs hardly ever are: what the longer axes reach beyond the choice is excluded,
with its reason. Every run that the study had keeps its id, fingerprint and budgets, which is checked before anything is
written, so that where the results are the same only the new runs are trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from rlscale.config import load_grid
from rlscale.errors import UserError
from rlscale.grid import Grid, expand
from rlscale.study import TrainedStudy
from rlscale.study_parts import Axes

REASON = "not chosen by rlscale next"
_SEEDS = ("base_seed", "seed")


@dataclass(frozen=True)
class Overlay:
    """A study with further runs.

    Attributes:
        text: the YAML.
        added: ids of the runs that it has and the study had not.
        kept: how many runs it shares with the study.
    """

    text: str
    added: list[str]
    kept: int


def add_runs(path: Path, wanted: Mapping[str, int]) -> Overlay:
    """Return the study of a file with more runs in the block of its law.

    Args:
        path: the study.
        wanted: further runs by name of the size in the ladder.

    Raises:
        UserError: the study cannot be read, or its block does not say which run one more would be.
    """
    study, ladder, grid = load_grid(path)
    axes = study.grid[study.law.block]
    if several := [name for name, values in axes if name not in {"models", *_SEEDS} and len(values) > 1]:
        raise UserError(
            f"{path}: block {study.law.block} varies {', '.join(several)}, so one more run of a size is not one run"
        )
    axis = "seed" if ladder.kind == "hub" or len(axes.seed) > 1 else "base_seed"
    models = list(axes.models or ladder.models)
    old = list(getattr(axes, axis))
    offset = study.seed_offset
    used = {(run.model, getattr(run, axis) - offset) for run in grid.runs.values()}
    in_block = {(run.model, getattr(run, axis) - offset) for run in grid.runs_in(study.law.block)}
    first_new = max({seed for _, seed in used} | set(old)) + 1
    chosen: set[tuple[str, int]] = set()
    for model, count in wanted.items():
        # A size that the block lacks begins with the seeds that the others have.
        free = [] if model in models else old
        chosen |= {(model, seed) for seed in [*free, *range(first_new, first_new + count)][:count]}
    every_model = [*models, *(model for model in wanted if model not in models)]
    seeds = [*old, *sorted({seed for _, seed in chosen} - set(old))]
    left_out = [
        (model, seed)
        for model in every_model
        for seed in seeds
        if (model, seed) not in chosen | in_block and not (model in models and seed in old)
    ]
    document = _edited(path, study, axis, every_model, seeds)
    unnamed = () if study.task.families else ("families",)  # problems from files have none
    _exclude(document, [_where(axes, axis, pair, full=pair in used, without=unnamed) for pair in left_out])
    stream = StringIO()
    yaml = _yaml()
    yaml.dump(document, stream)
    text = stream.getvalue()
    made = expand(TrainedStudy.model_validate(YAML(typ="safe", pure=True).load(text)), ladder)
    return Overlay(text, _added(path, grid, made, len(chosen)), len(grid.runs))


class _Representer(RoundTripRepresenter):
    """Writes nothing as null, as the studies do."""

    def represent_none(self, data: None) -> ScalarNode:  # noqa: ARG002 (the base class passes it)
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _Representer.represent_none)


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _edited(path: Path, study: TrainedStudy, axis: str, models: list[str], seeds: list[int]) -> Any:
    document = _yaml().load(path.read_text(encoding="utf-8-sig"))
    block = document["grid"][study.law.block]
    if block is None:  # all axes at their defaults
        block = document["grid"][study.law.block] = CommentedMap()
    for key, values in (("models", models), (axis, seeds)):
        if key == "models" and study.grid[study.law.block].models is None:
            continue  # it has the whole ladder
        if key not in block:
            block[key] = CommentedSeq()
            block[key].fa.set_flow_style()
        block[key].extend(value for value in values if value not in block[key])
    return document


def _where(axes: Axes, axis: str, pair: tuple[str, int], *, full: bool, without: tuple[str, ...]) -> dict[str, Any]:
    """Return what excludes a run; in full where other blocks have runs of that size and seed."""
    where: dict[str, Any] = {"model": pair[0], axis: pair[1]}
    if full:
        rest = (name for name in Axes.model_fields if name not in {"models", *_SEEDS, *without})
        where |= {name: list(value) if isinstance(value := getattr(axes, name)[0], tuple) else value for name in rest}
    return where


def _exclude(document: Any, wheres: list[dict[str, Any]]) -> None:
    if not wheres:
        return
    if not document.get("exclude"):
        document["exclude"] = CommentedSeq()
    for where in wheres:
        place = CommentedMap(where)
        place.fa.set_flow_style()
        document["exclude"].append(CommentedMap({"where": place, "reason": REASON}))


def _added(path: Path, old: Grid, new: Grid, count: int) -> list[str]:
    changed = [
        name
        for name, run in old.runs.items()
        if name not in new.runs
        or (new.runs[name].fingerprint, new.runs[name].budgets) != (run.fingerprint, run.budgets)
    ]
    added = sorted(set(new.runs) - set(old.runs))
    # Less than the choice where another block had such a run, and the law's has it now too.
    if changed or len(added) > count:
        raise UserError(f"{path}: cannot be extended without changing {', '.join(changed) or 'what it trains'}")
    return added
