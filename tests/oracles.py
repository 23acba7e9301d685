"""Independent references in plain Python and NumPy, written from the definitions, slow on purpose."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Event(NamedTuple):
    """A behaviour in a user's time order."""

    item: int  # 0 is the unknown item
    timestamp: int


def moment(events: Sequence[Event], now: int, item_category: Sequence[int], short: int, subsequence: int, long: int,
           wanted: Sequence[int]) -> dict[str, object]:
    """What the model reads of a history, by the definitions of ulim_tf/history.py, without padding.

    Lists of (item, age), a {category: (count, age of newest, span)} and, for each wanted category, a list of
    (item, age).
    """
    known = [event for event in events if event.item != 0][-long:]

    def with_age(chosen: Sequence[Event]) -> list[tuple[int, int]]:
        return [(event.item, max(now - event.timestamp, 0)) for event in chosen]

    def of_category(category: int) -> list[Event]:
        return [event for event in known if item_category[event.item] == category]

    categories = {}
    for category in {item_category[event.item] for event in known}:
        times = [event.timestamp for event in of_category(category)]
        categories[category] = (len(times), max(now - times[-1], 0), times[-1] - times[0])
    return {"short": with_age(known[-short:]), "categories": categories,
            "subsequences": [with_age(of_category(category)[-subsequence:]) for category in wanted]}


def softmax(values: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    mass = np.exp(values - values.max(axis=-1, keepdims=True))
    return mass / mass.sum(axis=-1, keepdims=True)


def best_in_category(vectors: np.ndarray, category: np.ndarray, query: np.ndarray, wanted: int,
                     k: int) -> list[tuple[int, float]]:
    """(item, score) of the best k items of a category by dot product; item i is row i - 1."""
    members = np.flatnonzero(category == wanted)
    scores = vectors[members].astype(np.float64) @ query.astype(np.float64)
    order = np.argsort(-scores, kind="stable")[:k]
    return [(int(members[place]) + 1, float(scores[place])) for place in order]


def merge(long: dict[int, tuple[float, float, list[tuple[int, float]], dict[int, float]]], short: dict[int, float],
          share: float, temperature: float) -> dict[int, float]:
    """item -> mixture probability; `long` maps a category to (its probability, its gate, [(item, attention) of each
    event], {item: score} of its search)."""
    def distribution(scores: dict[int, float]) -> dict[int, float]:
        mass = softmax(np.array(list(scores.values())) / temperature) if scores else []
        return dict(zip(scores, mass))

    probability: dict[int, float] = {}

    def add(item: int, mass: float) -> None:
        probability[item] = probability.get(item, 0.0) + mass

    for category_probability, gate, events, scores in long.values():
        for item, attention in events:
            add(item, (1 - share) * category_probability * gate * attention)
        for item, mass in distribution(scores).items():
            add(item, (1 - share) * category_probability * (1 - gate) * mass)
    for item, mass in distribution(short).items():
        add(item, share * mass)
    return probability


def deal(long: dict[int, tuple[float, float, list[tuple[int, float]], dict[int, float]]], short: dict[int, float],
         share: float, temperature: float, exponent: float, excluded: Sequence[int]) -> dict[int, float]:
    """item -> weight / (2 places before + 1), by quota, one place after the other; arguments as of `merge`.

    The next place belongs to whoever has the least for its weight, counted as Sainte-Laguë does. An item that has a
    place already counts for its second finder too. Of those equally behind, the one with the smaller item is next.
    """
    queues, weights = [], []
    powers = sum(probability ** exponent for probability, *_ in long.values())
    for category, (probability, *_) in long.items():
        mass = merge({category: long[category]}, {}, 0.0, temperature)
        queues.append(sorted(mass, key=lambda item: (-mass[item], item)))
        weights.append((1 - share) * probability ** exponent / powers)
    queues.append(sorted(short, key=lambda item: (-short[item], item)))
    weights.append(share)
    queues = [[item for item in queue if item not in excluded] for queue in queues]
    dealt: dict[int, float] = {}
    served = [0] * len(queues)
    while any(served[party] < len(queue) for party, queue in enumerate(queues)):
        waiting = [party for party, queue in enumerate(queues) if served[party] < len(queue)]
        party = min(waiting, key=lambda one: (-weights[one] / (2 * served[one] + 1), queues[one][served[one]]))
        dealt.setdefault(queues[party][served[party]], weights[party] / (2 * served[party] + 1))
        served[party] += 1
    return dealt


def answer(scores: dict[int, float], item_category: Sequence[int], backfill: Sequence[int], excluded: Sequence[int],
           cap: int, diversity: float, places: int) -> list[tuple[int, float | None]]:
    """(item, score) of ComiRec's greedy, one place after the other; None for those that fill up, the smallest first.

    A category that has `cap` items, unless that is 0, gets no more.
    """
    chosen: list[tuple[int, float | None]] = []
    while len(chosen) < places:
        taken = [item for item, _ in chosen]
        of_category = [item_category[item] for item in taken]

        def allowed(items: Sequence[int], taken=taken, of_category=of_category) -> list[int]:
            return [item for item in items if item not in taken and item not in excluded
                    and not 0 < cap <= of_category.count(item_category[item])]

        offers = [(scores[item] - diversity * of_category.count(item_category[item]), item) for item in allowed(scores)]
        rest = allowed([item for item in backfill if item not in scores])
        if offers:
            score, item = max(offers, key=lambda offer: (offer[0], -offer[1]))
            chosen.append((item, score))
        elif rest:
            chosen.append((min(rest), None))
        else:
            break
    return chosen
