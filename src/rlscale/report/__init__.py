"""The page of a study: one HTML file with its numbers, figures, planner and provenance, and no need of a network.

`render_page` is a pure function of tables and records, and the same of them gives the same bytes: a page holds no time,
no random name and nothing of the machine. Templates, style and scripts lie beside; `vendor/` has the plotting library.
"""

from rlscale.report.material import Material
from rlscale.report.page import render_page

__all__ = ["Material", "render_page"]
