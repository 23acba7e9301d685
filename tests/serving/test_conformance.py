"""Every RPC of TensorFlow Serving's two services, over its stock stubs, and the same over REST: codes and texts.

The texts are those of tensorflow_model_server 2.16, read in its sources.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, ModelVersionStatus
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from tests.serving.server_process import ServerProcess, publish
from tests.serving.toy_servable import ToyServable

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
EXAMPLES = (tf.TensorSpec([None], tf.string, "inputs"),)


class ClassifyAndRegress(tf.Module):
    """Signatures that TF Serving would classify and regress by, and some that it would not."""

    def save(self, directory: str) -> None:
        tf.saved_model.save(self, directory, signatures={
            name: tf.function(made, input_signature=EXAMPLES).get_concrete_function() for name, made in {
                "classes": lambda inputs: {"classes": inputs[:, None]},
                "value": lambda inputs: {"outputs": tf.zeros_like(inputs, tf.float32)},
                "other": lambda inputs: {"length": tf.strings.length(inputs)},
                "three": lambda inputs: {"classes": inputs, "scores": inputs, "more": inputs},
            }.items()} | {"serving_default": tf.function(
                lambda place: {"classes": place}, input_signature=(tf.TensorSpec([None], tf.int32, "place"),),
            ).get_concrete_function()})


def listed(base, **models: str) -> str:
    """A configuration of models in `base`, each with some more text."""
    return "model_config_list {" + "".join(
        f'config {{ name: "{name}" base_path: "{base}/{name}" model_platform: "tensorflow" {more} }}'
        for name, more in models.items()) + "}"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("conformance")
    for version in (1, 2):
        publish(base / "ulim", version, ToyServable(version).save)
    publish(base / "old_style", 1, ClassifyAndRegress().save)
    return base


def both_versions(base) -> str:
    """A configuration of all that `base` has, with a label for each version of ulim."""
    return listed(base, old_style="", ulim='model_version_policy { all {} } '
                                           'version_labels { key: "stable" value: 1 } '
                                           'version_labels { key: "canary" value: 2 }')


@pytest.fixture(scope="module")
def server(base):
    (base / "models.config").write_text(both_versions(base))
    server = ServerProcess(base, f"--model_config_file={base}/models.config",
                           "--allow_version_labels_for_unavailable_models=true")
    try:
        server.ready()
        server.wait_for_state(1, "AVAILABLE")
        yield server
    finally:
        server.kill()


def spec(name: str = "ulim", signature_name: str = "", **version) -> ModelSpec:
    return ModelSpec(name=name, signature_name=signature_name, **version)


def picking(model_spec: ModelSpec) -> PredictRequest:
    """For the third of 10, 20, 30."""
    model_spec.signature_name = model_spec.signature_name or "pick"
    return PredictRequest(model_spec=model_spec, inputs={"place": tf.make_tensor_proto([2], tf.int32)})


def refused(call, request) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=30)
    return error.value.code().name, error.value.details()


# A model's name, version or label -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "rest", "answers"), [
    ({}, "", 2),
    ({"version": {"value": 1}}, "/versions/1", 1),
    ({"version_label": "stable"}, "/labels/stable", 1),
    ({"version_label": "canary"}, "/labels/canary", 2),
])
def test_a_version_is_asked_for_by_number_or_label(server, version, rest, answers):
    answer = server.stub.Predict(picking(spec(**version)), timeout=30)
    assert answer.outputs["picked_bytes"].string_val == [b"30"]
    assert answer.model_spec == spec(signature_name="pick", version={"value": answers})
    # base64 of "30"
    assert server.rest(f"/v1/models/ulim{rest}:predict", {"signature_name": "pick", "instances": [2]}) == (
        200, {"predictions": [{"b64": "MzA="}]})

    metadata = server.stub.GetModelMetadata(
        GetModelMetadataRequest(model_spec=spec(**version), metadata_field=["signature_def"]), timeout=30)
    signatures = SignatureDefMap()
    assert metadata.metadata["signature_def"].Unpack(signatures)
    assert "pick" in signatures.signature_def and metadata.model_spec.version.value == answers
    assert server.rest(f"/v1/models/ulim{rest}/metadata")[1]["model_spec"]["version"] == str(answers)

    states = server.models.GetModelStatus(GetModelStatusRequest(model_spec=spec(**version)), timeout=30)
    expected = [answers] if version else [2, 1]
    assert [(status.version, status.state) for status in states.model_version_status] == [
        (number, ModelVersionStatus.AVAILABLE) for number in expected]
    assert [status["version"] for status in server.rest(f"/v1/models/ulim{rest}")[1]["model_version_status"]] == [
        str(number) for number in expected]


@pytest.mark.parametrize(("model_spec", "rest", "code", "http", "text"), [
    (spec("nosuch"), "nosuch", "NOT_FOUND", 404, "Servable not found for request: Latest(nosuch)"),
    (spec(version={"value": 9}), "ulim/versions/9", "NOT_FOUND", 404,
     "Servable not found for request: Specific(ulim, 9)"),
    (spec(version_label="beta"), "ulim/labels/beta", "INVALID_ARGUMENT", 400,
     "Unrecognized servable version label: beta"),
    (spec(version_label="a b"), "ulim/labels/a%20b", "INVALID_ARGUMENT", 400,
     "Unrecognized servable version label: a b"),
])
def test_what_is_not_served_is_refused_by_every_rpc(server, model_spec, rest, code, http, text):
    predict = server.rest(f"/v1/models/{rest}:predict", {"signature_name": "pick", "instances": [2]})
    assert predict == (http, {"error": text})
    assert server.rest(f"/v1/models/{rest}/metadata") == (http, {"error": text})
    for call, request in (
            (server.stub.Predict, picking(model_spec)),
            (server.stub.GetModelMetadata,
             GetModelMetadataRequest(model_spec=model_spec, metadata_field=["signature_def"])),
            (server.stub.Classify, ClassificationRequest(model_spec=model_spec)),
            (server.stub.Regress, RegressionRequest(model_spec=model_spec)),
            (server.stub.MultiInference, MultiInferenceRequest(tasks=[{"model_spec": model_spec}]))):
        assert refused(call, request) == (code, text)


@pytest.mark.parametrize(("model_spec", "rest", "code", "http", "text"), [
    (spec("nosuch"), "nosuch", "NOT_FOUND", 404, "Could not find any versions of model nosuch"),
    (spec(version={"value": 9}), "ulim/versions/9", "NOT_FOUND", 404, "Could not find version 9 of model ulim"),
    (spec(version_label="beta"), "ulim/labels/beta", "INVALID_ARGUMENT", 400,
     "Unrecognized servable version label: beta"),
])
def test_the_state_of_what_was_never_seen_is_refused(server, model_spec, rest, code, http, text):
    assert refused(server.models.GetModelStatus, GetModelStatusRequest(model_spec=model_spec)) == (code, text)
    assert server.rest(f"/v1/models/{rest}") == (http, {"error": text})


@pytest.mark.parametrize("path", ["ulim/versions/1/labels/stable:predict", "ulim/versions/one:predict",
                                  "ulim/labels/:predict", "ulim:generate"])
def test_rest_refuses_paths_that_are_none(server, path):
    assert server.rest(f"/v1/models/{path}", {}) == (400, {"error": f"Malformed request: POST /v1/models/{path}"})


@pytest.mark.parametrize("number", [2**63, "9" * 5000])
def test_rest_refuses_a_number_beyond_64_bits(server, number):
    assert server.rest(f"/v1/models/ulim/versions/{number}") == (
        400, {"error": f"Failed to convert version: {number} to numeric."})


# Classify, Regress, MultiInference ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "name", "signature", "code", "text"), [
    ("Classify", "ulim", "", "INVALID_ARGUMENT", "Expected one input Tensor."),
    ("Regress", "ulim", "", "INVALID_ARGUMENT", "Expected one input Tensor."),
    ("Classify", "ulim", "nosuch", "INVALID_ARGUMENT", "No signature was found with the name: nosuch"),
    ("Regress", "ulim", "nosuch", "INVALID_ARGUMENT", "No signature was found with the name: nosuch"),
    ("Classify", "old_style", "three", "INVALID_ARGUMENT", "Expected one or two output Tensors, found 3"),
    ("Regress", "old_style", "three", "INVALID_ARGUMENT", "Expected one output Tensor."),
    ("Classify", "old_style", "", "INVALID_ARGUMENT", "No classification inputs found in SignatureDef: inputs {"),
    ("Regress", "old_style", "", "INVALID_ARGUMENT", "No regression inputs found in SignatureDef: inputs {"),
    ("Classify", "old_style", "other", "INVALID_ARGUMENT",
     'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: in'),
    ("Regress", "old_style", "other", "INVALID_ARGUMENT", "No regression outputs found in SignatureDef: inputs {"),
    ("Classify", "old_style", "classes", "UNIMPLEMENTED", "The embedded server has no Classify; call Predict."),
    ("Regress", "old_style", "value", "UNIMPLEMENTED", "The embedded server has no Regress; call Predict."),
])
def test_classify_and_regress_are_refused(server, method, name, signature, code, text):
    request = ClassificationRequest() if method == "Classify" else RegressionRequest()
    request.model_spec.CopyFrom(spec(name, signature))
    got, details = refused(getattr(server.stub, method), request)
    assert got == code and details.startswith(text)
    status, answer = server.rest(f"/v1/models/{name}:{method.lower()}", {"signature_name": signature, "examples": []})
    assert status == {"INVALID_ARGUMENT": 400, "UNIMPLEMENTED": 501}[code]
    assert answer["error"].startswith(text)


@pytest.mark.parametrize(("tasks", "code", "text"), [
    ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ([(spec("old_style", "classes"), CLASSIFY), (spec(""), CLASSIFY)], "INVALID_ARGUMENT",
     "Found ModelSpec with an empty model name."),
    ([(spec("old_style", "classes"), CLASSIFY), (spec("ulim"), REGRESS)], "INVALID_ARGUMENT",
     "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
    ([(spec("old_style", "classes"), CLASSIFY)] * 2, "INVALID_ARGUMENT", "Duplicate evaluation of signature: classes"),
    ([(spec("ulim", "nosuch"), CLASSIFY)], "INVALID_ARGUMENT",
     "Requested signature not found in model graph: nosuch"),
    ([(spec("ulim"), "tensorflow/serving/predict")], "UNIMPLEMENTED",
     "Unsupported signature method_name: tensorflow/serving/predict"),
    ([(spec("ulim"), REGRESS)], "INVALID_ARGUMENT", "Expected one input Tensor."),
    ([(spec("old_style", "classes"), CLASSIFY), (spec("old_style", "value"), REGRESS)], "UNIMPLEMENTED",
     "The embedded server has no MultiInference; call Predict."),
])
def test_multi_inference_is_refused(server, tasks, code, text):
    request = MultiInferenceRequest(tasks=[
        {"model_spec": model_spec, "method_name": method} for model_spec, method in tasks])
    assert refused(server.stub.MultiInference, request) == (code, text)


def test_requests_without_a_model_are_refused(server):
    for call, request in ((server.stub.Predict, PredictRequest()), (server.stub.Classify, ClassificationRequest()),
                          (server.stub.Regress, RegressionRequest()),
                          (server.stub.GetModelMetadata, GetModelMetadataRequest()),
                          (server.models.GetModelStatus, GetModelStatusRequest())):
        assert refused(call, request) == ("INVALID_ARGUMENT", "Missing ModelSpec")


# Deadlines ----------------------------------------------------------------------------------------------------------


def test_runs_whose_deadline_passes_give_their_threads_back(server):
    hours = PredictRequest(model_spec=spec(signature_name="spin"),
                           inputs={"turns": tf.make_tensor_proto(np.int64(2**40))})
    runs = [server.stub.Predict.future(hours, timeout=1) for _ in range(32)]  # more than the server has threads
    assert {run.code() for run in runs} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    began = time.monotonic()
    assert server.stub.Predict(picking(spec()), timeout=30).outputs["picked_bytes"].string_val == [b"30"]
    assert time.monotonic() - began < 15


# HandleReloadConfigRequest ------------------------------------------------------------------------------------------


def reloading(text: str) -> ReloadConfigRequest:
    request = ReloadConfigRequest()
    text_format.Parse(text, request.config)
    return request


@pytest.mark.parametrize(("text", "code", "message"), [
    ("", "INVALID_ARGUMENT", "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                             "ModelConfigList is currently supported"),
    ('model_config_list { config { name: "ulim" base_path: "ulim" model_platform: "tensorflow" } }',
     "INVALID_ARGUMENT", "Expected model ulim to have an absolute path or URI; got base_path()=ulim"),
    ('model_config_list { config { name: "ulim" base_path: "/ulim" model_platform: "tensorflow" '
     'version_labels { key: "stable" value: 7 } } }', "FAILED_PRECONDITION",
     "Request to assign label to version 7 of model ulim, which is not currently available for inference"),
])
def test_a_reload_that_is_refused_changes_nothing(server, text, code, message):
    assert refused(server.models.HandleReloadConfigRequest, reloading(text)) == (code, message)
    assert server.stub.Predict(picking(spec(version_label="stable")), timeout=30).model_spec.version.value == 1
    assert f"ReloadConfig failed: {message}" in server.err()


def test_a_reload_adds_a_model_moves_a_label_and_takes_a_model_out(server, base):
    publish(base / "fresh", 7, ToyServable(7).save)
    text = listed(base, fresh="",
                  ulim='model_version_policy { all {} } version_labels { key: "stable" value: 2 }')
    answer = server.models.HandleReloadConfigRequest(reloading(text), timeout=60)
    assert (answer.status.error_code, answer.status.error_message) == (0, "")
    assert server.stub.Predict(picking(spec("fresh")), timeout=30).model_spec.version.value == 7
    assert server.stub.Predict(picking(spec(version_label="stable")), timeout=30).model_spec.version.value == 2
    assert refused(server.stub.Predict, picking(spec("old_style")))[0] == "NOT_FOUND"
    server.wait_for_state(1, "END", "old_style")
    server.models.HandleReloadConfigRequest(reloading(both_versions(base)), timeout=60)
    assert server.stub.Predict(picking(spec(version_label="stable")), timeout=30).model_spec.version.value == 1
    server.wait_for_state(1, "AVAILABLE", "old_style")
