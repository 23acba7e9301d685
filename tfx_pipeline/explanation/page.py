"""A `Subject` as one HTML file."""

from pathlib import Path

from serving.client import CategoryPrediction
from tfx_pipeline.explanation import lanes, reasons
from tfx_pipeline.explanation.next_basket import NextBasket
from tfx_pipeline.explanation.subject import Subject
from tfx_pipeline.explanation.time_axis import TimeAxis
from tfx_pipeline.report import html
from tfx_pipeline.report.wording import day, number, share

_RECOMMENDED = 20
_TEMPLATES = Path(__file__).parent / "templates"


def write(subject: Subject, file: Path) -> None:
    """Writes the page; a file that is there is replaced in one move, folders are made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    html.replace(file, render(subject))


def render(subject: Subject) -> str:
    """The HTML of the page."""
    first = min((event.timestamp for event in subject.events), default=subject.now)
    newest = max((event.timestamp for event in subject.events), default=subject.now)
    axis = TimeAxis.over(first, max(newest, subject.now))
    shown = lanes.make(subject, axis)
    basket = NextBasket.of(subject)
    templates = html.environment(_TEMPLATES)
    templates.filters |= {"share": share, "number": number, "day": day}
    return templates.get_template("explanation.html.j2").render(
        user_id=subject.user_id, detail=_detail(subject, basket), figures=_figures(subject, basket),
        span=" to ".join(dict.fromkeys((day(first), day(newest)))), lanes=shown,
        stems=lanes.stems(subject.events, axis), marks=axis.marks() if subject.events else [], height=lanes.HEIGHT,
        likeliest=max((one.probability for one in subject.answer.predictions), default=1.0) or 1.0,
        recommended=reasons.make(subject, shown, _RECOMMENDED), without_reason=reasons.without_reason,
        name=subject.name, answered=len(subject.answer.explanations),
        basket=basket, style=html.source(templates, "style.css"), own_style=html.source(templates, "explanation.css"),
        script=html.source(templates, "hover.js"))


def _detail(subject: Subject, basket: NextBasket | None) -> str:
    if subject.events:
        read = (f"Asked on {day(subject.now)}, version {subject.version} read {_many(len(subject.events), 'event')} in "
                f"{_many(len({event.category_id for event in subject.events}), 'category', 'categories')}")
    else:
        read = f"Version {subject.version} was asked without a history"
    likeliest = subject.answer.predictions[:3]
    expected = f" and expects {_listed(likeliest)} next." if likeliest else "."
    came = (f" In the next basket, which it never saw, there are {_many(len(basket.items), 'item')}: "
            f"{number(basket.found)} of them among its first {number(basket.answered)}.") if basket else ""
    return read + expected + came


def _listed(predictions: list[CategoryPrediction]) -> str:
    *before, last = [f"{one.category_id} ({share(one.probability)})" for one in predictions]
    return f"{', '.join(before)} and {last}" if before else last


def _figures(subject: Subject, basket: NextBasket | None) -> dict[str, str]:
    probability = sum(one.probability for one in subject.answer.predictions)
    copied = sum(one.probability * one.copy_share for one in subject.answer.predictions)
    figures = {"Events": number(len(subject.events)),
               "Baskets": number(len({event.basket for event in subject.events})),
               "Categories": number(len({event.category_id for event in subject.events}))}
    if probability:
        figures["Of the prediction, copied"] = share(copied / probability)
    if basket:
        figures["Of the next basket, found"] = f"{number(basket.found)} of {number(len(basket.items))}"
    return figures


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{number(count)} {one if count == 1 else more or one + 's'}"
