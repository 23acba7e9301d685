"""Each fault of an answer, of a signature and of ids, on its own and by hand."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving import contract
from tfx_pipeline.components.servable_validator.checks import (
    answer_faults,
    filter_faults,
    id_faults,
    signature_faults,
)


def recommendation(**changed) -> dict[str, np.ndarray]:
    """Two users: one with two items of three, one with one."""
    good = {"item_id": np.array([[b"tea", b"rum", b""], [b"rye", b"", b""]], object),
            "score": np.array([[-1.0, -2.0, 0.0], [-3.0, np.nan, 0.0]], np.float32),
            "category_id": np.array([[b"drinks", b"drinks", b""], [b"grain", b"", b""]], object),
            "channel": np.array([[0, 2, 0], [1, 9, 0]], np.int32), "count": np.array([2, 1], np.int32)}
    return good | {name: np.array(value, good[name].dtype) for name, value in changed.items()}


@pytest.mark.parametrize(("changed", "fault"), [
    ({"count": [0, 1]}, "count must be 1 to 3, got 0"),
    ({"count": [2, 4]}, "count must be 1 to 3, got 4"),
    ({"count": [3, 1], "score": [[-1, -2, -3], [-3, 0, 0]]}, "count is 3, but only 2 items have an id"),
    ({"item_id": [[b"tea", b"tea", b""], [b"rye", b"", b""]]},
     "items must be answered once, but tea come twice or more"),
    ({"item_id": [[b"tea", b"rum", b""], [b"rye", b"", b"oat"]]}, "item_id must be empty past count 1, got oat"),
    ({"score": [[-1, np.nan, 0], [-3, 0, 0]]}, "score must be finite, got nan at rank 2"),
    ({"score": [[-1, -2, 0], [np.inf, 0, 0]]}, "score must be finite, got inf at rank 1"),
    ({"score": [[-2, -1, 0], [-3, 0, 0]]}, "score must fall, but goes from -2 at rank 1 to -1"),
    ({"channel": [[0, 3, 0], [1, 0, 0]]}, "channel must be 0 to 2, got 3"),
    ({"channel": [[0, 2, 0], [-1, 0, 0]]}, "channel must be 0 to 2, got -1"),
    ({"count": [2]}, "count must have shape [2], got [1]"),
    ({"channel": [[0, 2], [1, 0]]}, "channel must have shape [2, 3], got [2, 2]"),
])
def test_each_fault_of_a_recommendation_is_found_and_no_other(changed, fault):
    [found] = answer_faults("serving_default", recommendation(**changed), requests=2)
    assert found == fault


def test_a_good_answer_has_no_fault_whatever_stands_past_its_count():
    assert not list(answer_faults("serving_default", recommendation(), requests=2))
    missing = recommendation()
    del missing["channel"]
    assert list(answer_faults("serving_default", missing, requests=2)) == [
        "outputs must be category_id, channel, count, item_id, score, got category_id, count, item_id, score"]


@pytest.mark.parametrize(("changed", "fault"), [
    ({}, None),
    ({"category_id": [[b"drinks", b""]]}, "category_id must not be empty"),
    ({"category_id": [[b"drinks", b"drinks"]]}, "categories must be answered once"),
    ({"probability": [[0.25, 0.5]]}, "probability must fall, but goes from 0.25 at rank 1 to 0.5"),
    ({"probability": [[1.5, 0.5]]}, "probability must be 0 to 1, got 1.5 at rank 1"),
    ({"probability": [[0.5, np.nan]]}, "probability must be finite, got nan at rank 2"),
    ({"copy_share": [[0.0, -0.5]]}, "copy_share must be 0 to 1, got -0.5 at rank 2"),
])
def test_each_fault_of_a_prediction_is_found(changed, fault):
    good = {"category_id": np.array([[b"drinks", b"grain"]], object),
            "probability": np.array([[0.75, 0.25]], np.float32), "copy_share": np.array([[0.0, 1.0]], np.float32)}
    answer = good | {name: np.array(value, good[name].dtype) for name, value in changed.items()}
    assert list(answer_faults("predict_category", answer, requests=1)) == ([fault] if fault else [])


def test_filters_may_let_nothing_through():
    nothing = {name: values * 0 if values.dtype != object else np.full_like(values, b"")
               for name, values in recommendation(score=np.zeros([2, 3])).items()}
    assert not list(answer_faults("retrieve", nothing, requests=2))
    assert list(answer_faults("serving_default", nothing, requests=2)) == ["count must be 1 to 3, got 0"] * 2


def test_what_a_request_excludes_is_found_in_its_answer():
    request = {"exclude_item_id": np.array([[b"rum", b"tea"], [b"gin", b"rye"]], object),
               "exclude_item_id_length": np.array([1, 1]), "exclude_seen": np.array([False, False]),
               "item_id": np.array([[b"tea"], [b"rye"]], object), "length": np.array([1, 1])}
    assert list(filter_faults(request, recommendation())) == ["1 items were answered that the request excludes: rum"]
    assert list(filter_faults(request | {"exclude_seen": np.array([True, True])}, recommendation())) == [
        "2 items were answered that the request excludes: rum, tea",
        "1 items were answered that the request excludes: rye"]
    assert not list(filter_faults(request | {"exclude_item_id_length": np.array([0, 0])}, recommendation()))


@pytest.mark.parametrize(("changed", "fault"), [
    ({}, None),
    ({"copied": [[0.5, -0.5, 0]]}, "copied must be 0 to 1, got -0.5 at rank 2"),
    ({"generated": [[0.5, np.nan, 0]]}, "generated must be finite, got nan at rank 2"),
    ({"event_weight": [[[0.5], [1.5], [0]]]}, "event_weight must be 0 to 1, got 1.5 at rank 2"),
    ({"event_weight": [[[0.5, 0.5]] * 3]}, "event_weight must have shape [1, 3, 1], got [1, 3, 2]"),
])
def test_each_fault_of_an_explanation_is_found(changed, fault):
    good = {name: values[:1] for name, values in recommendation().items()} | {
        "copied": np.zeros([1, 3], np.float32), "generated": np.zeros([1, 3], np.float32),
        "event_item_id": np.full([1, 3, 1], b"tea", object), "event_timestamp": np.ones([1, 3, 1], np.int64),
        "event_weight": np.ones([1, 3, 1], np.float32)}
    answer = good | {name: np.array(value, good[name].dtype) for name, value in changed.items()}
    assert list(answer_faults("explain", answer, requests=1)) == ([fault] if fault else [])


@pytest.mark.parametrize(("changed", "fault"), [
    ({}, None),
    ({"short_vector": [[0, 0, np.inf]]}, "short_vector must be finite, got inf at rank 3"),
    ({"long_vector": [[[0, 0], [0, 0]]]}, "long_vector must have shape [1, 2, 3], got [1, 2, 2]"),
    ({"category_id": [[b"drinks", b"drinks"]]}, "categories must be answered once"),
])
def test_each_fault_of_an_encoded_user_is_found(changed, fault):
    good = {"interest": np.zeros([1, 2], np.float32), "short_vector": np.zeros([1, 3], np.float32),
            "category_id": np.array([[b"drinks", b"grain"]], object),
            "probability": np.array([[0.75, 0.25]], np.float32), "long_vector": np.zeros([1, 2, 3], np.float32)}
    answer = good | {name: np.array(value, good[name].dtype) for name, value in changed.items()}
    assert list(answer_faults("encode_user", answer, requests=1)) == ([fault] if fault else [])


def test_each_fault_of_an_encoded_item_is_found():
    good = {"vector": np.ones([2, 3], np.float32), "category_id": np.array([b"drinks", b""], object),
            "known": np.array([True, False])}
    assert not list(answer_faults("encode_item", good, requests=2))
    assert list(answer_faults("encode_item", good | {"known": np.array([True, True])}, requests=2)) == [
        "category_id must be that of a known item, and empty of an unknown one"]
    assert list(answer_faults("encode_item", good | {"vector": np.full([2, 3], np.nan)}, requests=2)) == [
        "vector must be finite, got nan at rank 1"] * 2


def test_ids_are_those_of_the_catalogue():
    catalog = [(b"tea", b"drinks"), (b"rye", b"grain"), (b"oat", b"grain")]
    assert not list(id_faults({b"tea": {b"drinks"}, b"rye": {b"grain"}}, {b"drinks"}, catalog))
    assert list(id_faults({b"gin": {b"drinks"}, b"rye": {b"grain", b"drinks"}}, {b"toys"}, catalog)) == [
        "1 items that the catalogue does not have were answered: gin",
        "1 categories that the catalogue does not have were answered: toys",
        "1 items in another category than the catalogue's were answered: rye of grain in drinks"]


def tensor(info, dtype: tf.DType, shape: list) -> None:
    info.dtype = dtype.as_datatype_enum
    info.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())


@pytest.fixture
def signatures() -> dict[str, SignatureDef]:
    """Those of the contract, written out."""
    found = {"serving_default": SignatureDef(), "predict_category": SignatureDef()}
    outputs = {"serving_default": [("item_id", tf.string, [None, 9]), ("score", tf.float32, [None, 9]),
                                   ("category_id", tf.string, [None, None]), ("channel", tf.int32, [None, 9]),
                                   ("count", tf.int32, [None])],
               "predict_category": [("category_id", tf.string, [None, 4]), ("probability", tf.float32, [None, 4]),
                                    ("copy_share", tf.float32, [None, 4])]}
    for name, signature in found.items():
        for alias, dtype, shape in (("item_id", tf.string, [None, None]), ("timestamp", tf.int64, [None, None]),
                                    ("length", tf.int32, [None]), ("now", tf.int64, [None])):
            tensor(signature.inputs[alias], dtype, shape)
        for alias, dtype, shape in outputs[name]:
            tensor(signature.outputs[alias], dtype, shape)
    return found


def wanted(*reads) -> dict[str, dict[str, contract.Tensor]]:
    return {name: contract.inputs(name, *reads) for name in ("serving_default", "predict_category")}


def test_signatures_of_the_contract_pass_with_what_the_model_reads(signatures):
    assert not list(signature_faults(signatures, wanted()))
    for signature in signatures.values():
        tensor(signature.inputs["event_type"], tf.string, [None, None])
        tensor(signature.inputs["profile_age"], tf.string, [None])
    assert not list(signature_faults(signatures, wanted(True, ["age"])))
    assert "serving_default has an input event_type that the contract does not know" in list(
        signature_faults(signatures, wanted(False, ["age"])))


def test_each_fault_of_a_signature_is_found(signatures):
    del signatures["serving_default"].inputs["now"]
    del signatures["serving_default"].outputs["count"]
    tensor(signatures["serving_default"].outputs["score"], tf.float64, [None, 9])
    tensor(signatures["serving_default"].inputs["item_id"], tf.string, [None, 50])
    tensor(signatures["serving_default"].inputs["length"], tf.int32, [1, None])
    del signatures["predict_category"]
    signatures["spin"] = SignatureDef()
    assert list(signature_faults(signatures, wanted())) == [
        "input item_id of serving_default must be string [B, L], got string [?, 50]",
        "input length of serving_default must be int32 [B], got int32 [1, ?]",
        "serving_default must have an input now, but has none",
        "serving_default must have an output count, but has none",
        "output score of serving_default must be float32 [B, R], got float64 [?, 9]",
        "signature predict_category is missing; there are serving_default, spin"]
