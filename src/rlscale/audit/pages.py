"""An audit as one HTML page, with no script and nothing to fetch."""

from collections.abc import Iterable, Sequence
from html import escape

from rlscale.audit.tree import branches
from rlscale.audit.verdicts import Report

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #ccc; }
td { overflow-wrap: anywhere; }
code { font-size: .9em; }
.good { color: #17652b; } .bad { color: #a11212; }
""".strip()


def page(reports: Sequence[Report]) -> str:
    """Return the page of some audits."""
    body = "\n".join(_section(report) for report in reports)
    title = f"Audit of {', '.join(dict.fromkeys(report.study for report in reports))}"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>\n{_STYLE}\n</style>\n</head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _section(report: Report) -> str:
    what = ", ".join(report.targets) or "all of it"
    said = "nothing is wrong" if report.is_good else f"{len(report.faults)} faults"
    verdict = f'<p class="{"good" if report.is_good else "bad"}"><strong>{said}</strong></p>'
    chain = _table(("stage", "files"), ((one.stage, one.text.partition(": ")[2]) for one in branches(report)))
    parts = [f"<h2>{escape(report.study)}: {escape(what)}</h2>", verdict, "<h3>The chain</h3>", chain]
    if report.faults:
        columns = ("file", "verdict", "why", "taints", "what mends it")
        rows = (
            (one.path, one.verdict, one.why, ", ".join(one.taints) or "no figure", one.mend) for one in report.faults
        )
        parts += ["<h3>Faults</h3>", _table(columns, rows)]
    bad = [edge for edge in report.edges if not edge.verdict.is_good]
    if bad:
        edges = ((edge.of, edge.source, edge.verdict) for edge in bad)
        parts += ["<h3>Edges that do not hold</h3>", _table(("of", "source", "verdict"), edges)]
    parts += [f"<p>{escape(note)}</p>" for note in report.notes]
    parts.append(f"<p>{len(report.edges):,} edges, {report.files:,} files.</p>")
    return "\n".join(parts)


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    lines = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>"
