import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.ulim_tf.examples import item_categories, small_log, write_users
from tests.ulim_tf.test_history_parity import read_moment
from ulim_tf import data, history
from ulim_tf.config import FeaturesConfig, HistoryConfig, TrainingConfig
from ulim_tf.event_log import split_by_time

ITEM_CATEGORY = item_categories(items=6, categories=3)
HISTORY = HistoryConfig(long=10, short=4, subsequence=3)
USERS = [[[1, 4], [2], [1, 3, 5]], [[6]], [[0, 0]], [[0, 2], [2]]]


def batches(tmp_path, count: int, users: list = USERS, **training) -> list[dict[str, np.ndarray]]:
    file = tmp_path / "users.gz"
    write_users(file, users, ITEM_CATEGORY)
    config = TrainingConfig(**{"moments": 8, "moments_per_user": 2, "targets": 2, **training})
    dataset = data.training_dataset([str(file)], tf.constant(ITEM_CATEGORY), HISTORY, config)
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def test_moments_are_those_of_the_users(tmp_path):
    """Every (history, targets) pair that is drawn exists, and over many batches all of them are drawn."""
    possible = {  # items before the basket, without the unknown one -> the basket's
        (): [{1, 4}, {6}, {2}], (1, 4): [{2}], (1, 4, 2): [{1, 3, 5}], (2,): [{2}]}
    seen = set()
    for batch in batches(tmp_path, 60):
        for row in range(len(batch[history.SHORT_LENGTH])):
            before = tuple(batch[history.SHORT_ITEM][row, :batch[history.SHORT_LENGTH][row]].tolist())
            real = batch[data.TARGET_REAL][row]
            targets = set(batch[data.TARGET_ITEM][row][real].tolist())
            assert real.any() and (batch[data.TARGET_ITEM][row][~real] == 0).all()
            key = tuple(sorted(before)) if before[:2] in ((4, 1), (1, 4)) and len(before) == 2 else before
            assert any(targets <= basket for basket in possible[key]), (before, targets)
            seen |= {(before, target) for target in targets}
    assert {target for before, target in seen if len(before) == 3} == {1, 3, 5}
    assert {target for before, target in seen if not before} == {1, 4, 6, 2}


def test_the_baskets_of_a_user_are_drawn_alike_however_large(tmp_path):
    """The user has baskets of 2, 1 and 5 events, with 0, 2 and 3 events before them."""
    found = np.concatenate([batch[history.SHORT_LENGTH] for batch in batches(
        tmp_path, 50, [[[1, 4], [2], [1, 3, 5, 2, 6]]], moments=20, moments_per_user=20)])
    np.testing.assert_allclose(np.bincount(found, minlength=4) / len(found), [1 / 3, 0, 1 / 3, 1 / 3], atol=0.05)


def test_a_batch_of_users_without_known_events_is_empty(tmp_path):
    for batch in batches(tmp_path, 2, [[[0, 0]]]):
        assert batch[data.TARGET_ITEM].shape == (0, 2)


def test_only_events_of_a_target_type_are_predicted():
    """Odd items are viewed and even ones bought; user u1 buys nothing. Views may share a basket."""
    rows = [("u0", item, day, basket) for day, basket, items in (
        (1, "a", (1, 3)), (2, "b", (2, 4, 6)), (3, "c", (5, 8, 7, 10))) for item in items]
    rows += [("u1", item, 2, "d") for item in (1, 3)] + [("u2", 2, 90, "e")]
    user, item, day, basket = map(np.array, zip(*rows))
    types = {"event_types": ("view", "buy"), "target_event_types": ("buy",)}
    log, _ = split_by_time({
        "user_id": user, "item_id": item, "category_id": item % 3, "timestamp": 86_400 * day, "group_id": basket,
        "event_type": np.where(item % 2, "view", "buy")}, **types)
    dataset = data.training_dataset_in_memory(
        log, HistoryConfig(long=10, short=9, subsequence=3),
        TrainingConfig(moments=4, moments_per_user=4, targets=4), FeaturesConfig(**types))
    expected = {(("1", 1), ("3", 1)): {"2", "4", "6"},
                (("1", 1), ("2", 2), ("3", 1), ("4", 2), ("6", 2)): {"8", "10"}}
    seen = {}
    for batch in dataset.take(30).as_numpy_iterator():
        for row, length in enumerate(batch[history.SHORT_LENGTH]):
            events = zip(batch[history.SHORT_ITEM][row, :length], batch[history.SHORT_TYPE][row, :length])
            seen.setdefault(tuple(sorted((log.item_id[one], kind) for one, kind in events)), set()).update(
                log.item_id[batch[data.TARGET_ITEM][row][batch[data.TARGET_REAL][row]]])
    assert seen == expected


def test_target_types_of_a_log_that_tells_no_types_apart_are_refused():
    log, _ = split_by_time({"user_id": ["a", "a"], "item_id": ["x", "y"], "category_id": ["c", "c"],
                            "timestamp": [0, 40 * 86_400]})
    config = FeaturesConfig(event_types=("view", "buy"), target_event_types=("buy",))
    with pytest.raises(ValueError, match=r"targets must be empty for events stored without types, got \(2,\)"):
        data.training_dataset_in_memory(log, HistoryConfig(), TrainingConfig(), config)


