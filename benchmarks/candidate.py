"""What the quality benchmark asks of a model, whatever it is made of."""

from typing import Protocol, runtime_checkable

import numpy as np

from benchmarks.training_loop import Trained
from ulim_tf.event_log import EventLog, HeldOut


class Candidate(Protocol):
    """A model of the table.

    Attributes:
        name: of its rows.
    """

    name: str

    def fit(self, log: EventLog, *, validation: HeldOut | None, steps: int | None, seed: int, quick: bool) -> Trained:
        """Learns from the histories: to the best Recall@100 on `validation`, or for exactly `steps`.

        The test split is fitted with the steps that were best on the validation split.
        """

    def rank(self, log: EventLog, held: HeldOut, count: int, exclude_seen: bool) -> np.ndarray:
        """The best `count` items of each held-out user at the time of their basket, 0 past the last: int64 [n, count].

        With `exclude_seen`, without the items of the user's history.
        """


@runtime_checkable
class CategoryPredictor(Protocol):
    """A candidate that also says which categories come next."""

    def rank_categories(self, log: EventLog, held: HeldOut, count: int) -> np.ndarray:
        """The most probable `count` categories of each held-out user: int64 [n, count]."""
