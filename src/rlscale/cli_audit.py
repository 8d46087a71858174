"""The command that audits results: what they were made from, and whether all of it is still there and the same."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlscale import cli_completion
from rlscale.cli_output import Json, print_json
from rlscale.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from rlscale.audit import Report


def audit(
    target: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY|FILE...",
            help="A study, or files: results, or pictures from anywhere.",
            autocompletion=cli_completion.results,
        ),
    ],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Believe the digests of last time where size, times and inode are the same.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Derive figures and tables again in a scratch folder and compare bytes.")
    ] = False,
    stored: Annotated[
        str, typer.Option("--from", help="What --rebuild derives them from: scores, or rollouts, graded again.")
    ] = "scores",
    html: Annotated[Path | None, typer.Option(metavar="PAGE", help="Write a page as well.")] = None,
    as_json: Json = False,
) -> None:
    """Check every record behind a study, or behind files, against the bytes there are.

    Exit code 1 if anything is not as it was recorded; each fault is named with the figures that it taints and the
    command that mends it.
    """
    from rlscale.audit import audit_study
    from rlscale.audit.pages import page
    from rlscale.audit.rebuild import DERIVED_FROM, rebuilt, told
    from rlscale.audit.targets import resolve
    from rlscale.files import write_text

    if stored not in DERIVED_FROM:
        raise UserError(f'--from "{stored}": one of {", ".join(DERIVED_FROM)}{did_you_mean(stored, DERIVED_FROM)}')
    reports, derived = [], {}
    for study, asked in resolve(target).items():
        report = audit_study(study, quick=quick, only=asked.files, copies=asked.copies)
        reports.append(report)
        if not as_json:
            _show(report)
        if rebuild:
            derived[study] = rebuilt(study, asked.files, stored=stored)
            if not as_json:
                typer.echo("\n".join(told(derived[study])))
    if html is not None:
        write_text(html, page(reports))
        typer.echo(f"wrote {html}", err=True)
    if as_json:
        audits = [asdict(report) | {"ok": report.is_good} for report in reports]
        print_json({"audits": audits, "rebuilt": {study: list(map(asdict, files)) for study, files in derived.items()}})
    if not (
        all(report.is_good for report in reports) and all(one.is_same for files in derived.values() for one in files)
    ):
        raise typer.Exit(1)


def _show(report: "Report") -> None:
    from rich.tree import Tree

    from rlscale.audit.tree import branches
    from rlscale.cli_terminal import new_console, worded

    console = new_console()
    tree = Tree(", ".join(report.targets) or f"study {report.study}")
    nodes = {"": tree}
    for branch in branches(report):
        nodes[branch.stage] = nodes[branch.under].add(branch.text)
    console.print(tree, soft_wrap=True)
    for fault in report.faults:
        tainted = ", ".join(fault.taints) or "no figure"
        said = f" {fault.path}: {fault.why}"
        console.print(worded(fault.verdict.upper(), bold=True), said, sep="", style="bold", soft_wrap=True)
        console.print(f"  taints {tainted}\n  mend   {fault.mend}", soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True)
    counts = Counter(edge.verdict for edge in report.edges)
    said = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(counts.items()))
    read = f"{report.hashed_bytes / 1e6:,.1f} MB read" if report.hashed_bytes else "none read"
    console.print(
        f"{report.study}: {len(report.faults) or 'no'} fault{'s' * (len(report.faults) != 1)}; edges: {said}; "
        f"{report.files:,} files, {read}, {report.seconds:.1f} s",
        soft_wrap=True,
    )
