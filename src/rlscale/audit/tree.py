"""The chain by stage, for people: from the figures down to the study, with how many artefacts of each are sound."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rlscale.audit.verdicts import Report, Verdict
from rlscale.paths import RECORD_SUFFIX, RESULTS

STAGES = {
    "page": "",
    "figures": "",
    "findings": "",
    "metrics": "",
    "compare": "",
    "sensitivity": "",
    "law": "figures",
    "curves": "law",
    "scores": "curves",
    "rollouts": "scores",
    "checkpoints and steps": "rollouts",
    "base models": "checkpoints and steps",
    "problems": "checkpoints and steps",
    "specifications": "checkpoints and steps",
    "code and environments": "",
}
"""Groups of files by name, each under one that is made from it."""


@dataclass(frozen=True)
class Branch:
    """A group of files: its name, the name of the group that it stands under, and what is said of it."""

    stage: str
    under: str
    text: str


def branches(report: Report) -> list[Branch]:
    """Return the groups that the report has files of, those above first."""
    worst: dict[str, Verdict] = {}
    for edge in report.edges:
        for file in (edge.of, edge.source):
            worst.setdefault(file, Verdict.OK)
        if edge.verdict is Verdict.DROPPED:
            worst[edge.of] = Verdict.DROPPED
    worst |= {fault.path: fault.verdict for fault in report.faults}
    groups: dict[str, Counter[Verdict]] = {}
    for file, verdict in worst.items():
        groups.setdefault(group_of(file), Counter())[verdict] += 1
    found: list[Branch] = []
    for stage, above in STAGES.items():
        if stage not in groups:
            continue
        while above and above not in groups:
            above = STAGES[above]  # noqa: PLW2901
        counts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(groups[stage].items()))
        found.append(Branch(stage, above, f"{stage}: {counts}"))
    return found


FOLDERS = {
    "figures": "figures",
    "models": "base models",
    "data": "problems",
    "specs": "specifications",
    "resume": "checkpoints and steps",
    "runs": "checkpoints and steps",
    "tables": "curves",
}
FILES = {
    "cell.json": "specifications",
    "rollouts.parquet": "rollouts",
    "rollout-shards": "rollouts",
    "scores.parquet": "scores",
    "problem_scores.parquet": "scores",
    "findings.json": "findings",
    "fit.json": "law",
    "points.csv": "law",
    "compare.json": "compare",
    "forecasts.json": "compare",
    "ranking.csv": "compare",
    "sensitivity.csv": "sensitivity",
    "metrics.json": "metrics",
    "report.html": "page",
}


def group_of(file: str) -> str:
    """Return the group that a file belongs to."""
    path = Path(file.removesuffix(RECORD_SUFFIX))
    if path.parts[0] != RESULTS.name:
        is_configuration = path.parts[0] == "config" or path.suffix in {".yaml", ".yml", ".csv"}
        return "specifications" if is_configuration else "code and environments"
    folder, *inside = path.parts[2:]
    if not inside:
        return FILES.get(folder, "specifications")
    named = FILES.get(inside[1] if folder == "runs" and len(inside) > 1 else path.name)
    return named if named and folder in {"runs", "law", "tables"} else FOLDERS.get(folder, "specifications")
