"""A history as lanes, one a category: the likeliest next ones, and the user's biggest of the others."""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from typing import NamedTuple

from serving.client import CategoryPrediction, WeighedEvent
from tfx_pipeline.explanation.subject import Event, Subject
from tfx_pipeline.explanation.time_axis import TimeAxis
from tfx_pipeline.report.wording import day, number, share

PREDICTED = 8  # likeliest categories, each in a colour of its own
BIGGEST = 3  # of the others
MOST_DOTS = 120  # in a lane
HEIGHT = 40  # of a lane, pixels

_LEVELS = (0, 6, -6, 12, -12)  # pixels off the middle, for events that would hide one another
_NEAR = 0.9  # percent of the width within which they would
_SMALL, _LARGE = 2.8, 9.0  # radius of an event without weight, and what a weight of 1 adds
_TALLEST = 30.0  # stem of the fullest basket, pixels
_MARGIN = 0.005  # weights add up to 1 but for rounding


class Dot(NamedTuple):
    """A drawn event.

    Attributes:
        x: percent from the left.
        y, radius: pixels.
        weight: of the attention, 0 to 1; None where it is not among the weightiest.
        basket: its place in the history.
        told: what it is.
    """

    x: float
    y: float
    radius: float
    weight: float | None
    basket: int
    told: str


class Stem(NamedTuple):
    """Baskets at one place: percent from the left, pixels of height, and what they are."""

    x: float
    height: float
    told: str


class Came(NamedTuple):
    """An item of the next basket: whether it is among the answered, and what it is."""

    found: bool
    told: str


class Lane(NamedTuple):
    """A category of the user.

    Attributes:
        category_id: as in the catalogue.
        colour: 1 and up for predicted ones, 0 for others.
        events: how many the history has.
        dots: those that are drawn, the weightiest last, on top of the others.
        undrawn: how many are not.
        attention: the weightiest events, the weightiest first; none where the category was not searched.
        rest: what all other events of the category weigh together.
        prediction: None where the category is not among those that were predicted.
        rank: of the prediction, from 1; 0 without one.
        came: items of the next basket in this category.
    """

    category_id: str
    colour: int
    events: int
    dots: Sequence[Dot]
    undrawn: int
    attention: Sequence[WeighedEvent]
    rest: float
    prediction: CategoryPrediction | None
    rank: int
    came: Sequence[Came]

    @property
    def told(self) -> str:
        """In a line: how many events, and where the attention lies."""
        if not self.events:
            return "no event yet"
        text = f"{number(self.events)} event" + "s" * (self.events != 1)
        if self.undrawn:
            text += f", {number(self.events - self.undrawn)} drawn"
        if self.attention and self.rest:
            text += f"; {len(self.attention)} hold {1 - self.rest:.0%} of attention".replace("%", " %")
        return text


def shown(predictions: Sequence[CategoryPrediction], events: Sequence[Event]) -> list[str]:
    """The categories that get a lane: the likeliest, then the user's biggest of the others."""
    likeliest = [one.category_id for one in predictions[:PREDICTED] if one.probability]
    sizes = Counter(event.category_id for event in events)
    return likeliest + [category for category, _ in sizes.most_common() if category not in likeliest][:BIGGEST]


def make(subject: Subject, axis: TimeAxis) -> list[Lane]:
    """The lanes, in the order of `shown`."""
    predicted = {one.category_id: (rank, one) for rank, one in enumerate(subject.answer.predictions, 1)}
    events = defaultdict(list)
    for event in subject.events:
        events[event.category_id].append(event)
    answered = {one.recommendation.item_id for one in subject.answer.explanations}
    came = defaultdict(list)
    for item in subject.next_basket or ():
        came[subject.category_of.get(item)].append(Came(item in answered, subject.name(item)))
    lanes = []
    for category in shown(subject.answer.predictions, subject.events):
        rank, prediction = predicted.get(category, (0, None))
        attention = subject.answer.attention.get(category, ())
        dots = _dots(subject, events[category], attention, axis)
        rest = 1 - sum(event.weight for event in attention) if attention else 0.0
        lanes.append(Lane(
            category_id=category, colour=rank if prediction and prediction.probability and rank <= PREDICTED else 0,
            events=len(events[category]), dots=dots, undrawn=len(events[category]) - len(dots), attention=attention,
            rest=rest if rest > _MARGIN else 0.0, prediction=prediction, rank=rank, came=came[category]))
    return lanes


def stems(events: Sequence[Event], axis: TimeAxis) -> list[Stem]:
    """All baskets; those at the same thousandth of the width are one stem."""
    at: dict[float, list[Event]] = defaultdict(list)
    for event in events:
        at[round(axis.x(event.timestamp), 1)].append(event)
    fullest = max(map(len, at.values()), default=0)
    return [Stem(x, round(max(3.0, _TALLEST * len(here) / fullest), 1), _stem_told(here)) for x, here in at.items()]


def _stem_told(events: Sequence[Event]) -> str:
    baskets = len({event.basket for event in events})
    days = list(dict.fromkeys(day(event.timestamp) for event in (events[0], events[-1])))
    return (f"{number(baskets)} basket" + "s" * (baskets != 1) + f" of {number(len(events))} event"
            + "s" * (len(events) != 1) + f", {' to '.join(days)}")


def _dots(subject: Subject, events: Sequence[Event], attention: Sequence[WeighedEvent], axis: TimeAxis) -> list[Dot]:
    weights: dict[tuple[str, int], deque[float]] = defaultdict(deque)
    for one in attention:
        weights[one.item_id, one.timestamp].append(one.weight)
    plain: list[tuple[Event, float | None]] = []
    weighed: list[tuple[Event, float]] = []
    for event in reversed(events):  # of equal ones, the newest is the one that a model reads
        found = weights[event.item_id, event.timestamp]
        if found:
            weighed.append((event, found.popleft()))
        else:
            plain.append((event, None))
    kept = _thinned(plain[::-1], max(0, MOST_DOTS - len(weighed)))
    heavier = sorted(weighed, key=lambda pair: pair[1])
    levels = _levels([axis.x(event.timestamp) for event, _ in kept])
    return [_dot(subject, event, weight, axis, level) for (event, weight), level in zip(
        [*kept, *heavier], levels + [0] * len(heavier))]


def _dot(subject: Subject, event: Event, weight: float | None, axis: TimeAxis, level: int) -> Dot:
    told = f"{subject.name(event.item_id)}, {day(event.timestamp)}"
    if weight is None:
        return Dot(axis.x(event.timestamp), HEIGHT / 2 + level, _SMALL, None, event.basket, told)
    return Dot(axis.x(event.timestamp), HEIGHT / 2, round(_SMALL + _LARGE * weight**0.5, 1), weight, event.basket,
               f"{told}: {share(weight)} of the attention")


def _thinned(events: list, most: int) -> list:
    """At most so many, evenly chosen."""
    if len(events) <= most:
        return events
    return [events[place * len(events) // most] for place in range(most)]


def _levels(places: Sequence[float]) -> list[int]:
    """Of dots from left to right, how far each is off the middle, so that near ones are seen apart."""
    levels, newest = [], dict.fromkeys(_LEVELS, -math.inf)
    for x in places:
        free = next((level for level, before in newest.items() if x - before > _NEAR), None)
        level = min(newest, key=newest.__getitem__) if free is None else free
        newest[level] = x
        levels.append(level)
    return levels
