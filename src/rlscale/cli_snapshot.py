"""`rlscale snapshot`: what Snakemake remembers of a study, put beside its results, so that it travels with them."""

from rlscale.cli_output import Json, Study, emit


def snapshot(study: Study, as_json: Json = False) -> None:
    """Store what Snakemake remembers of a study's outputs beside them, for a clone; the Snakefile restores it."""
    from rlscale.config import find_study
    from rlscale.paths import StudyPaths
    from rlscale.snapshot import take_snapshot

    paths = StudyPaths(find_study(study).stem)
    outputs = take_snapshot(paths)
    said = {"study": paths.study, "path": str(paths.snapshot), "outputs": outputs}
    emit(said, as_json, f"wrote {paths.snapshot}: what Snakemake remembers of {outputs} outputs")
