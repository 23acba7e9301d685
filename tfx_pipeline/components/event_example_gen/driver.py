"""Finds the newest span of the patterns that have one, before the ingest runs or is taken from the cache."""

import os
from collections.abc import Iterable

from tfx.components.example_gen import driver, input_processor, utils
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.utils import io_utils


class EventExampleGenDriver(driver.FileBasedDriver):
    """As TFX's, but a log with spans may have a catalogue without."""

    def get_input_processor(self, splits: Iterable[example_gen_pb2.Input.Split],
                            range_config: range_config_pb2.RangeConfig | None = None,
                            input_base_uri: str | None = None) -> input_processor.InputProcessor:
        """The resolver of spans.

        Raises:
            ValueError: no file matches a pattern with a span, or the newest spans of two patterns differ.
        """
        return _InputProcessor(input_base_uri, splits, range_config)


class _InputProcessor(input_processor.FileBasedInputProcessor):
    """TFX's processor over the patterns with spans, or over all where none has one."""

    _fingerprint: str  # of the base class

    def __init__(self, base: str | None, splits: Iterable[example_gen_pb2.Input.Split],
                 range_config: range_config_pb2.RangeConfig | None):
        spanned = [split for split in splits if _has_span(split)]
        self._plain = [split for split in splits if spanned and not _has_span(split)]
        super().__init__(base, spanned or list(splits), range_config)

    def resolve_span_and_version(self) -> tuple[int, int | None]:
        found = super().resolve_span_and_version()
        plain = [io_utils.generate_fingerprint(split.name, os.path.join(self._input_base_uri, split.pattern))
                 for split in self._plain]
        self._fingerprint = "\n".join([self._fingerprint, *plain])
        return found

    def get_pattern_for_span_version(self, pattern: str, span: int, version: int | None) -> str:
        if pattern in [split.pattern for split in self._plain]:
            return pattern
        return super().get_pattern_for_span_version(pattern, span, version)


def _has_span(split: example_gen_pb2.Input.Split) -> bool:
    return any(utils.verify_split_pattern_specs(split))
