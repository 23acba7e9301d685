"""Settings of a pipeline run: those of the model, how the log is read, and what is pushed."""

import dataclasses

from serving.contract import MODEL_NAME, SERVABLES
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
class DataGateConfig(Section):
    """How far the data may be from what is sane, and from the newest earlier run that passed, before a run stops."""

    min_categories: int = setting(2, "categories with events that a log must have; with one there is nothing to "
                                  "predict", low=1)
    max_category_share: float = setting(0.9, "share of all events above which one category is everything", low=0.0,
                                        high=1.0)
    min_categories_kept: float = setting(0.7, "categories with events, as a share of the earlier run's", low=0.0)
    max_category_divergence: float = setting(0.05, "Jensen-Shannon divergence, base 2, of the categories' shares of "
                                             "events from the earlier run's: 0 the same, 1 nothing in common", low=0.0,
                                             high=1.0)
    max_history_ratio: float = setting(2.0, "factor by which the median and the 90th percentile of the histories' "
                                       "lengths may change, either way, beyond what a longer log explains", low=1.0)
    rate_days: int = setting(28, "newest days before the held-out time whose events a day are the event rate", low=1)
    max_rate_ratio: float = setting(2.0, "factor by which the event rate may change, either way", low=1.0)
    first_year: int = setting(1990, "events before it are taken for a wrong unit or an unset clock", low=1970,
                              high=2100)
    max_early_share: float = setting(0.05, "share of such events above which the run stops; fewer are only told",
                                     low=0.0, high=1.0)
    max_skew_divergence: float = setting(0.05, "Jensen-Shannon divergence between the splits train and eval that is "
                                         "told, without stopping; between requests and the split train, above which "
                                         "tfx_pipeline.skew_check fails", low=0.0, high=1.0)
    max_age_ratio: float = setting(2.0, "factor by which the median and the 90th percentile of the ages of requests' "
                                   "events, in days, may differ from training's, either way; for "
                                   "tfx_pipeline.skew_check", low=1.0)
    max_unknown_share: float = setting(0.05, "share of requests' events of items that training did not know, above "
                                       "which tfx_pipeline.skew_check fails", low=0.0, high=1.0)
    told_share: float = setting(0.05, "share of items with several categories, or of events beyond "
                                "ingest.max_history, that is told, without stopping", low=0.0, high=1.0)


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
    servables: tuple[str, ...] = setting((MODEL_NAME,), "what is exported, checked and pushed: ulim always; ulim_gpu, "
                                         "of TensorFlow's own ops, for any server and its GPUs; ulim_encoder, without "
                                         "items, for a vector store of another kind")

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [one for one in self.servables if one not in SERVABLES]
        if unknown or MODEL_NAME not in self.servables:
            raise ValueError(f"PushConfig.servables must be {MODEL_NAME} and maybe others of {', '.join(SERVABLES)}, "
                             f"got {list(self.servables)}. Write for example [{', '.join(SERVABLES)}].")


@dataclasses.dataclass(frozen=True)
class PipelineConfig(UlimConfig):
    """All sections of a run's config file."""

    ingest: IngestConfig = IngestConfig()
    data_gate: DataGateConfig = DataGateConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    serving: PushConfig = PushConfig()
