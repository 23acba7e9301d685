"""Templates to HTML, and HTML to files."""

from pathlib import Path

import jinja2
from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"


def environment(*folders: Path) -> jinja2.Environment:
    """What renders templates, every text escaped.

    Args:
        folders: with templates besides those of the report, and before them.
    """
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, _TEMPLATES]), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined)


def source(templates: jinja2.Environment, name: str) -> Markup:
    """A file beside the templates, as it is."""
    loader = templates.loader
    return Markup(loader.get_source(templates, name)[0])  # type: ignore[union-attr]  # `environment` gave it one


def replace(file: Path, text: str) -> None:
    """Writes a file in one move: whoever reads it meanwhile gets the old one or the new one."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(file)
