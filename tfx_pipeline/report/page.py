"""A `Page` as an HTML file beside the script that draws its charts; nothing is fetched from anywhere else."""

from pathlib import Path

import jinja2
import plotly.io
import plotly.offline
from markupsafe import Markup

from tfx_pipeline.report.blocks import Chart, Page

PLOTLY_FILE = "plotly.min.js"

_TEMPLATES = Path(__file__).parent / "templates"


def write(pages: dict[str, Page], directory: Path) -> None:
    """Writes pages and what they need; a page that is there is replaced in one move.

    Args:
        pages: file name -> page.
        directory: made if missing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _replace(directory / PLOTLY_FILE, plotly.offline.get_plotlyjs())
    for name, page in pages.items():
        _replace(directory / name, render(page))


def render(page: Page) -> str:
    """The HTML of a page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined)
    environment.filters["figure_json"] = _figure_json
    return environment.get_template("page.html.j2").render(
        page=page, script=PLOTLY_FILE, has_charts=_has_charts(page), style=_source("style.css"),
        draw=_source("draw.js"))


def _source(name: str) -> Markup:
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def _has_charts(page: Page) -> bool:
    return any(isinstance(block, Chart) for section in page.sections for block in section.blocks)


def _figure_json(chart: Chart) -> Markup:
    """JSON that may stand inside a script element: Plotly escapes <, > and / in it."""
    return Markup(plotly.io.to_json(chart.figure))


def _replace(file: Path, text: str) -> None:
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(file)


