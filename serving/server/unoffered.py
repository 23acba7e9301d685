"""Classify, Regress and MultiInference, refused as TF Serving refuses them for servables that are made for Predict.

Each function checks the request in TF Serving's order and with its codes and texts. What passes all of that would be
answered there; the embedded server has no such answer and says UNIMPLEMENTED.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Mapping
from typing import Literal, NoReturn

import grpc
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.model_pb2 import ModelSpec

from serving.server.errors import ServingError, invalid
from serving.server.manager import Manager

_INPUTS = tf.saved_model.CLASSIFY_INPUTS  # as REGRESS_INPUTS
_CLASSES, _SCORES = tf.saved_model.CLASSIFY_OUTPUT_CLASSES, tf.saved_model.CLASSIFY_OUTPUT_SCORES


def single_inference(manager: Manager, spec: ModelSpec, method: Literal["Classify", "Regress"]) -> NoReturn:
    """Raises:
        ServingError: INVALID_ARGUMENT, the signature is not for the method; UNIMPLEMENTED, it is; or see
            `Manager.borrow`.
    """
    with manager.borrow(spec) as (_, model):
        signature = _signature(model.signatures, spec, "No signature was found with the name")
        (_check_classification if method == "Classify" else _check_regression)(signature)
    raise _unimplemented(method)


def multi_inference(manager: Manager, request: MultiInferenceRequest) -> NoReturn:
    """Raises:
        ServingError: INVALID_ARGUMENT, a task is of another model, of the same signature as another, or its signature
            is not for its method; UNIMPLEMENTED, otherwise; or see `Manager.borrow`.
    """
    with manager.borrow(request.tasks[0].model_spec if request.tasks else ModelSpec()) as (_, model):
        signatures = set()
        for task in request.tasks:
            if not task.model_spec.name:
                raise invalid("Found ModelSpec with an empty model name.")
            if task.model_spec.name != request.tasks[0].model_spec.name:
                raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
            name = _signature_name(task.model_spec)
            if name in signatures:
                raise invalid(f"Duplicate evaluation of signature: {name}")
            signatures.add(name)
            signature = _signature(model.signatures, task.model_spec, "Requested signature not found in model graph")
            if task.method_name == tf.saved_model.CLASSIFY_METHOD_NAME:
                _check_classification(signature)
            elif task.method_name == tf.saved_model.REGRESS_METHOD_NAME:
                _check_regression(signature)
            else:
                raise ServingError(grpc.StatusCode.UNIMPLEMENTED,
                                   f"Unsupported signature method_name: {task.method_name}")
    raise _unimplemented("MultiInference")


def _signature(signatures: Mapping[str, SignatureDef], spec: ModelSpec, missing: str) -> SignatureDef:
    name = _signature_name(spec)
    if name not in signatures:
        raise invalid(f"{missing}: {name}")
    return signatures[name]


def _signature_name(spec: ModelSpec) -> str:
    return spec.signature_name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


def _check_classification(signature: SignatureDef) -> None:
    _check_one_input(signature)
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    _check_name_of_input(signature, "classification")
    if _CLASSES not in signature.outputs and _SCORES not in signature.outputs:
        raise invalid(f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or '
                      f'"{_SCORES}". Signature was: {signature}')


def _check_regression(signature: SignatureDef) -> None:
    _check_one_input(signature)
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    _check_name_of_input(signature, "regression")
    if tf.saved_model.REGRESS_OUTPUTS not in signature.outputs:
        raise invalid(f"No regression outputs found in SignatureDef: {signature}")


def _check_one_input(signature: SignatureDef) -> None:
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")


def _check_name_of_input(signature: SignatureDef, kind: str) -> None:
    if _INPUTS not in signature.inputs:
        raise invalid(f"No {kind} inputs found in SignatureDef: {signature}")


def _unimplemented(method: str) -> ServingError:
    return ServingError(grpc.StatusCode.UNIMPLEMENTED, f"The embedded server has no {method}; call Predict.")