def test_a_moment_has_the_profile_of_its_user():
    """User u buys item u only, so the target tells whose moment it is."""
    user = np.repeat(np.arange(3), 5)
    log, _ = split_by_time(
        {"user_id": user, "item_id": user, "category_id": user, "timestamp": 86_400 * np.tile([1, 2, 3, 4, 90], 3)},
        users={"user_id": [0, 2], "age": ["30", "40"], "home": ["own", None]}, profile=("age", "home"))
    batch = next(iter(data.training_dataset_in_memory(
        log, HistoryConfig(long=4, short=4, subsequence=3), TrainingConfig(moments=12, targets=1))))
    tokens = {log.item_id[item]: {log.profile_id[token] for token in row if token}
              for (item,), row in zip(batch[data.TARGET_ITEM].numpy(), batch[history.PROFILE].numpy())}
    assert tokens == {"0": {"age=30", "home=own"}, "1": set(), "2": {"age=40"}}


def test_the_same_seed_gives_the_same_batches(tmp_path):
    first, again, other = (batches(tmp_path, 5, seed=seed) for seed in (3, 3, 4))
    for one, two in zip(first, again):
        assert all(np.array_equal(one[name], two[name]) for name in one)
    assert any(one[history.SHORT_ITEM].shape != two[history.SHORT_ITEM].shape
               or not np.array_equal(one[history.SHORT_ITEM], two[history.SHORT_ITEM])
               for one, two in zip(first, other))


def test_a_target_is_read_with_its_own_category(tmp_path):
    for batch in batches(tmp_path, 20):
        for row, slot in zip(*np.nonzero(batch[data.TARGET_REAL])):
            category = ITEM_CATEGORY[batch[data.TARGET_ITEM][row, slot]]
            length = batch[history.SUBSEQUENCE_LENGTH][row, slot]
            items = batch[history.SUBSEQUENCE_ITEM][row, slot, :length]
            assert (ITEM_CATEGORY[items] == category).all()
            counts = dict(zip(batch[history.CATEGORY][row], batch[history.CATEGORY_COUNT][row]))
            assert length == min(counts.get(category, 0), HISTORY.subsequence)


def test_no_files_are_refused():
    with pytest.raises(ValueError, match="files must name at least one TFRecord file of transformed users, got none"):
        data.training_dataset([], tf.constant(ITEM_CATEGORY), HISTORY, TrainingConfig())


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_held_out_moments_are_the_raw_histories_with_the_held_out_baskets(batch):
    log, held = small_log()
    config = HistoryConfig(long=20, short=6, subsequence=4)
    batches = list(data.held_out_dataset(log, held, config, batch))
    assert [len(b[history.SHORT_LENGTH]) for b in batches] == [
        min(batch, len(held.user) - start) for start in range(0, len(held.user), batch)]
    rows = [{name: values[row:row + 1] for name, values in b.items()}
            for b in batches for row in range(len(b[history.SHORT_LENGTH]))]
    for found, user, target, now in zip(rows, held.user, held.target, held.now):
        real = found.pop(data.TARGET_REAL).numpy()[0]
        wanted = found.pop(data.TARGET_ITEM).numpy()[0]
        assert wanted[real].tolist() == target.tolist() and not wanted[~real].any()
        wanted = log.item_category[target].tolist()
        mine = log.history(user)
        ordered = history.order_events(
            tf.constant([log.item[mine]], tf.int64), tf.constant([log.item_category[log.item[mine]]], tf.int64),
            tf.constant([log.timestamp[mine]], tf.int64), tf.constant([len(log.item[mine])]),
            tf.constant([now], tf.int64), config.long)
        described = history.group_by_category(ordered)
        expected = {**history.describe(ordered, described, config),
                    **history.subsequences(ordered, described, tf.constant([wanted], tf.int64), config)}
        assert read_moment(found, wanted) == read_moment(expected, wanted)


def test_held_out_moments_train_and_measure_alike():
    """They are the tensors of training batches, of the same types and ranks."""
    log, held = small_log()
    training = data.training_dataset_in_memory(log, HISTORY, TrainingConfig()).element_spec
    measuring = data.held_out_dataset(log, held, HISTORY).element_spec
    assert {name: (spec.dtype, spec.shape.rank) for name, spec in training.items()} == {
        name: (spec.dtype, spec.shape.rank) for name, spec in measuring.items()}


def test_popularity_counts_items_ever_and_of_late():
    day = 86_400
    batches = [(np.array([1, 2, 1]), np.array([0, 8, 9]) * day), (np.array([], int), np.array([], int)),
               (np.array([3, 0]), np.array([10, 10]) * day)]
    counted = data.popularity(batches, items=4, recent_days=2)
    assert counted.ever.tolist() == [0, 2, 1, 1, 0]
    assert counted.recent.tolist() == [0, 1, 0, 1, 0]  # day 8 is two days before the newest event: no longer recent
