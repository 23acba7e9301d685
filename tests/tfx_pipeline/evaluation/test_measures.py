import math

import numpy as np
import pytest

from tfx_pipeline.evaluation import measures

RANKED = [b"a", b"b", b"c", b"d"]


def test_places_count_from_zero_and_what_is_not_there_is_past_any_cut_off():
    found, missing = measures.places(RANKED, [b"c", b"z"])
    assert found == 2 and missing > 10**9


def test_ranking_values_by_hand():
    # c is third and z nowhere; the best two places are worth 1 and 1 / log2(3).
    values = measures.ranking_values(measures.places(RANKED, [b"c", b"z"]), at=[2, 3])
    best = 1 + 1 / math.log2(3)
    assert values.tolist() == pytest.approx([0, 0, 0, 1 / 2, 1, (1 / 2) / best])


def test_ndcg_is_divided_by_the_best_that_the_cut_off_allows():
    values = measures.ranking_values(measures.places(RANKED, [b"a", b"b", b"c"]), at=[1])
    assert values.tolist() == pytest.approx([1 / 3, 1, 1])


def test_shares_within_by_hand():
    assert measures.share_within(np.array([0, 3, 3]), [1, 3, 4]).tolist() == pytest.approx([1 / 3, 1 / 3, 1])


def test_most_frequent_first_then_the_newest_then_the_popular():
    history = [b"x", b"y", b"y", b"z"]
    assert measures.most_frequent(history, [b"p", b"y", b"q"], 5) == [b"y", b"z", b"x", b"p", b"q"]
    assert measures.most_frequent(history, [b"p", b"y", b"q"], 2) == [b"y", b"z"]


@pytest.mark.parametrize(("events", "name"), [
    (0, "<100"), (99, "<100"), (100, "100-500"), (499, "100-500"), (500, "500-1000"), (999, "500-1000"),
    (1000, ">1000"), (5000, ">1000")])
def test_slices_of_history_length(events, name):
    assert measures.history_slice(events) == name
