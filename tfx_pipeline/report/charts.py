"""The figures of a report, in one style. The page gives them its colours of text and lines, by light or dark."""

import html
import itertools
from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go

_COLOURS = ("#3f7fbf", "#d9822b", "#2a9d8f", "#b0578d", "#8a8f98", "#c9a227")  # told apart on white and on black
_HEIGHT = 340
_ROW_HEIGHT = 22


def lines(x: str, y: str, series: Mapping[str, tuple[Sequence[float] | Sequence[str], Sequence[float]]]) -> go.Figure:
    """A line for each series.

    Args:
        x, y: titles of the axes, with units.
        series: name -> places on x and values on y.
    """
    figure = _figure(x, y)
    for name, (places, values) in series.items():
        figure.add_scatter(x=list(places), y=list(values), name=name,
                           mode="lines+markers" if len(places) <= 50 else "lines", marker={"size": 5})
    figure.update_layout(showlegend=len(series) > 1)
    return figure


def bars(x: str, y: str, values: Mapping[str, float]) -> go.Figure:
    """A lying bar for each name, the first on top; `x` is the title of the values."""
    figure = _figure(x, y)
    figure.add_bar(x=list(values.values()), y=_plain(values), orientation="h")
    figure.update_layout(height=max(_HEIGHT // 2, 110 + _ROW_HEIGHT * len(values)))
    figure.update_yaxes(autorange="reversed", type="category", ticksuffix=" ")
    return figure


def grouped_bars(x: str, y: str, groups: Sequence[str], series: Mapping[str, Sequence[float | None]]) -> go.Figure:
    """Standing bars side by side, a group for each place on x and in it a bar for each series; no bar for None."""
    figure = _figure(x, y)
    for name, values in series.items():
        figure.add_bar(x=_plain(groups), y=list(values), name=name)
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_yaxes(rangemode="tozero")
    return figure


def histogram(x: str, y: str, edges: Sequence[float], counts: Sequence[float]) -> go.Figure:
    """Bars between n + 1 edges with n counts."""
    figure = _figure(x, y)
    widths = [high - low for low, high in itertools.pairwise(edges)]
    figure.add_bar(x=[low + width / 2 for low, width in zip(edges, widths)], y=list(counts), width=widths,
                   marker={"line": {"width": 0.5}})
    return figure


def reliability(x: str, y: str, diagonal: str,
                series: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> go.Figure:
    """Points against a diagonal, on logarithmic axes; points at 0 have no place there and are left out."""
    figure = _figure(x, y)
    shown = {name: [(place, value) for place, value in zip(*points) if place > 0 and value > 0]
             for name, points in series.items()}
    everything = [number for points in shown.values() for point in points for number in point]
    if everything:
        ends = [min(everything), max(everything)]
        figure.add_scatter(x=ends, y=ends, name=diagonal, mode="lines", line={"dash": "dot", "color": _COLOURS[4]})
    for name, points in shown.items():
        figure.add_scatter(x=[place for place, _ in points], y=[value for _, value in points], name=name,
                           mode="lines+markers")
    figure.update_xaxes(type="log", tickformat=".2~%", dtick="D2")
    figure.update_yaxes(type="log", tickformat=".2~%", dtick="D2")
    return figure


def _plain(names: Iterable[str]) -> list[str]:
    """Names as they are: Plotly reads bold type and links into tags."""
    return [html.escape(name, quote=False) for name in names]


def _figure(x: str, y: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="none", height=_HEIGHT, margin={"l": 10, "r": 10, "t": 10, "b": 10}, colorway=_COLOURS,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"})
    figure.update_xaxes(title={"text": x, "standoff": 8}, automargin=True, zeroline=False)
    figure.update_yaxes(title={"text": y, "standoff": 8}, automargin=True, zeroline=False)
    return figure
