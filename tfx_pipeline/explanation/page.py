"""A `Subject` as one HTML file."""

from collections.abc import Sequence
from pathlib import Path

from serving.client import CategoryPrediction
from tfx_pipeline.explanation import lanes, reasons
from tfx_pipeline.explanation.next_basket import NextBasket
from tfx_pipeline.explanation.subject import Subject
from tfx_pipeline.explanation.time_axis import TimeAxis
from tfx_pipeline.report import html
from tfx_pipeline.report.wording import day, number, share

_RECOMMENDED, _NAMED = 20, 3
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
        user_id=subject.user_id, version=subject.version, asked=day(subject.now) if subject.now else "",
        detail=_detail(subject, basket), baskets=len({event.basket for event in subject.events}),
        span=" to ".join(dict.fromkeys((day(first), day(newest)))), lanes=shown,
        stems=lanes.stems(subject.events, axis), marks=axis.marks() if subject.events else [],
        now=axis.x(subject.now), height=lanes.HEIGHT,
        likeliest=max(one.probability for one in subject.answer.predictions) or 1.0,
        recommended=reasons.make(subject, shown, _RECOMMENDED), without_reason=reasons.without_reason,
        name=subject.name, answered=len(subject.answer.explanations),
        basket=basket, style=html.source(templates, "style.css"), own_style=html.source(templates, "explanation.css"),
        script=html.source(templates, "hover.js"))


def _detail(subject: Subject, basket: NextBasket | None) -> str:
    if subject.events:
        source = (f"From {_many(len(subject.events), 'event')} in "
                  f"{_many(len({event.category_id for event in subject.events}), 'category', 'categories')}")
    else:
        source = "Without a history"
    likeliest = [one for one in subject.answer.predictions[:_NAMED] if one.probability]
    expected = f"{source}, the model expects {_listed(likeliest) if likeliest else 'no category'} next."
    if not basket:
        return expected
    return (f"{expected} Of the {_many(len(basket.items), 'item')} that the user really took next, unseen by the "
            f"model, {number(basket.found)} {'is' if basket.found == 1 else 'are'} among its "
            f"{number(basket.answered)} recommendations.")


def _listed(predictions: Sequence[CategoryPrediction]) -> str:
    *before, last = [f"{one.category_id} ({share(one.probability)})" for one in predictions]
    return f"{', '.join(before)} and {last}" if before else last


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{number(count)} {one if count == 1 else more or one + 's'}"
