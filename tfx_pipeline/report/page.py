"""A `Page` as an HTML file beside the script that draws its charts; nothing is fetched from anywhere else."""

from pathlib import Path

import plotly.io
import plotly.offline
from markupsafe import Markup

from tfx_pipeline.report import html
from tfx_pipeline.report.blocks import Chart, Page

PLOTLY_FILE = "plotly.min.js"


def write(pages: dict[str, Page], directory: Path) -> None:
    """Writes pages and what they need; a page that is there is replaced in one move.

    Args:
        pages: file name -> page.
        directory: made if missing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    html.replace(directory / PLOTLY_FILE, plotly.offline.get_plotlyjs())
    for name, page in pages.items():
        html.replace(directory / name, render(page))


def render(page: Page) -> str:
    """The HTML of a page."""
    environment = html.environment()
    environment.filters["figure_json"] = _figure_json
    return environment.get_template("page.html.j2").render(
        page=page, script=PLOTLY_FILE, has_charts=_has_charts(page), style=html.source(environment, "style.css"),
        draw=html.source(environment, "draw.js"))


def _has_charts(page: Page) -> bool:
    return any(isinstance(block, Chart) for section in page.sections for block in section.blocks)


def _figure_json(chart: Chart) -> Markup:
    """JSON that may stand inside a script element: Plotly escapes <, > and / in it."""
    return Markup(plotly.io.to_json(chart.figure))
