"""`rlscale crate`: a finished study as an RO-Crate."""

from pathlib import Path
from typing import Annotated

import typer

from rlscale.cli_output import Json, Study, emit


def crate(  # noqa: PLR0917 (on the command line the options are named)
    study: Study,
    out: Annotated[
        Path | None, typer.Option(help="A folder, or a file that ends in .zip; default: results/STUDY.crate.zip.")
    ] = None,
    with_checkpoints: Annotated[
        bool, typer.Option("--with-checkpoints", help="Carry weights, trainer state and large files too.")
    ] = False,
    agent: Annotated[str | None, typer.Option(help="Name of who ran the study.")] = None,
    orcid: Annotated[str | None, typer.Option(help="Their ORCID, such as 0000-0002-1825-0097.")] = None,
    licence: Annotated[str, typer.Option("--license", help="SPDX identifier or URL.")] = "Apache-2.0",
    as_json: Json = False,
) -> None:
    """Export a finished study as a Workflow Run RO-Crate: results, records, and all that made them.

    Weights are described by their digests and left out, unless --with-checkpoints.
    """
    from rlscale.config import find_study
    from rlscale.crate import Options, export_crate, orcid_url
    from rlscale.paths import StudyPaths

    file = find_study(study)
    options = Options(with_checkpoints=with_checkpoints, agent=agent, orcid=orcid_url(orcid, agent), licence=licence)
    made = export_crate(file, out or StudyPaths(file.stem).crate, options)
    said = f"wrote {made.path}: {made.jobs} jobs, {made.files} files ({made.bytes / 1e6:.1f} MB)"
    if made.described:
        said += f"; {made.described} more by their digests alone ({made.described_bytes / 1e6:.1f} MB)"
    emit(made.to_json(), as_json, said)
