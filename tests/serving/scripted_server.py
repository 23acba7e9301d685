"""A server of Predict in this process whose answers, delays and refusals a test writes down beforehand."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class ScriptedServer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers by signature.

    Attributes:
        target: "host:port".
        answers: signature -> output -> value, or what makes that of the inputs.
        refusals: codes with which the next requests are refused, one after the other; OK answers.
        held: as many of the next requests wait until `release` is set.
        requests, metadata: of every request that came, in order.
    """

    def __init__(self, answers: Mapping[str, Mapping[str, object]]):
        self.answers = answers
        self.target = ""
        self.refusals: list[grpc.StatusCode] = []
        self.held = 0
        self.release = threading.Event()
        self.requests: list[predict_pb2.PredictRequest] = []
        self.metadata: list[dict[str, str]] = []
        self._lock = threading.Lock()

    def Predict(self, request, context):
        with self._lock:
            self.requests.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            refusal = self.refusals.pop(0) if self.refusals else None
            waits, self.held = self.held > 0, max(0, self.held - 1)
        if waits:
            self.release.wait(20)
        if refusal and refusal != grpc.StatusCode.OK:
            context.abort(refusal, f"refused: {refusal.name}")
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.version.value = request.model_spec.name, 7
        answer = self.answers[request.model_spec.signature_name]
        if callable(answer):
            answer = answer({name: tf.make_ndarray(tensor).tolist() for name, tensor in request.inputs.items()})
        for name, value in answer.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def sent(self, place: int = -1) -> dict[str, object]:
        """The inputs of a request, as lists."""
        return {name: tf.make_ndarray(tensor).tolist() for name, tensor in self.requests[place].inputs.items()}


@contextlib.contextmanager
def serve(answers: Mapping[str, Mapping[str, object]],
          credentials: grpc.ServerCredentials | None = None, port: int = 0) -> Iterator[ScriptedServer]:
    """The server, for as long as a block lasts."""
    scripted = ScriptedServer(answers)
    server = grpc.server(ThreadPoolExecutor(8))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(scripted, server)
    port = (server.add_secure_port("localhost:0", credentials) if credentials
            else server.add_insecure_port(f"127.0.0.1:{port}"))
    scripted.target = f"{'localhost' if credentials else '127.0.0.1'}:{port}"
    server.start()
    try:
        yield scripted
    finally:
        scripted.release.set()
        server.stop(None).wait()
