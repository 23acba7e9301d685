"""What warm-up requests ask, and that they are where TF Serving looks for them."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving import contract, warmup
from serving.client import History
from ulim_tf import config as settings


def history(events: int, name: str = "user") -> History:
    return History([f"{name} {number}" for number in range(events)], list(range(events)), now=7)


def test_none_one_the_shortest_the_median_and_the_longest_are_asked_about():
    users = [history(9, "long"), history(4, "short"), history(6, "middle")]
    none, one, *others = warmup.choose(users)
    assert none == History([], [], now=7)
    assert one == History(["middle 5"], [5], now=7)
    assert others == [users[1], users[2], users[0]]


def test_equal_lengths_are_asked_about_once_and_no_user_is_no_history():
    assert [len(one.item_ids) for one in warmup.choose([history(1), history(1)])] == [0, 1]
    assert warmup.choose([history(0)]) == [history(0)]
    assert warmup.choose([]) == []


def test_without_a_log_the_vocabulary_gives_the_items(tmp_path):
    (tmp_path / "items").write_text("tea\nrum\n")
    config = settings.from_dict(settings.UlimConfig, {
        "history": {"long": 5, "short": 3}, "features": {"event_types": ["view", "buy"], "user_profile": ["age"]}})
    made = warmup.make(str(tmp_path / "items"), config)
    assert [one.item_ids for one in made] == [[], ["tea"], ["tea", "rum", "tea"], ["tea", "rum", "tea", "rum", "tea"]]
    assert made[-1].event_types == ["view"] * 5 and made[0].event_types == [] and made[0].profile == {"age": ""}
    assert [later - earlier for earlier, later in zip(made[-1].timestamps, made[-1].timestamps[1:])] == [86_400] * 4


def test_each_signature_is_asked_about_each_history_and_about_all_together(tmp_path):
    signatures = ["serving_default", "retrieve", "encode_item"]
    warmup.write(str(tmp_path), signatures, [history(0), history(2)])
    records = [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(
        str(tmp_path / "assets.extra" / "tf_serving_warmup_requests"))]
    requests = [record.predict_log.request for record in records]
    assert [(one.model_spec.name, one.model_spec.signature_name) for one in requests] == [
        ("ulim", name) for name in signatures for _ in range(3)]
    inputs = [{name: tf.make_ndarray(tensor) for name, tensor in one.inputs.items()} for one in requests]
    assert [one["length"].tolist() for one in inputs[:6]] == 2 * [[0], [2], [0, 2]]
    assert [one["item_id"].tolist() for one in inputs[6:]] == [[b""], [b"user 1"], [b"", b"user 1"]]
    assert warmup.read(str(tmp_path)) == requests


def test_filters_let_through_what_was_not_bought_before(tmp_path):
    warmup.write(str(tmp_path), ["explain"], [history(0), history(2)])
    inputs = {name: tf.make_ndarray(tensor) for name, tensor in warmup.read(str(tmp_path))[-1].inputs.items()}
    wanted = contract.inputs("explain")
    assert {name: (tf.as_dtype(value.dtype).name, value.ndim) for name, value in inputs.items()} == {
        name: (dtype, len(axes)) for name, (dtype, axes) in wanted.items()}
    assert inputs["exclude_item_id"].tolist() == [[b""], [b"user 1"]]
    assert inputs["exclude_item_id_length"].tolist() == [0, 1] and inputs["exclude_seen"].tolist() == [True, True]
    for name in ("allow_category_id", "deny_category_id"):
        assert inputs[name].tolist() == [[b""], [b""]] and inputs[f"{name}_length"].tolist() == [0, 0]
    assert inputs["limit"].tolist() == [0, 0]


def test_a_servable_without_requests_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"must hold warm-up requests in assets.extra/tf_serving_warmup_requests, but "
                                         r".* has none. Export it again"):
        warmup.read(str(tmp_path))
