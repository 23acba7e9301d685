"""The recommendations, each with what spoke for it."""

from collections.abc import Sequence
from typing import NamedTuple

from serving.client import WeighedEvent
from tfx_pipeline.explanation.lanes import Lane
from tfx_pipeline.explanation.subject import Event, Subject
from tfx_pipeline.report.wording import day, number

_REASONS = 3


class Reason(NamedTuple):
    """Events of one item that spoke for a recommendation: its name, when they were, and their weight together."""

    name: str
    when: str
    weight: float


class Recommended(NamedTuple):
    """A recommendation.

    Attributes:
        rank: from 1.
        item_id, name, category_id, channel, score: as answered.
        colour: of the category's lane; 0 where it has none of its own.
        probability: of the category.
        before: what the history says of the item itself.
        reasons: weightiest first; none where no attention was asked for.
        found: whether it is in the next basket.
    """

    rank: int
    item_id: str
    name: str
    category_id: str
    channel: str
    score: float
    colour: int
    probability: float
    before: str
    reasons: Sequence[Reason]
    found: bool


def make(subject: Subject, lanes: Sequence[Lane], most: int) -> list[Recommended]:
    """The first of the answer.

    Args:
        subject: who asked, and the answer.
        lanes: that give the colours.
        most: how many.
    """
    colours = {lane.category_id: lane.colour for lane in lanes}
    bought = set(subject.next_basket or ())
    return [Recommended(
        rank, why.recommendation.item_id, subject.name(why.recommendation.item_id), why.recommendation.category_id,
        why.recommendation.channel, why.recommendation.score, colours.get(why.recommendation.category_id, 0),
        why.copied + why.generated, _before(why.recommendation.item_id, subject.events),
        merged(subject, why.events)[:_REASONS], why.recommendation.item_id in bought)
        for rank, why in enumerate(subject.answer.explanations[:most], 1)]


def merged(subject: Subject, events: Sequence[WeighedEvent]) -> list[Reason]:
    """Those of one item as one: its events and the sum of their weights, the weightiest first."""
    of_item: dict[str, list[WeighedEvent]] = {}
    for event in events:
        of_item.setdefault(event.item_id, []).append(event)
    reasons = [Reason(subject.name(item), _times(same), sum(event.weight for event in same))
               for item, same in of_item.items()]
    return sorted(reasons, key=lambda reason: -reason.weight)


def without_reason(channel: str) -> str:
    """What stands where no event is named."""
    return {"short-term": "the newest events as a whole", "backfill": "popular with everybody"}.get(
        channel, "generated: no event of this category")


def _times(events: Sequence[WeighedEvent]) -> str:
    newest = day(max(event.timestamp for event in events))
    return newest if len(events) == 1 else f"{len(events)}×, last {newest}"


def _before(item_id: str, events: Sequence[Event]) -> str:
    times = [event.timestamp for event in events if event.item_id == item_id]
    if not times:
        return "new to this user"
    return f"in the history {number(len(times))} time" + "s" * (len(times) != 1) + f", last {day(max(times))}"
