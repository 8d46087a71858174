"""What a terminal shows: one console, one kind of table, one meaning of each colour.

A table fits the terminal: ids and numbers are never broken, columns that matter least are left out, and what is still
too wide goes on below under its first column. Output that is no terminal is not wrapped at all, so that it can be
searched, and has no escape code unless FORCE_COLOR asks for it.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

UNWRAPPED = 100_000
"""Columns of what is no terminal: more than any line has."""

MOST_HEAD_LINES = 2

LEAST_TEXT = 18
"""Columns below which text is not folded."""

_WORDS = {
    "green": ("ok", "dropped", "done", "supported", "saturating", "correct", "finding"),
    "red": ("failed", "missing", "modified", "untracked", "contradicted", "wrong"),
    "yellow": ("stale", "dirty", "stopped", "inconclusive", "not identified", "warning", "caution", "no_verdict"),
    "cyan": ("running",),
    "blue": ("queued",),
    "dim": ("planned", "not tested", "note"),
}
_STYLES = {word: style for style, words in _WORDS.items() for word in words}


@dataclass(frozen=True)
class Column:
    """A column of a table; one whose cells are all empty, or a dash, is not shown.

    Attributes:
        name: its head, with the unit.
        cells: one a row.
        kind: an id is never broken; nor is a number, which stands right; a word is coloured by what it says; text is
            folded.
        spare: the order in which columns are left out where the terminal is narrow, 1 first; 0: it stays.
    """

    name: str
    cells: Sequence[str]
    kind: Literal["id", "number", "word", "text"] = "number"
    spare: int = 0

    @property
    def width(self) -> int:
        """The least width [columns of the terminal] at which it reads well."""
        longest = max((Text(line).cell_len for cell in self.cells for line in cell.splitlines()), default=0)
        width = min(longest, LEAST_TEXT) if self.kind == "text" else longest
        return next(size for size in range(max(width, 1), UNWRAPPED) if len(self.head(size)) <= MOST_HEAD_LINES)

    def head(self, width: int) -> list[str]:
        """Return the lines of its head in so many columns; one is too long where a word is."""
        lines = wrap(self.name, width, break_long_words=False, break_on_hyphens=False)
        return lines if all(len(line) <= width for line in lines) else [self.name] * (MOST_HEAD_LINES + 1)


class FittedTable:
    """A table that is laid out for the console on which it is printed.

    Args:
        columns: the first names the rows.
        title: stands above.
    """

    def __init__(self, columns: Sequence[Column], title: str = "") -> None:
        self._columns = [column for column in columns if set(column.cells) - {"", "-"}]
        self._title = title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the table, in parts where it is too wide, and the names of what was left out."""
        shown, left_out = list(self._columns), []
        for column in sorted((column for column in shown if column.spare), key=lambda column: column.spare):
            if self._fits(shown, console, options):
                break
            shown.remove(column)
            left_out.append(column.name)
        for number, part in enumerate(self._parts(shown, console, options)):
            yield _table(part, self._title and f"{self._title}{', continued' * (number > 0)}")
        if left_out:
            yield Text(f"not shown for want of width: {', '.join(reversed(left_out))}", style="dim")

    def _parts(self, shown: list[Column], console: Console, options: ConsoleOptions) -> Iterator[list[Column]]:
        part = shown[:1]
        for column in shown[1:]:
            if len(part) > 1 and not self._fits([*part, column], console, options):
                yield part
                part = shown[:1]
            part.append(column)
        if part:
            yield part

    @staticmethod
    def _fits(columns: Sequence[Column], console: Console, options: ConsoleOptions) -> bool:
        wide = options.update(width=UNWRAPPED)
        return Measurement.get(console, wide, _table(columns)).minimum <= options.max_width


def _table(columns: Sequence[Column], title: str = "") -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        title=title or None,
        title_style="bold",
        title_justify="left",
    )
    for column in columns:
        table.add_column(
            "\n".join(column.head(column.width)),
            justify="right" if column.kind == "number" else "left",
            no_wrap=column.kind != "text",
            overflow="fold",
            min_width=column.width,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(_cell(column, cell) for column, cell in zip(columns, row, strict=True)))
    return table


def _cell(column: Column, cell: str) -> Text:
    return worded(cell) if column.kind == "word" else Text(cell)


def new_console() -> Console:
    """Return a console as wide as the terminal; colour only on one, and none where NO_COLOR is set or TERM is dumb."""
    return Console(
        markup=False,
        highlight=False,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        width=None if sys.stdout.isatty() else UNWRAPPED,
    )


def worded(word: str, *, bold: bool = False) -> Text:
    """Return a word of a state or a verdict in its colour."""
    return Text(word, style=" ".join(filter(None, ("bold" if bold else "", _STYLES.get(word.lower(), "")))))


def indented(text: str, style: str = "") -> Padding:
    """Return a paragraph that is folded, and stands four columns in."""
    return Padding.indent(Text(text, style=style), 4)


def noted(word: str, text: str) -> Text:
    """Return ``word: text``, the word in its colour."""
    return Text.assemble(worded(word), ": ", text)
