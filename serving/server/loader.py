"""One version of a model, loaded as TF Serving loads it: a session over the "serve" graph of a SavedModel."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import functools
from collections.abc import Mapping, Sequence

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from serving.server.batching import Batcher
from serving.server.errors import ServingError, from_tensorflow, invalid
from serving.server.metrics import Metrics
from serving.server.signature_checks import Signature

# A SavedModel with a ScaNN index needs ScaNN's ops registered; any other is served without the package.
with contextlib.suppress(ModuleNotFoundError):
    import scann  # noqa: F401

_METHODS = ("tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress")


class LoadedModel:
    """A SavedModel ready to answer, from any number of threads.

    Args:
        directory: holds saved_model.pb.
        intra_op_threads: threads that one op may use; 0 lets TensorFlow choose.
        inter_op_threads: ops that may run at once; 0 lets TensorFlow choose.
        batcher: merges requests of signatures that answer row by row; None runs each by itself.
        metrics: is told of the load and of every run of the graph.

    Attributes:
        signatures: by name.

    Raises:
        Exception: whatever TensorFlow raises for a SavedModel that cannot be read or initialised.
    """

    def __init__(self, directory: str, intra_op_threads: int = 0, inter_op_threads: int = 0,
                 batcher: Batcher | None = None, metrics: Metrics | None = None):
        self._batcher, self._metrics = batcher, metrics or Metrics()
        graph = tf.Graph()
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=intra_op_threads, inter_op_parallelism_threads=inter_op_threads)
        # The memory optimizer swaps to a GPU's host; here it would only log every op whose cost it cannot guess.
        config.graph_options.rewrite_options.memory_optimization = RewriterConfig.NO_MEM_OPT
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with self._metrics.load(directory):
                meta_graph = tf.compat.v1.saved_model.loader.load(
                    self._session, [tf.saved_model.SERVING], directory)
        except BaseException:
            self._session.close()
            raise
        graph.finalize()
        self.signatures: dict[str, SignatureDef] = dict(meta_graph.signature_def)
        self._asked: dict[str, Signature] = {}  # those that were

    def signature(self, name: str) -> SignatureDef:
        """A signature that can be called; "" is `serving_default`.

        Raises:
            ServingError: FAILED_PRECONDITION, there is none of that name; INVALID_ARGUMENT, it is not for requests.
        """
        name = name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        if name not in self.signatures:
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        method = self.signatures[name].method_name
        if method not in _METHODS:
            raise invalid(f"Expected prediction signature method_name to be one of {{{', '.join(_METHODS)}}}. "
                          f"Was: {method}")
        return self.signatures[name]

    def predict(self, signature_name: str, inputs: Mapping[str, np.ndarray],
                output_filter: Sequence[str] = (), timeout: float | None = None) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature_name: "" is `serving_default`.
            inputs: one array an input of the signature; strings as object arrays of bytes.
            output_filter: names of the outputs to compute; empty for all.
            timeout: seconds after which the run is cancelled; None for never.

        Raises:
            ServingError: see `signature`, `Signature`, `Batcher.run`; DEADLINE_EXCEEDED, after `timeout`; or, with its
                code, what the graph raised.
        """
        name = signature_name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        definition = self.signature(name)
        signature = self._asked.get(name) or self._asked.setdefault(name, Signature(definition, self._session.graph))
        signature.check_inputs(inputs)
        outputs = signature.wanted(output_filter)
        run = functools.partial(self._run, signature, outputs)
        if not signature.answers_by_row(outputs, inputs) or not self._batcher:
            return run(inputs, timeout)
        # What has been checked cannot fail those it is merged with, but for what the graph itself refuses.
        return self._batcher.run((self, name, *sorted(outputs)), inputs, run, timeout)

    def close(self) -> None:
        """Frees the session, its variables, tables and indices."""
        self._session.close()

    def _run(self, signature: Signature, outputs: Sequence[str], inputs: Mapping[str, np.ndarray],
             timeout: float | None) -> dict[str, np.ndarray]:
        # A timeout of 0 would be none.
        options = None if timeout is None else tf.compat.v1.RunOptions(timeout_in_ms=max(1, round(timeout * 1000)))
        try:
            with self._metrics.graph_run():
                values = self._session.run([signature.outputs[alias].tensor for alias in outputs],
                                           {signature.inputs[alias].tensor: array for alias, array in inputs.items()},
                                           options)
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from error
        # Session.run returns a scalar as a Python or NumPy scalar.
        return {alias: np.asarray(value, signature.outputs[alias].dtype.as_numpy_dtype)
                for alias, value in zip(outputs, values)}
