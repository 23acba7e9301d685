"""What the page is about: one user and what a servable answered them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from serving.client import CategoryPrediction, Explanation, WeighedEvent


class Event(NamedTuple):
    """An event of a history.

    Attributes:
        item_id, category_id: as in the log.
        timestamp: unix seconds.
        basket: place of its basket in the history, from 0.
    """

    item_id: str
    category_id: str
    timestamp: int
    basket: int


class Answer(NamedTuple):
    """What a servable said.

    Attributes:
        predictions: categories, most probable first.
        explanations: items, best first.
        attention: category -> the events that weigh most in it, the weightiest first, of every category that is shown
            and has any.
    """

    predictions: Sequence[CategoryPrediction]
    explanations: Sequence[Explanation]
    attention: Mapping[str, Sequence[WeighedEvent]]


class Subject(NamedTuple):
    """A user and an answer.

    Attributes:
        user_id: as in the log.
        version: of the servable.
        events: in the order they happened; may be none.
        now: the moment that was asked about, unix seconds; 0 if there is no such moment.
        next_basket: the items that the run held out; None where it held nothing of this user out.
        answer: of the servable.
        titles: item -> its name; items that have none are called by their id.
        category_of: item -> category, of the catalogue.
    """

    user_id: str
    version: str
    events: Sequence[Event]
    now: int
    next_basket: Sequence[str] | None
    answer: Answer
    titles: Mapping[str, str]
    category_of: Mapping[str, str]

    def name(self, item_id: str) -> str:
        """What people call an item."""
        return self.titles.get(item_id) or item_id
