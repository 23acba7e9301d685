"""Settings of a pipeline run: those of the model, and how the log is read."""

import dataclasses

from ulim_tf.config import Section, UlimConfig, setting


@dataclasses.dataclass(frozen=True)
class IngestConfig(Section):
    """How the event log is read, checked and split."""

    holdout_days: int = setting(28, "days before the last event that are held out for evaluation", low=1, high=3650)
    max_history: int = setting(5000, "newest events of a user that are kept", low=1, high=1_000_000)
    duplicates: str = setting("keep", "events that repeat another in user, item, time, basket and type: keep, as of a "
                              "shop where two of a product are two rows, or drop, as of a log that sends twice",
                              choices=("keep", "drop"))
    now: int = setting(0, "unix seconds that events may be later than by a day at most; 0: when the newest file of the "
                       "log was written", low=0, high=4_102_444_800)
    max_rejected_share: float = setting(0.05, "share of malformed rows above which the run stops", low=0.0, high=1.0)
    shards: int = setting(16, "parts the users are divided into; one is held in memory at a time", low=1, high=100_000)
    seed: int = setting(17, "shuffles the events of a basket that share a timestamp", low=0)


@dataclasses.dataclass(frozen=True)
class PipelineConfig(UlimConfig):
    """All sections of a run's config file."""

    ingest: IngestConfig = IngestConfig()
