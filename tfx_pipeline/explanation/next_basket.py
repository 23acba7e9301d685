"""What the user really did next, where the run held it out."""

from collections.abc import Sequence
from typing import NamedTuple

from tfx_pipeline.explanation.subject import Subject


class Item(NamedTuple):
    """An item of the next basket.

    Attributes:
        name: as people call it.
        category_id: of the catalogue; "" where it has the item no longer.
        rank: among the recommendations, from 1; 0 if it is not there.
        known: whether the history has it.
    """

    name: str
    category_id: str
    rank: int
    known: bool


class NextBasket(NamedTuple):
    """The held-out basket.

    Attributes:
        items: recommended ones first, by rank.
        answered: how many items were recommended.
    """

    items: Sequence[Item]
    answered: int

    @classmethod
    def of(cls, subject: Subject) -> "NextBasket | None":
        """That of a user; None if nothing was held out."""
        if subject.next_basket is None:
            return None
        ranks = {one.recommendation.item_id: rank for rank, one in enumerate(subject.answer.explanations, 1)}
        history = {event.item_id for event in subject.events}
        items = [Item(subject.name(item), subject.category_of.get(item, ""), ranks.get(item, 0), item in history)
                 for item in subject.next_basket]
        return cls(sorted(items, key=lambda item: item.rank or len(ranks) + 1), len(ranks))

    @property
    def found(self) -> int:
        """How many were recommended."""
        return sum(item.rank > 0 for item in self.items)
