"""`rlscale diff`: what differs between two results of a study, and by how much against their errors."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlscale import cli_completion
from rlscale.cli_output import Json, print_json

if TYPE_CHECKING:
    from rlscale.cli_terminal import FittedTable
    from rlscale.comparison import FindingChange, FitChange, RunChange, Shift
    from rlscale.result_trees import Difference

MOST_ROWS = 40
"""Of a table; the rest is counted, and stands in the JSON."""

MOST_RUNS, MOST_FILES = 2, 12


def diff(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="Name of the study, or the path of its YAML file.",
            autocompletion=cli_completion.studies,
        ),
    ],
    a: Annotated[str, typer.Argument(metavar="A", help="A results folder, a repository's root, or a git revision.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same.")] = ".",
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where anything differs.")] = False,
    as_json: Json = False,
) -> None:
    """Show what differs from A to B: runs, budgets, scores, fits, findings, and by how much against their errors.

    A revision's results are read from DVC's cache; nothing is checked out.
    """
    from rlscale.result_trees import compare_trees, open_tree

    path = Path(study)
    name = path.stem if path.suffix in {".yaml", ".yml"} else study
    found = compare_trees(open_tree(name, a), open_tree(name, b))
    if as_json:
        scores_only = [change.run for change in found.runs if change.scores_only]
        print_json({"study": name, "a": a, "b": b, "same": found.same, "scores_only": scores_only, **asdict(found)})
    else:
        _show(name, a, b, found)
    if exit_code and not found.same:
        raise typer.Exit(1)


def _show(study: str, a: str, b: str, found: "Difference") -> None:
    from rlscale.cli_terminal import new_console

    console = new_console()
    if found.same:
        console.print(
            f"study {study}: the same in {a} and {b}: {found.files_same:,} files, equal byte for byte", soft_wrap=True
        )
        return
    for title, columns, rows in (
        ("runs", ("runs", "what", "before", "after"), list(_run_rows(found.runs))),
        ("scores", _SCORES, list(_score_rows(found.runs))),
        ("fits", ("fit", "what", "before", "after", "shift in half-widths"), list(_fit_rows(found.fits))),
        ("findings", ("finding", "before", "after", "shift in half-widths"), list(_finding_rows(found.findings))),
    ):
        if rows:
            console.print(_table(title, columns, rows[:MOST_ROWS]))
        if len(rows) > MOST_ROWS:
            console.print(f"… and {len(rows) - MOST_ROWS} more: --json has all")
    for what, paths in (
        ("added", found.files_added),
        ("removed", found.files_removed),
        ("changed", found.files_changed),
    ):
        if results := [path for path in paths if not path.startswith("runs/")]:
            console.print(f"files {what} outside runs: {_some(results, MOST_FILES)}", soft_wrap=True)
    console.print(f"study {study}, {a} → {b}: {summary_line(found)}", soft_wrap=True)


def summary_line(found: "Difference") -> str:
    """Return what differs, counted."""
    states = Counter(change.state for change in found.runs)
    counts = {
        "added": states["added"],
        "removed": states["removed"],
        "of another identity": sum(bool(change.identity) for change in found.runs),
        "with other budgets": sum(bool(change.budgets_added or change.budgets_removed) for change in found.runs),
        "changed in scores only": sum(change.scores_only for change in found.runs),
    }
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    runs = _count(len(found.runs), "run") + (f" ({said})" if said else "")
    verdicts = sum(change.verdict_changed for change in found.findings)
    files = (len(found.files_added), len(found.files_removed), len(found.files_changed))
    return (
        f"{runs}, {_count(len(found.fits), 'fit')} and "
        f"{_count(len(found.findings), 'finding')} differ ({_count(verdicts, 'verdict')}); files: {files[0]} added, "
        f"{files[1]} removed, {files[2]} changed, {found.files_same:,} the same"
    )


_SCORES = ("run", "moved", "mean shift", "largest at", "before", "after", "in standard errors")


def _run_rows(changes: "Iterable[RunChange]") -> Iterator[Sequence[str]]:
    """Yield what changed and in which runs: one edit of a study often concerns many."""
    runs: dict[tuple[str, str, str], list[str]] = {}
    for change in changes:
        for row in _changes_of(change):
            runs.setdefault(row, []).append(change.run)
    for row, names in runs.items():
        yield _some(names, MOST_RUNS), *row


def _changes_of(change: "RunChange") -> Iterator[tuple[str, str, str]]:
    if change.state != "changed":
        yield change.state, "", ""
    for one in change.identity:
        yield one.key, _plain(one.before), _plain(one.after)
    if change.budgets_added:
        yield "budgets added", "", ", ".join(map(str, change.budgets_added))
    if change.budgets_removed:
        yield "budgets removed", ", ".join(map(str, change.budgets_removed)), ""
    if change.weights:
        since = f", from step {change.weights[0]}" if len(change.weights) > 1 else f", step {change.weights[0]}"
        yield "weights", "", f"of {_count(len(change.weights), 'checkpoint')}{since}"


def _score_rows(changes: "Iterable[RunChange]") -> Iterator[Sequence[str]]:
    for change in changes:
        scores = change.scores
        if scores is None:
            continue
        moved = f"{scores.moved} of {scores.compared}" + (f", {scores.unshared} in one only" if scores.unshared else "")
        mean = "-" if scores.mean_shift is None else f"{scores.mean_shift:+.4f}"
        most = scores.largest
        where = ("", "", "", "")
        if most is not None:
            place = f"step {most.step}, {most.suite}, {most.mode}"
            where = (place, f"{most.before:.4f}", f"{most.after:.4f}", _brief(most.standard_errors))
        yield change.run, moved, mean, *where


def _fit_rows(changes: "Iterable[FitChange]") -> Iterator[Sequence[str]]:
    for change in changes:
        if change.state != "changed":
            yield change.fit, change.state, "", "", ""
        for one in change.values:
            yield change.fit, one.key, _plain(one.before), _plain(one.after), ""
        for shift in change.parameters:
            yield change.fit, _NAMES.get(shift.name, shift.name), *_shift(shift)


_NAMES = {"k_max": "K_max", "n_0": "N_0"}


def _finding_rows(changes: "Iterable[FindingChange]") -> Iterator[Sequence[str]]:
    """Yield verdicts that changed, and effects that moved under the same verdict."""
    for change in sorted(changes, key=lambda change: not change.verdict_changed):
        if change.verdict_changed:
            yield change.finding, change.verdict_before or "none", change.verdict_after or "none", ""
        if change.effect is not None:
            yield change.finding, *_shift(change.effect)


def _shift(shift: "Shift") -> tuple[str, str, str]:
    return _interval(*shift.before), _interval(*shift.after), _brief(shift.half_widths)


def _interval(estimate: float | None, low: float | None, high: float | None) -> str:
    if estimate is None:
        return "none"
    if low is None and high is None:
        return f"{estimate:.4g}"
    ends = ("open" if end is None else f"{end:.4g}" for end in (low, high))
    return f"{estimate:.4g} [{', '.join(ends)}]"


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> "FittedTable":
    from rlscale.cli_terminal import Column, FittedTable

    columns = []
    for index, (name, cells) in enumerate(zip(names, zip(*rows, strict=True), strict=True)):
        is_number = name in {"mean shift", "in standard errors", "shift in half-widths"}
        is_id = index == 0 and name != "runs"  # of several runs the names are folded
        columns.append(Column(name, cells, "number" if is_number else "id" if is_id else "text"))
    return FittedTable(columns, title)


def _some(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _plain(value: Any) -> str:
    return "none" if value is None else str(value)


def _brief(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
