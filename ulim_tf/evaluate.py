"""How good recommendations are, by the protocol: held-out baskets, full ranking, means over users.

A user's targets are the items of their first basket after the cut; novel targets are those they never had before, and
are looked for in a ranking without the items they had. Binary relevance: Recall is the share of the targets among the
first R, hit rate whether there is one, NDCG discounts by log2 of the rank and divides by the best that R ranks allow.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ulim_tf.event_log import EventLog, HeldOut

AT = (20, 50, 100, 500)
CATEGORIES_AT = (1, 5, 10, 20, 50, 100)

_HISTORY_SLICES = (("history <100", 0, 100), ("history 100-500", 100, 500), ("history 500-1000", 500, 1000),
                   ("history >1000", 1000, np.inf))


class Row(NamedTuple):
    """One figure: a mean over users with its bootstrap 95 % interval."""

    targets: str  # all or novel
    slice: str
    metric: str
    at: int
    value: float
    low: float
    high: float
    users: int


class _Targets(NamedTuple):
    """Some of the held-out items, one after the other."""

    user: np.ndarray  # int64 [n], row of the ranking
    item: np.ndarray  # int64 [n]


def evaluate(log: EventLog, held: HeldOut, ranking: np.ndarray, novel_ranking: np.ndarray | None = None,
             categories: np.ndarray | None = None, oracle_ranking: np.ndarray | None = None, *,
             at: Sequence[int] = AT, bootstrap: int = 1000, seed: int = 17) -> list[Row]:
    """All figures of a model.

    Args:
        log: the histories.
        held: the n held-out users.
        ranking: int64 [n, R], items best first, 0 past the last.
        novel_ranking: the same without the items of each user's history; None gives no figures of novel targets.
        categories: int64 [n, K], predicted categories best first.
        oracle_ranking: as `ranking`, made with the basket's categories given.
        at: the cut-offs R.
        bootstrap: resamples of the users for an interval.
        seed: of the resamples.

    Returns:
        Rows of recall, hit_rate, ndcg and coverage of all targets; of recall, hit_rate and ndcg of novel ones; each
        ranking metric also by length of history and for targets in head categories (the most frequent ones that make
        up half of the events) and in the others; category_recall (share of a basket's categories),
        category_item_recall (share of its items) and oracle_category_recall.

    Raises:
        ValueError: a ranking has another number of users, is narrower than the largest cut-off, repeats an item, or
            holds an item that it must not.
    """
    for name, given in (("ranking", ranking), ("novel_ranking", novel_ranking), ("oracle_ranking", oracle_ranking)):
        if given is not None:
            _check(name, given, len(held.user), min(max(at), log.items))
    key = log.items + 1
    row = np.repeat(np.arange(len(held.user)), [log.splits[user + 1] - log.splits[user] for user in held.user])
    seen = np.unique(row * key + np.concatenate([log.item[log.history(user)] for user in held.user]))
    targets = _Targets(np.repeat(np.arange(len(held.user)), [len(basket) for basket in held.target]),
                       np.concatenate(held.target))
    new = ~np.isin(targets.user * key + targets.item, seen)
    rng = np.random.default_rng(seed)

    def summed_up(kind: str, of_slice: str, metric: str, cut: int, values: np.ndarray) -> Row:
        drawn = rng.integers(0, len(values), (bootstrap, len(values)))
        low, high = np.quantile(values[drawn].mean(axis=1), (0.025, 0.975))
        return Row(kind, of_slice, metric, cut, float(values.mean()), float(low), float(high), len(values))

    rows = [summed_up("all", part, metric, cut, values)
            for part, kept in _slices(log, held, targets)
            for metric, cut, values in _ranked(ranking, targets, kept, key, at)]
    if novel_ranking is not None:
        _refuse_seen(novel_ranking, seen, key, held, log)
        rows += [summed_up("novel", part, metric, cut, values)
                 for part, kept in _slices(log, held, targets)
                 for metric, cut, values in _ranked(novel_ranking, targets, kept & new, key, at)]
    if oracle_ranking is not None:
        rows += [summed_up("all", "all", "oracle_category_recall", cut, values)
                 for metric, cut, values in _ranked(oracle_ranking, targets, np.ones(len(new), bool), key, at)
                 if metric == "recall"]
    if categories is not None:
        of_target = log.item_category[targets.item]
        distinct = np.unique(targets.user * key + of_target)
        for metric, wanted in (("category_recall", _Targets(distinct // key, distinct % key)),
                               ("category_item_recall", _Targets(targets.user, of_target))):
            place = _places(categories, wanted, key)
            rows += [summed_up("all", "all", metric, cut, _mean_by_user(place < cut, wanted.user))
                     for cut in CATEGORIES_AT if cut <= categories.shape[1]]
    for cut in at:
        found = np.unique(ranking[:, :cut])
        share = np.count_nonzero(found) / log.items
        rows.append(Row("all", "all", "coverage", cut, share, share, share, len(held.user)))
    return rows


def _check(name: str, ranking: np.ndarray, users: int, width: int) -> None:
    if ranking.ndim != 2 or len(ranking) != users or ranking.shape[1] < width:
        raise ValueError(f"{name} must have shape [n, R] with n = {users} held-out users and R >= {width}, got "
                         f"{list(ranking.shape)}. Rank more items, or ask for smaller cut-offs.")
    ordered = np.sort(ranking, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)
    if repeated.any():
        row, place = np.argwhere(repeated)[0]
        raise ValueError(f"{name} must name an item once for each user, got item {ordered[row, place]} twice in row "
                         f"{row}. Leave out repetitions before ranking.")


def _refuse_seen(ranking: np.ndarray, seen: np.ndarray, key: int, held: HeldOut, log: EventLog) -> None:
    wrong = np.isin(np.arange(len(ranking))[:, None] * key + ranking, seen) & (ranking > 0)
    if wrong.any():
        row, place = np.argwhere(wrong)[0]
        raise ValueError(f"novel_ranking must not hold items of the user's history, got item {ranking[row, place]} for "
                         f"user {log.user_id[held.user[row]]!r}. Exclude seen items before ranking.")


def _slices(log: EventLog, held: HeldOut, targets: _Targets) -> Iterator[tuple[str, np.ndarray]]:
    """Which of the targets [n] belong to each slice."""
    yield "all", np.ones(len(targets.item), bool)
    length = np.diff(log.splits)[held.user][targets.user]
    for name, low, high in _HISTORY_SLICES:
        yield name, (length >= low) & (length < high)
    events = np.bincount(log.item_category[log.item], minlength=log.categories + 1)
    by_frequency = np.argsort(-events, kind="stable")
    heads = 1 + np.searchsorted(np.cumsum(events[by_frequency]), events.sum() / 2)
    head = np.isin(log.item_category[targets.item], by_frequency[:heads])
    yield "head categories", head
    yield "tail categories", ~head


def _ranked(ranking: np.ndarray, targets: _Targets, kept: np.ndarray, key: int,
            at: Sequence[int]) -> Iterator[tuple[str, int, np.ndarray]]:
    """The metrics of those users who have a target that is kept; nothing if none has."""
    if not kept.any():
        return
    looked_for = _Targets(targets.user[kept], targets.item[kept])
    place = _places(ranking, looked_for, key)
    _, user = np.unique(looked_for.user, return_inverse=True)
    wanted = np.bincount(user)
    gain = 1.0 / np.log2(np.arange(max(at)) + 2.0)
    best = np.append(0.0, np.cumsum(gain))
    for cut in at:
        hit = place < cut
        hits = np.bincount(user, hit)
        yield "recall", cut, hits / wanted
        yield "hit_rate", cut, (hits > 0).astype(float)
        discounted = np.where(hit, gain[np.minimum(place, len(gain) - 1)], 0.0)
        yield "ndcg", cut, np.bincount(user, discounted) / best[np.minimum(wanted, cut)]


def _places(ranking: np.ndarray, targets: _Targets, key: int) -> np.ndarray:
    """Where each target [n] stands in its user's ranking, from 0; the ranking's width or more where it does not."""
    keys = (np.arange(len(ranking))[:, None] * key + ranking).ravel()
    order = np.argsort(keys, kind="stable")
    at = np.minimum(np.searchsorted(keys, targets.user * key + targets.item, sorter=order), len(keys) - 1)
    found = keys[order[at]] == targets.user * key + targets.item
    return np.where(found, order[at] % ranking.shape[1], np.iinfo(np.int64).max)


def _mean_by_user(values: np.ndarray, user: np.ndarray) -> np.ndarray:
    """Mean over each user's values [n], for users who have any."""
    _, user = np.unique(user, return_inverse=True)
    return np.bincount(user, values) / np.bincount(user)


def recall_at(ranked: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], at: int) -> float:
    """Share of a user's held-out items among the first `at` recommendations, mean over users.

    Args:
        ranked: of each user, item ids best first.
        targets: of each user, distinct item ids; at least one.
        at: R.

    Raises:
        ValueError: no users, a different number of both, or a user without targets.
    """
    if not targets or len(ranked) != len(targets) or not all(targets):
        raise ValueError(f"recall needs as many rankings as users with targets, got {len(ranked)} rankings and "
                         f"{len(targets)} users, {sum(not wanted for wanted in targets)} of them without targets.")
    return float(np.mean([len(set(found[:at]) & set(wanted)) / len(wanted) for found, wanted in zip(ranked, targets)]))
