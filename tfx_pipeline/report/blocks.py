"""What the pages of a report are made of; the templates know these and nothing of a pipeline."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import plotly.graph_objects as go

GOOD, UNSURE, BAD, NEUTRAL = "good", "unsure", "bad", ""  # moods, of a headline or a row


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclasses.dataclass(frozen=True)
class Missing:
    """A line that says what is not there and why."""

    kind: ClassVar[str] = "missing"
    text: str


@dataclasses.dataclass(frozen=True)
class Link:
    """A paragraph that is a link to a file.

    Attributes:
        text: what is shown.
        href: relative to the page.
    """

    kind: ClassVar[str] = "link"
    text: str
    href: str


@dataclasses.dataclass(frozen=True)
class Facts:
    """Names with a value each."""

    kind: ClassVar[str] = "facts"
    values: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        caption: what it is of.
        columns: the header.
        rows: cells.
        words: how many of the first columns hold words; the others hold numbers, which stand on the right.
        moods: of each row, shown in its second cell; () for none.
        folded: whether one has to open it.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    moods: Sequence[str] = ()
    folded: bool = False


@dataclasses.dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        title: what it shows, in a few words.
        figure: with titled axes.
        description: for those who do not see it: what is drawn and what it shows.
    """

    kind: ClassVar[str] = "chart"
    title: str
    figure: go.Figure
    description: str


Block = Text | Missing | Link | Facts | Table | Chart


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page under a heading.

    Attributes:
        anchor: its name in links.
        title: its heading.
        blocks: what it holds.
    """

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclasses.dataclass(frozen=True)
class Headline:
    """What one wants to know first.

    Attributes:
        mood: one of the above.
        verdict: in a few words.
        detail: in a sentence or two.
    """

    mood: str
    verdict: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: of the window.
        headline: at the top.
        figures: the few numbers below it.
        sections: in order.
        elsewhere: leads to the other page; None if there is none.
    """

    title: str
    headline: Headline
    figures: Mapping[str, str]
    sections: Sequence[Section]
    elsewhere: Link | None
