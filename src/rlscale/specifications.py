"""What each job of a study is told: one small file a job, an input of it, whose content says whether it runs again."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rlscale.grid import Grid, Run
from rlscale.identity import RUN_ATTRIBUTES, Coordinates
from rlscale.ladder import HubLadder, Ladder
from rlscale.model_base import FULL_SUPERVISION
from rlscale.paths import StudyPaths
from rlscale.study import PublishedStudy, TrainedStudy

FACTORS = ("group_size", "reward_accuracy", "skill_share", "variant")


@dataclass(frozen=True)
class Specifications:
    """The files of one study that say what its jobs do.

    Attributes:
        paths: where they lie.
        study: its values.
        ladder: its sizes; None where a published study names none.
        grid: its runs; None where it trains nothing.
    """

    paths: StudyPaths
    study: TrainedStudy | PublishedStudy
    ladder: Ladder | None
    grid: Grid | None

    @cached_property
    def figures(self) -> dict[str, dict[str, object]]:
        """The figures that the study can have, and how to draw each."""
        law = self.study.law
        common = {"block": self._block(), "first_step": law.first_step}
        figures: dict[str, dict[str, object]] = {}
        for x in law.x:
            drawn = {"x": x, "fit": f"{x}_{law.loss[0]}", **common}
            figures[f"loss_{x}"] = {"kind": "loss", **drawn}
            figures[f"slope_{x}"] = {"kind": "slope", **drawn}
            figures[f"forecast_{x}"] = {"kind": "forecast", "x": x}
            figures[f"tournament_{x}"] = {"kind": "tournament", "x": x}
            if law.intervals == "profile":
                figures[f"profile_{x}"] = {"kind": "profile", "fit": f"{x}_{law.loss[0]}"}
        runs = self.grid.runs.values() if self.grid else ()
        if _varies_alone(runs, "tau"):
            figures["reuse"] = {"kind": "reuse"}
        for name in FACTORS:
            if _varies_alone(runs, name):
                figures[name] = {"kind": "factor", "factor": name}
        if _has_controls(runs):
            figures["controls"] = {"kind": "controls", "first_step": law.first_step}
        return figures

    def texts(self) -> Iterator[tuple[Path, str]]:
        """Yield the path and the text of every specification."""
        for path, content in self.files():
            yield path, json.dumps(content, indent=1, sort_keys=True) + "\n"

    def files(self) -> Iterator[tuple[Path, object]]:
        """Yield the path and the content of every specification."""
        law = self.study.law.model_dump(mode="json", exclude={"gates", "block"}) | {"block": self._block()}
        measure = self._measure() if self.grid else None
        yield self.paths.spec("study", "law"), law | {"measure": measure, "non_embedding_params": self._non_embedding()}
        yield self.paths.spec("study", "findings"), self._findings()
        yield self.paths.spec("study", "report"), self._report()
        for name, figure in self.figures.items():
            yield self.paths.spec("figures", name), figure
        if isinstance(self.study, PublishedStudy):
            yield self.paths.spec("study", "curves"), {"kind": "published", "points": self.study.points}
        if isinstance(self.study, TrainedStudy) and self.grid:
            yield from self._training(self.study, self.grid)

    def _training(self, study: TrainedStudy, grid: Grid) -> Iterator[tuple[Path, object]]:
        yield self.paths.spec("study", "suites"), grid.suites
        yield self.paths.spec("study", "retention"), {"keep_checkpoints": study.keep_checkpoints}
        yield self.paths.spec("study", "evaluation"), {"evaluator": study.evaluator, "settings": grid.evaluation}
        measure = self._measure() | {"gates": study.law.gates.model_dump(mode="json")}
        runs = [{"run": run.run_id, **_attributes(run)} for run in grid.runs.values()]
        yield self.paths.spec("study", "curves"), {"kind": "trained", "measure": measure, "runs": runs}
        for pool in grid.pools.values():
            yield self.paths.spec("pools", pool.pool_id), pool.spec
        for base in grid.bases.values():
            yield self.paths.spec("bases", base.base_id), base.spec
        for model in sorted({run.model for run in grid.runs.values()}):
            placement = self.ladder.models[model].placement if self.ladder else None
            if placement is not None:
                yield self.paths.spec("placements", model), placement.model_dump(mode="json")
        for run in grid.runs.values():
            yield self.paths.cell(run.run_id), run.cell_spec() | {"base": run.base_id, "pool": run.pool_id}

    def _findings(self) -> dict[str, object]:
        law = self.study.law
        reuse = self.study.reuse if isinstance(self.study, PublishedStudy) else None
        return {
            "x": list(law.x),
            "loss": law.loss[0],
            "first_step": law.first_step,
            "reuse": reuse,
            "scores": self.grid is not None,
        }

    def _report(self) -> dict[str, object]:
        law, grid = self.study.law, self.grid
        return {
            "x": list(law.x),
            "loss": law.loss[0],
            "block": self._block(),
            "gates": law.gates.model_dump(mode="json") if grid else None,
            "figures": sorted(self.figures),
            "runs": sorted(grid.runs) if grid else [],
            "excluded": [list(one) for one in grid.excluded] if grid else [],
        }

    def _measure(self) -> dict[str, object]:
        """Return which score test loss is made of."""
        if not isinstance(self.study, TrainedStudy):
            raise TypeError("published points do not say what they measure")
        return {"suite": self.study.evaluation.suites[0], "mode": self.study.evaluation.primary}

    def _non_embedding(self) -> dict[str, int] | None:
        """Return the parameters without embeddings by nominal size, where a ladder of downloaded models gives them."""
        if not isinstance(self.ladder, HubLadder):
            return None
        return {str(model.params): model.non_embedding_params for model in self.ladder.models.values()}

    def _block(self) -> str | None:
        return self.study.law.block if self.grid else None


def _attributes(run: Run) -> dict[str, object]:
    return {name: getattr(run, name) for name in RUN_ATTRIBUTES}


def _has_controls(runs: Iterable[Run]) -> bool:
    """Return whether three sizes have one supervision other than full, or one size has three, all else being equal."""
    sizes: dict[tuple[object, ...], set[object]] = {}
    levels: dict[tuple[object, ...], set[object]] = {}
    apart = {"model", "params", "supervision", "base_seed", "seed"}
    for run in runs:
        others = tuple(getattr(run, name) for name in Coordinates.__annotations__ if name not in apart)
        levels.setdefault((*others, run.params), set()).add(run.supervision)
        if run.supervision != FULL_SUPERVISION:
            sizes.setdefault((*others, run.supervision), set()).add(run.params)
    return any(len(found) >= 3 for found in (*sizes.values(), *levels.values()))


def _varies_alone(runs: Iterable[Run], axis: str) -> bool:
    """Return whether two runs differ in ``axis`` and in nothing else."""
    seen: dict[tuple[object, ...], object] = {}
    for run in runs:
        others = tuple(getattr(run, name) for name in Coordinates.__annotations__ if name != axis)
        if seen.setdefault(others, getattr(run, axis)) != getattr(run, axis):
            return True
    return False
