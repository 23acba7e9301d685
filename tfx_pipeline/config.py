"""Settings of a pipeline run: those of the model, how the log is read, and what is pushed."""

import dataclasses

from ulim_tf.config import Section, UlimConfig, setting


@dataclasses.dataclass(frozen=True)
class IngestConfig(Section):
    """How the event log is read, checked and split."""

    holdout_days: int = setting(28, "days before the last event that are held out for evaluation", low=1, high=3650)
    max_history: int = setting(5000, "newest events of a user that are kept", low=1, high=1_000_000)
    max_rejected_share: float = setting(0.05, "share of malformed rows above which the run stops", low=0.0, high=1.0)
    shards: int = setting(16, "parts the users are divided into; one is held in memory at a time", low=1, high=100_000)
    seed: int = setting(17, "shuffles the events of a basket that share a timestamp", low=0)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(Section):
    """What a servable must reach on the held-out users to be pushed. Recall is Recall@R of their next basket."""

    at: int = setting(100, "R of the Recall that decides; at most retrieval.results", low=1, high=100_000)
    least_recall: float = setting(0.0, "Recall that a servable must reach", low=0.0, high=1.0)
    least_over_popular: float = setting(1.0, "Recall that it must reach, in times that of the most popular items",
                                        low=0.0, high=1000.0)
    most_loss: float = setting(0.05, "share of the last blessed servable's Recall, on the same users, that it may lose",
                               low=0.0, high=1.0)


@dataclasses.dataclass(frozen=True)
class PushConfig(Section):
    """What a servable must do before it is pushed, and how many are kept."""

    load_seconds: float = setting(300.0, "time in which a fresh server must have loaded a servable", low=0.001)
    latency_budget_ms: float = setting(250.0, "what a warm-up request of one user may take, median of repetitions",
                                       low=0.001)
    versions_kept: int = setting(5, "newest versions that stay in the model base path, for rollback", low=1)


@dataclasses.dataclass(frozen=True)
class PipelineConfig(UlimConfig):
    """All sections of a run's config file."""

    ingest: IngestConfig = IngestConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    serving: PushConfig = PushConfig()
