"""Shared by all tests: repeatable property tests, and the folder of reference files that some tests try."""

import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

# No shrinking: most inputs are seeds, where a smaller one explains nothing and the search takes minutes.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=20,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("repeatable")

SIBLING = Path(__file__).resolve().parents[2] / "shared"


def _reference() -> Path | None:
    """Return the folder that RLSCALE_REFERENCE names, else the repository's sibling `shared`, else None."""
    named = os.environ.get("RLSCALE_REFERENCE")
    if named:
        return Path(named)
    return SIBLING if SIBLING.is_dir() else None


def pytest_report_header() -> str:
    return f"reference folder: {_reference() or 'none (RLSCALE_REFERENCE is not set): tests that need it are skipped'}"


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    folder = _reference()
    if folder is None:
        pytest.skip("no reference folder: set RLSCALE_REFERENCE to try the real files")
    if not folder.is_dir():
        pytest.fail(f"RLSCALE_REFERENCE names {folder}, which is no folder")
    return folder
