"""What a finished study came to: its fits, and where its tables and figures are."""

from dataclasses import dataclass
from pathlib import Path

from rlscale.errors import UserError
from rlscale.files import read_json
from rlscale.fit import Fit
from rlscale.paths import StudyPaths


@dataclass(frozen=True)
class Summary:
    """The fits of a study by name (X and loss space), and its files in the order of their names."""

    fits: dict[str, Fit]
    tables: list[Path]
    figures: list[Path]

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON-native values."""
        return {
            "fits": {name: fit.to_json() for name, fit in self.fits.items()},
            "tables": list(map(str, self.tables)),
            "figures": list(map(str, self.figures)),
        }


def study_summary(paths: StudyPaths) -> Summary:
    """Read what a finished study came to.

    Raises:
        UserError: the study has no fit yet, or one that another version of rlscale made.
    """
    again = f"run `make run STUDY={paths.study}`"
    if not paths.fit.is_file():
        raise UserError(f"study {paths.study} has no fit yet ({paths.fit}): {again}")
    try:
        fits = {name: Fit(**fit) for name, fit in read_json(paths.fit)["fits"].items()}
    except TypeError as error:
        raise UserError(f"{paths.fit}: made by another version of rlscale: {again}") from error
    written = (
        *(paths.curves_csv, paths.all_scores, paths.law_points, paths.fit),
        *(paths.ranking, paths.comparison, paths.sensitivity, paths.findings),
    )
    tables = [path for path in written if path.is_file()]
    figures = sorted(paths.figure("*", "svg").parent.glob("*.svg"))
    return Summary(fits, tables, figures)
