"""A section that cannot be made costs itself, never the page."""

import logging
from collections.abc import Callable, Iterable

from tfx_pipeline.report.blocks import Block, Missing, Section


def section(anchor: str, title: str, make: Callable[[], Iterable[Block]]) -> Section:
    """The section of what `make` gives; after an error one line that tells it, with the traceback in the log."""
    try:
        return Section(anchor, title, list(make()))
    except Exception as error:
        logging.getLogger(__name__).exception("the report's section %r could not be made", title)
        return Section(anchor, title, [Missing(f"This section could not be made: {type(error).__name__}: {error}")])
