"""Users over version labels."""

import subprocess
import sys
from collections import Counter

import pytest

from serving.client import LabelSplit

USERS = [f"user {number}" for number in range(10_000)]


def test_halves_hold_half_of_the_users_within_two_percent():
    halves = Counter(map(LabelSplit({"stable": 1, "canary": 1}, salt="june").label, USERS))
    assert halves.keys() == {"stable", "canary"}
    assert all(4_800 <= users <= 5_200 for users in halves.values())


def test_shares_follow_the_weights():
    shares = Counter(map(LabelSplit({"a": 7, "b": 2, "c": 1, "none": 0}, salt="").label, USERS))
    assert shares.keys() == {"a", "b", "c"}
    # Four standard deviations of a binomial of 10,000: 183, 160, 120.
    assert abs(shares["a"] - 7_000) < 183 and abs(shares["b"] - 2_000) < 160 and abs(shares["c"] - 1_000) < 120


def test_a_raised_weight_moves_users_to_its_label_alone_and_no_more_than_needed():
    before, after = (LabelSplit({"a": weight, "b": 3, "c": 2}, salt="s") for weight in (5, 10))
    moves = Counter((before.label(user), after.label(user)) for user in USERS)
    moved = {pair: users for pair, users in moves.items() if pair[0] != pair[1]}
    assert {to for _, to in moved} == {"a"}
    # a's share goes from 5/10 to 10/15: a sixth of the users move.
    assert abs(sum(moved.values()) - 10_000 / 6) < 4 * (10_000 * 1 / 6 * 5 / 6) ** 0.5


def test_two_labels_move_the_difference_of_their_shares():
    before, after = (LabelSplit({"stable": 1 - share, "canary": share}, salt="s") for share in (0.05, 0.1))
    moves = Counter((before.label(user), after.label(user)) for user in USERS)
    assert moves["canary", "stable"] == 0
    assert abs(moves["stable", "canary"] - 500) < 4 * (10_000 * 0.05 * 0.95) ** 0.5


def test_another_salt_divides_independently():
    one, other = (LabelSplit({"a": 1, "b": 1}, salt=salt) for salt in ("one", "other"))
    both = Counter((one.label(user), other.label(user)) for user in USERS)
    assert all(abs(users - 2_500) < 4 * (10_000 * 1 / 4 * 3 / 4) ** 0.5 for users in both.values()) and len(both) == 4


def test_another_process_and_another_order_of_the_labels_say_the_same():
    program = ("from serving.client import LabelSplit; split = LabelSplit({'b': 1, 'a': 2}, salt='ß'); "
               "print(*(split.label(f'user {n}') for n in range(100)))")
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert told == list(map(LabelSplit({"a": 2, "b": 1}, salt="ß").label, USERS[:100]))


def test_a_label_is_pinned():
    """A change of the hash would move every user of a running experiment."""
    split = LabelSplit({"stable": 1, "canary": 1}, salt="june")
    assert [split.label(user) for user in USERS[:8]] == [
        "stable", "stable", "canary", "stable", "stable", "canary", "stable", "stable"]


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"a": -1, "b": 2}, {"a": float("nan")}, {"a": float("inf")}])
def test_weights_must_make_sense(weights):
    with pytest.raises(ValueError, match=r"weights must be finite, at least 0 and not all 0, got \{"):
        LabelSplit(weights, salt="s")
