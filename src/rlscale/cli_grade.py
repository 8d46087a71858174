"""The command that grades answers in a file."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from rlscale.cli_output import Json, print_json
from rlscale.errors import UserError, did_you_mean
from rlscale.grading.pool import DEADLINE_SECONDS, MEMORY_MIB, MathGrader

_KEYS = ("answer", "gold")


def grade(
    file: Annotated[Path, typer.Argument(metavar="FILE", help='JSON lines: {"answer": "...", "gold": "..."}.')],
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds for one answer.")] = DEADLINE_SECONDS,
    memory_mib: Annotated[int, typer.Option(min=512, help="Address space of a grading process, in MiB.")] = MEMORY_MIB,
    workers: Annotated[int | None, typer.Option(min=1, help="Grading processes; without, one a core.")] = None,
    as_json: Json = False,
) -> None:
    """Grade mathematical answers against golds with math-verify: correct, wrong or no_verdict, one line a row."""
    pairs = _read_pairs(file)
    with MathGrader(workers=workers, deadline=deadline, memory_mib=memory_mib) as grader:
        judgements = grader.grade([answer for answer, _ in pairs], [gold for _, gold in pairs])
    counts = Counter(one.verdict for one in judgements)
    if as_json:
        rows = [{"verdict": one.verdict, "reason": one.reason} for one in judgements]
        print_json({"file": str(file), "counts": counts, "rows": rows})
        return
    for one in judgements:
        typer.echo(f"{one.verdict}\t{one.reason}")
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("correct", "wrong", "no_verdict"))
    typer.echo(f"{len(judgements)} answers: {said}", err=True)


def _read_pairs(file: Path) -> list[tuple[str, str]]:
    """Read answers and golds.

    Raises:
        UserError: no such file, or a line is no object with an answer and a gold.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    return [_pair(f"{file}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]


def _pair(where: str, line: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise UserError(f'{where}: each line must be an object with "answer" and "gold", got {line[:80]}')
    unknown = [key for key in row if key not in _KEYS]
    missing = [key for key in _KEYS if key not in row]
    if missing:
        guess = did_you_mean(unknown[0], missing) if unknown else ""
        raise UserError(f"{where}: no {' and no '.join(missing)}; it has {', '.join(row) or 'nothing'}{guess}")
    answer, gold = row["answer"], row["gold"]
    if not isinstance(answer, str):
        raise UserError(f"{where}: answer must be a text, got {json.dumps(answer)[:80]}")
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        raise UserError(f"{where}: gold must be a text or a number, got {json.dumps(gold)[:80]}")
    return answer, str(gold)
