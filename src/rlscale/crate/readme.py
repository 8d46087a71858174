"""What a crate says of itself to whoever opens it without tools."""

from pathlib import Path

from rlscale.crate.graph import METADATA, Graph
from rlscale.crate.history import History

README = Path("README.md")


def readme(history: History, graph: Graph) -> str:
    """Return the Markdown text that stands at the top of a crate."""
    paths, jobs = history.paths, history.jobs
    commits = sorted({job.record.git.commit or "none" for job in jobs})
    changed = any(job.record.git.uncommitted_sha256 for job in jobs)
    left_out = (
        f"Left out, and described by size and SHA-256 alone: {len(graph.described)} files of "
        f"{sum(graph.described.values())} bytes "
        "(weights, trainer state, raw answers by checkpoint): in the metadata, their names begin with `#`."
    )
    lines = [
        f"# Study {paths.study} of rlscale",
        history.study.description or "",
        f"A Workflow Run RO-Crate (profile: Provenance Run Crate 0.5). `{METADATA}` says of every file what made it, "
        "out of what, with what and when.",
        f"- the study: `{history.file}`, run by `snakemake {paths.study}` as {len(jobs)} jobs\n"
        f"- its results: `{paths.figure('*', 'svg').parent}`, `{paths.curves.parent}`, `{paths.fit.parent}`\n"
        "- beside each result `*.record.json`: the job that made it, with all digests\n"
        f"- commit of the code: {', '.join(commits)}{', with uncommitted changes' if changed else ''}",
        left_out if graph.described else "",
        "To check it: `rocrate-validator validate -p provenance-run-crate-0.5 .`; to read it: `runcrate report .`",
    ]
    return "\n\n".join(line for line in lines if line) + "\n"
