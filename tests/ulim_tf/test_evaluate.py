import pytest

from ulim_tf.evaluate import recall_at


def test_recall_is_the_mean_over_users():
    ranked = [["a", "b", "c"], ["x", "y"]]
    targets = [["a", "c", "q", "r"], ["y"]]
    assert recall_at(ranked, targets, 1) == pytest.approx((1 / 4 + 0) / 2)
    assert recall_at(ranked, targets, 3) == pytest.approx((2 / 4 + 1) / 2)


@pytest.mark.parametrize(("ranked", "targets"), [([], []), ([["a"]], []), ([["a"]], [[]])])
def test_nothing_to_measure_is_refused(ranked, targets):
    with pytest.raises(ValueError, match=r"recall needs as many rankings as users with targets"):
        recall_at(ranked, targets, 1)
