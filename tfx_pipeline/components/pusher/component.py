"""The Pusher of TFX with an executor that is atomic."""

from tfx import v1 as tfx
from tfx.dsl.components.base import executor_spec

from tfx_pipeline.components.pusher.executor import Executor


class Pusher(tfx.components.Pusher):
    """Pushes a servable into a model base path; arguments as in TFX."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
