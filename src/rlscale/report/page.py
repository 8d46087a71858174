"""The page put together: sections and figures into one HTML file that loads nothing and may run nothing but its own.

A policy in its head allows scripts by their digests and no address at all, so a browser itself refuses any request.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rlscale.report import sections
from rlscale.report.drawers import Drawer, drawer
from rlscale.report.evidence import planner_data
from rlscale.report.figure import Figure
from rlscale.report.law_figures import loss_figure, slope_figure
from rlscale.report.material import Material
from rlscale.report.other_figures import AXES, cost_figure, forecast_figure, sweep_figure, tournament_figure

_PLANNER = ("text", "replicates", "questions", "checks", "planner", "tables")
SCRIPTS = ("vendor/plotly-basic.min.js", *(f"planner/{name}.js" for name in _PLANNER), "figures.js", "form.js")
_ESCAPED = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def render_page(material: Material) -> str:
    """Return the page of a study as HTML."""
    pages = Environment(
        loader=PackageLoader("rlscale.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.globals["is_pair"] = lambda cell: isinstance(cell, tuple)
    figures = {name: list(made) for name, made in _figures(material).items()}
    scripts = [_resource(name) for name in SCRIPTS]
    planner = planner_data(material)
    data = {one.key: one.data() for own in figures.values() for one in own}
    return pages.get_template("page.html.j2").render(
        study=material.study,
        told=material.told,
        is_trained=bool(material.steps),
        numbers=sections.key_numbers(material),
        figures=figures,
        drawers={one.key: drawer(material, one.sources, one.picture) for own in figures.values() for one in own},
        whole=_whole(material),
        fits=sections.fits_table(material),
        curves=None if material.steps else sections.curves_table(material),
        findings=sections.findings(material),
        reuse=sections.reuse_table(material),
        sensitivity=sections.sensitivity_table(material),
        winners=material.comparison["winners"],
        health=sections.health_table(material),
        gates=sections.gates(material),
        missing=list(sections.missing(material)),
        planner=planner,
        data=_json(data),
        planner_data=_json(planner),
        style=Markup(_resource("page.css")),  # noqa: S704 - our own file
        scripts=[Markup(text) for text in scripts],  # noqa: S704 - our own files
        policy=_policy(scripts),
    )


def _figures(material: Material) -> dict[str, Iterator[Figure]]:
    """Return the figures of each section."""
    xs = material.told["x"]

    def there(*made: Figure | None) -> Iterator[Figure]:
        return (one for one in made if one is not None)

    return {
        "cost": there(cost_figure(material)),
        "law": there(*(loss_figure(material, x) for x in xs)),
        "slope": there(*(slope_figure(material, x) for x in xs)),
        "tournament": there(*(tournament_figure(material, x) for x in xs)),
        "forecast": there(*(forecast_figure(material, x) for x in xs)),
        "sweeps": there(*(sweep_figure(material, name) for name in AXES)),
    }


def _whole(material: Material) -> Drawer:
    return drawer(material, [name for name in material.files if name != "steps"])


def _policy(scripts: list[str]) -> str:
    digests = (b64encode(sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    # The plotting library writes style elements; pictures are its own, as data.
    rules = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"
    return f"{rules}; base-uri 'none'; form-action 'none'"


def _json(values: Mapping[str, Any]) -> Markup:
    """Return JSON that may stand in a script element: no sign of it ends the element or begins another."""
    text = json.dumps(values, sort_keys=False, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.translate(_ESCAPED))  # noqa: S704 - nothing of markup is left in it


def _resource(name: str) -> str:
    return files("rlscale.report").joinpath(name).read_text(encoding="utf-8")
