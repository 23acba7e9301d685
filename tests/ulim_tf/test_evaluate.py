import math

import numpy as np
import pytest

from ulim_tf.evaluate import evaluate, recall_at
from ulim_tf.event_log import EventLog, HeldOut


def test_recall_is_the_mean_share_of_each_users_targets():
    ranked = [["a", "b", "c"], ["x", "y", "z"]]
    assert recall_at(ranked, [["c", "q"], ["x"]], at=3) == (0.5 + 1.0) / 2
    assert recall_at(ranked, [["c", "q"], ["x"]], at=2) == (0.0 + 1.0) / 2


@pytest.mark.parametrize(("ranked", "targets"), [([], []), ([["a"]], [[]]), ([["a"]], [["a"], ["b"]])])
def test_what_cannot_be_averaged_is_refused(ranked, targets):
    with pytest.raises(ValueError, match="as many rankings as users with targets"):
        recall_at(ranked, targets, at=1)


def log_of(histories: list[list[int]], item_category: list[int]) -> EventLog:
    """Users with these items, in this order; items and categories are named by their numbers."""
    items = np.concatenate([np.array(one, np.int64) for one in histories])
    names = np.array(["", *map(str, range(1, len(item_category)))], object)
    return EventLog(
        user_id=np.array([f"u{number}" for number in range(len(histories))], object), item_id=names,
        category_id=np.array(["", *map(str, range(1, max(item_category) + 1))], object),
        item_category=np.array(item_category), title=names,
        content_id=np.array([""], object), item_content=np.zeros([len(item_category), 0], np.int64),
        splits=np.cumsum([0, *map(len, histories)]), item=items,
        timestamp=np.zeros(len(items), np.int64), basket_start=np.zeros(len(items), np.int64))


def held_out(targets: list[list[int]], users: list[int] | None = None) -> HeldOut:
    return HeldOut(np.array(users or range(len(targets))), [np.array(one) for one in targets],
                   np.zeros(len(targets), np.int64), 0, 0, 0)


# Items 1, 2, 3 in category 1 and 4, 5, 6 in category 2. Category 1 has 3 of the 4 events: it is the head.
LOG = log_of([[1, 1, 4], [2]], [0, 1, 1, 1, 2, 2, 2])
HELD = held_out([[1, 5, 6], [3]])
RANKING = np.array([[1, 2, 5], [2, 4, 3]])
NOVEL = np.array([[2, 3, 6], [3, 1, 4]])


def figures(*given, **named) -> dict[tuple[str, str, str, int], float]:
    return {row[:4]: row.value for row in evaluate(LOG, HELD, *given, at=(1, 3), bootstrap=10, **named)}


def test_metrics_by_hand():
    found = figures(RANKING, NOVEL)
    first, second, third = 1.0, 1 / math.log2(3), 1 / 2
    for metric, at, value in (
            ("recall", 1, (1 / 3 + 0) / 2), ("recall", 3, (2 / 3 + 1) / 2),
            ("hit_rate", 1, 0.5), ("hit_rate", 3, 1.0),
            ("ndcg", 1, (1 + 0) / 2),
            ("ndcg", 3, ((first + third) / (first + second + third) + third / first) / 2)):
        assert found["all", "all", metric, at] == pytest.approx(value), (metric, at)
    # Novel: 5 and 6 of user 0, of which 6 is third; 3 of user 1, the first.
    assert found["novel", "all", "recall", 1] == pytest.approx((0 + 1) / 2)
    assert found["novel", "all", "recall", 3] == pytest.approx((1 / 2 + 1) / 2)
    assert found["all", "all", "coverage", 1] == pytest.approx(2 / 6)
    assert found["all", "all", "coverage", 3] == pytest.approx(5 / 6)


def test_slices_hold_the_targets_of_their_kind():
    found = figures(RANKING)
    assert found["all", "history <100", "recall", 3] == found["all", "all", "recall", 3]
    assert ("all", "history >1000", "recall", 3) not in found
    assert found["all", "head categories", "recall", 3] == pytest.approx((1 / 1 + 1 / 1) / 2)
    assert found["all", "tail categories", "recall", 3] == pytest.approx(1 / 2)  # of user 0 alone: 5, not 6


