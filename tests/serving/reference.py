"""What the signatures answer, in plain Python from the definitions, with the trained layers for the parts they are."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tests import oracles
from ulim_tf import history
from ulim_tf.model import LongInterests, UlimModel


class Interests(NamedTuple):
    """Of one user."""

    short: np.ndarray  # q, [1, D]
    probability: np.ndarray  # [C + 1]
    copied: np.ndarray  # [C + 1]
    category: list[int]  # those searched, most probable first
    given_allowed: list[float]  # their probabilities, of all that is allowed
    long: LongInterests
    events: list[list[oracles.Event]]  # of each category searched, oldest first


def interests(model: UlimModel, events: Sequence[oracles.Event], now: int,
              allowed: Collection[int] | None = None) -> Interests:
    """Reads a history without the TensorFlow ops that do so in the servable."""
    config, item_category = model.settings, model.embedding.item_category.numpy().tolist()
    now = now or max((event.timestamp for event in events if event.item), default=0)

    def moment(wanted: Sequence[int]) -> dict:
        return oracles.moment(events, now, item_category, config.history.short, config.history.subsequence,
                              config.history.long, wanted)

    def row(values: Sequence[int]) -> tf.Tensor:
        return tf.constant([[*values, 0]], tf.int64)

    read = moment([])
    categories = list(read["categories"])
    counts, ages, spans = zip(*read["categories"].values(), (0, 0, 0))
    moments = {
        history.SHORT_ITEM: row([item for item, _ in read["short"]]),
        history.SHORT_CATEGORY: row([item_category[item] for item, _ in read["short"]]),
        history.SHORT_AGE: row([age for _, age in read["short"]]),
        history.SHORT_LENGTH: tf.constant([len(read["short"])], tf.int64),
        history.CATEGORY: row(categories), history.CATEGORY_COUNT: tf.constant([counts], tf.int64),
        history.CATEGORY_AGE: tf.constant([ages], tf.int64), history.CATEGORY_SPAN: tf.constant([spans], tf.int64)}
    short = model.short_interest(moments)
    probability, copied = (part.numpy()[0] for part in model.predict_categories(short, moments))
    may = [one for one in range(1, model.categories + 1) if allowed is None or one in allowed]
    chosen = sorted(may, key=lambda one: -probability[one])[:config.retrieval.categories]
    subsequences = moment(chosen)["subsequences"]
    width = max(1, *map(len, subsequences)) if subsequences else 1

    def table(place: int) -> tf.Tensor:
        return tf.constant([[[event[place] for event in one] + [0] * (width - len(one)) for one in subsequences]],
                           tf.int64)

    long = model.long_interests(short, tf.constant([chosen], tf.int64), {
        history.SUBSEQUENCE_ITEM: table(0), history.SUBSEQUENCE_AGE: table(1),
        history.SUBSEQUENCE_LENGTH: tf.constant([[len(one) for one in subsequences]], tf.int64)}) if chosen else None
    return Interests(short.numpy(), probability, copied, chosen,
                     [probability[one] / sum(probability[may]) for one in chosen], long,
                     [[oracles.Event(item, now - age) for item, age in one] for one in subsequences])


def answer(model: UlimModel, user: Interests, allowed: Collection[int] | None, excluded: Collection[int],
           limit: int) -> list[tuple[int, float | None]]:
    """(item, log probability) of the answer; None for those that fill up.

    The searches inside categories return all they may: `retrieval.per_category` is taken to be large enough.
    """
    config = model.settings
    vectors = model.embedding.candidate(tf.range(model.items + 1)).numpy().astype(np.float64)
    item_category = model.embedding.item_category.numpy()
    may = [one for one in range(1, model.items + 1)
           if one not in excluded and (allowed is None or item_category[one] in allowed)]
    long = {}
    for column, category in enumerate(user.category):
        events = np.flatnonzero(user.long.owner.numpy() == column)
        members = np.flatnonzero(item_category == category)
        long[category] = (user.given_allowed[column], float(user.long.gate[0, column]),
                          [(int(user.long.item[one]), float(user.long.attention[one])) for one in events],
                          dict(zip(members.tolist(), vectors[members] @ user.long.vector[0, column].numpy())))
    mass = oracles.merge(long, {}, config.retrieval.short_share, config.loss.temperature)
    score = vectors @ model.short_vector(user.short)[0].numpy()
    of_all, best = (sorted(some, key=lambda one: -score[one])[:config.retrieval.short_term] for some in (
        [one for one in range(1, model.items + 1) if allowed is None or item_category[one] in allowed], may))
    for one in best:
        share = np.exp(score[one]) / np.exp(score[of_all]).sum()
        mass[one] = mass.get(one, 0.0) + config.retrieval.short_share * share
    found = sorted((one for one in mass if one not in excluded), key=lambda one: -mass[one])
    rest = [one for one in may if one not in mass]
    return [*((one, float(np.log(mass[one]))) for one in found), *((one, None) for one in rest)][
        :min(limit or config.retrieval.results, config.retrieval.results)]
