"""Each fault of an answer, of a signature and of ids, on its own and by hand."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving import contract
from tfx_pipeline.components.servable_validator.checks import answer_faults, id_faults, signature_faults


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


def test_signatures_of_the_contract_pass_with_what_the_model_reads(signatures):
    assert not list(signature_faults(signatures, contract.inputs(False, ())))
    for signature in signatures.values():
        tensor(signature.inputs["event_type"], tf.string, [None, None])
        tensor(signature.inputs["profile_age"], tf.string, [None])
    assert not list(signature_faults(signatures, contract.inputs(True, ["age"])))
    assert "serving_default has an input event_type that the contract does not know" in list(
        signature_faults(signatures, contract.inputs(False, ["age"])))


def test_each_fault_of_a_signature_is_found(signatures):
    del signatures["serving_default"].inputs["now"]
    del signatures["serving_default"].outputs["count"]
    tensor(signatures["serving_default"].outputs["score"], tf.float64, [None, 9])
    tensor(signatures["serving_default"].inputs["item_id"], tf.string, [None, 50])
    tensor(signatures["serving_default"].inputs["length"], tf.int32, [1, None])
    del signatures["predict_category"]
    signatures["spin"] = SignatureDef()
    assert list(signature_faults(signatures, contract.inputs(False, ()))) == [
        "input item_id of serving_default must be string [B, L], got string [?, 50]",
        "input length of serving_default must be int32 [B], got int32 [1, ?]",
        "serving_default must have an input now, but has none",
        "serving_default must have an output count, but has none",
        "output score of serving_default must be float32 [B, R], got float64 [?, 9]",
        "signature predict_category is missing; there are serving_default, spin"]