def test_categories_by_hand():
    found = figures(RANKING, categories=np.array([[2, 1], [2, 1]]))
    assert found["all", "all", "category_recall", 1] == pytest.approx((1 / 2 + 0) / 2)
    assert found["all", "all", "category_item_recall", 1] == pytest.approx((2 / 3 + 0) / 2)
    assert ("all", "all", "category_recall", 5) not in found  # two categories were given


def test_the_oracle_has_rows_of_its_own():
    found = figures(RANKING, oracle_ranking=np.array([[1, 5, 6], [3, 1, 2]]))
    assert found["all", "all", "oracle_category_recall", 3] == 1.0
    assert found["all", "all", "oracle_category_recall", 1] == pytest.approx((1 / 3 + 1) / 2)


def test_many_users_against_plain_python():
    rng = np.random.default_rng(0)
    histories = [rng.integers(1, 51, rng.integers(1, 200)).tolist() for _ in range(40)]
    targets = [rng.choice(np.arange(1, 51), rng.integers(1, 8), replace=False).tolist() for _ in range(40)]
    log = log_of(histories, [0, *(1 + np.arange(50) % 5)])
    ranking = np.stack([rng.permutation(50)[:20] + 1 for _ in range(40)])
    novel = np.zeros((40, 20), np.int64)
    for row, one in zip(novel, histories):
        unseen = rng.permutation(np.setdiff1d(np.arange(1, 51), one))[:20]
        row[:len(unseen)] = unseen
    found = {row[:4]: row for row in evaluate(log, held_out(targets), ranking, novel, at=(5, 20), bootstrap=50)}
    for kind, ranked in (("all", ranking), ("novel", novel)):
        wanted = [set(one) - (set(had) if kind == "novel" else set()) for one, had in zip(targets, histories)]
        kept = [(set(row[:5].tolist()), some) for row, some in zip(ranked, wanted) if some]
        row = found[kind, "all", "recall", 5]
        assert row.value == pytest.approx(sum(len(top & some) / len(some) for top, some in kept) / len(kept))
        assert row.users == len(kept) and row.low <= row.value <= row.high


def test_intervals_shrink_with_users_and_repeat_with_the_seed():
    def interval(times: int, seed: int) -> tuple[float, float]:
        log = log_of([[1]] * 2 * times, [0, 1, 1, 1])
        rows = evaluate(log, held_out([[2], [3]] * times), np.array([[2], [2]] * times), at=(1,), seed=seed)
        return next((row.low, row.high) for row in rows if row.metric == "recall")

    (low, high), (less_low, less_high) = interval(200, 1), interval(20, 1)
    assert low < 0.5 < high and high - low < (less_high - less_low) / 2
    # The mean of n coin flips deviates by .5 / sqrt(n); 95 % lie within 1.96 deviations.
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(400), rel=0.15)
    assert interval(200, 1) == (low, high)


@pytest.mark.parametrize(("ranking", "novel", "message"), [
    (RANKING[:1], None, r"ranking must have shape \[n, R\] with n = 2 held-out users and R >= 3, got \[1, 3\]"),
    (RANKING[:, :2], None, r"R >= 3, got \[2, 2\]"),
    (np.array([[1, 2, 1], [2, 4, 3]]), None, "ranking must name an item once for each user, got item 1 twice in row 0"),
    (RANKING, np.array([[2, 3, 4], [3, 1, 4]]), "must not hold items of the user's history, got item 4 for user 'u0'"),
])
def test_wrong_rankings_are_refused(ranking, novel, message):
    with pytest.raises(ValueError, match=message):
        figures(ranking, novel)


def test_padding_is_no_item():
    short = np.array([[1, 0, 0], [0, 0, 0]])
    assert figures(short)["all", "all", "recall", 3] == pytest.approx((1 / 3 + 0) / 2)
