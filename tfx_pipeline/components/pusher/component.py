"""The Pusher of TFX with an executor that is atomic and keeps some versions."""

from tfx import components, types
from tfx.dsl.components.base import executor_spec
from tfx.proto.pusher_pb2 import PushDestination

from tfx_pipeline.components.pusher.executor import VERSIONS_KEPT, Executor


class Pusher(components.Pusher):
    """Pushes servables into their model base paths, if all blessings say so, and removes the oldest versions.

    Args:
        model: the servables, as `tfx_pipeline/servables.py` says.
        base_path: model base path of `ulim`; those of the others are beside it.
        versions_kept: versions that stay, with the new one.
        blessings: by the names of TFX's Pusher, `model_blessing` and `infra_blessing`.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, model: types.BaseChannel, base_path: str, versions_kept: int, **blessings: types.BaseChannel):
        super().__init__(
            model=model, **blessings, custom_config={VERSIONS_KEPT: versions_kept},
            push_destination=PushDestination(filesystem=PushDestination.Filesystem(base_directory=base_path)))
