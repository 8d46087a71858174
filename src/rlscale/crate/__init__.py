"""A study as a Workflow Run RO-Crate: its results, what made them, and how it all hangs together, for other tools."""

from rlscale.crate.describe import Options, orcid_url
from rlscale.crate.export import Export, export_crate

__all__ = ["Export", "Options", "export_crate", "orcid_url"]
