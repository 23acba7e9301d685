"""Every setting of the model, its training and its retrieval: frozen, validated, read from one YAML file.

A file holds one mapping per section; what it leaves out keeps its default:

    history: {short: 50}
    training: {steps: 500}

Unknown sections and fields are refused, so a misspelt setting never passes silently.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml


def setting(default: Any, doc: str, *, low: float | None = None, high: float | None = None,
            choices: tuple[str, ...] | None = None) -> Any:
    """One field of a section: its default, what it means, and the values it takes (`low` and `high` included)."""
    return dataclasses.field(default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices})


@dataclasses.dataclass(frozen=True)
class Section:
    """A group of settings that checks each of its fields as it is built.

    Raises:
        ValueError: a value is of the wrong type or outside the range of its field.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            name = f"{type(self).__name__}.{field.name}"
            if isinstance(field.default, float) and type(value) is int:
                value = float(value)
                object.__setattr__(self, field.name, value)
            if isinstance(field.default, tuple) and isinstance(value, list):  # YAML and JSON know no tuples
                value = tuple(value)
                object.__setattr__(self, field.name, value)
            if type(value) is not type(field.default):
                raise ValueError(f"{name} must be {type(field.default).__name__}, got {value!r}. "
                                 f"Meaning: {field.metadata['doc']}")
            if isinstance(value, tuple):
                _check_names(name, value)
            low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
            if low is not None and not value >= low:
                raise ValueError(f"{name} must be at least {low}, got {value!r}. Meaning: {field.metadata['doc']}")
            if high is not None and not value <= high:
                raise ValueError(f"{name} must be at most {high}, got {value!r}. Meaning: {field.metadata['doc']}")
            if choices and value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}. "
                                 f"Meaning: {field.metadata['doc']}")


def _check_names(setting_name: str, names: tuple[Any, ...]) -> None:
    wrong = [one for one in names if not isinstance(one, str) or not one]
    if wrong:
        raise ValueError(f"{setting_name} must hold names, got {wrong[0]!r}. Write for example [brand, department].")
    repeated = [one for place, one in enumerate(names) if one in names[:place]]
    if repeated:
        raise ValueError(f"{setting_name} must name each once, got {repeated[0]!r} twice. Leave the second out.")


@dataclasses.dataclass(frozen=True)
class HistoryConfig(Section):
    """How much of a history the model reads."""

    long: int = setting(1000, "L: newest events of a request that are read", low=1, high=100_000)
    short: int = setting(50, "S: newest events, of any category, in the short-term branch", low=1, high=1000)
    subsequence: int = setting(100, "M: newest events of one category in the long-term branch", low=1, high=5000)


@dataclasses.dataclass(frozen=True)
class FeaturesConfig(Section):
    """What the towers read beyond items, categories and times."""

    item_content: tuple[str, ...] = setting((), "columns of the catalogue, such as brand, whose values describe items; "
                                            "an item nobody bought yet has its vector from them")
    user_profile: tuple[str, ...] = setting((), "columns of the users file, such as country, whose values describe "
                                            "users; requests then carry them too")
    event_types: tuple[str, ...] = setting((), "values of the log's event_type that are told apart, such as view and "
                                           "buy; all others are one unknown type")
    target_event_types: tuple[str, ...] = setting((), "those of event_types that are predicted; the rest is history "
                                                  "only. Empty: every event is")

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [one for one in self.target_event_types if one not in self.event_types]
        if unknown:
            raise ValueError(f"FeaturesConfig.target_event_types must be among FeaturesConfig.event_types, got "
                             f"{unknown[0]!r} beside {list(self.event_types)}. Add it there too.")

    @property
    def targets(self) -> tuple[int, ...]:
        """Numbers of the types that are predicted; empty: all events are."""
        return tuple(1 + self.event_types.index(one) for one in self.target_event_types)


@dataclasses.dataclass(frozen=True)
class VocabularyConfig(Section):
    """Which items have a row of their own. The others are rare: read in histories at most, never answered."""

    least_events: int = setting(0, "training events that an item must have for a row of its own; 0: every item of the "
                                "catalogue has one, bought or not. An item with fewer is not answered and is no target",
                                low=0, high=1_000_000)
    oov_buckets: int = setting(0, "rows that items without one share, a hash of the id says which; they are read in "
                               "histories only. 0: such items are left out of histories", low=0, high=10_000_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.oov_buckets and self.least_events < 2:
            raise ValueError(f"VocabularyConfig.oov_buckets must be 0 unless VocabularyConfig.least_events is 2 or "
                             f"more, got {self.oov_buckets} with least_events {self.least_events}: no training event "
                             "would be of a bucket, and nothing would train it. Set for example least_events: 3.")


@dataclasses.dataclass(frozen=True)
class ModelConfig(Section):
    """Shapes of the two towers and of PGIN."""

    width: int = setting(64, "D: width of every embedding and interest vector", low=2, high=1024)
    heads: int = setting(2, "attention heads of the short-term branch; divides width", low=1, high=64)
    hidden: int = setting(128, "hidden units of each DNN", low=1, high=8192)
    item_vectors: str = setting("fixed", "fixed stay where co-purchases put them, started are learned from there, "
                                "learned start by chance (the paper's)", choices=("fixed", "started", "learned"))
    item_pointer: bool = setting(True, "copy items of the history as well as generate them; off: the paper's model")
    short_term_attention: bool = setting(True, "self-attention among the newest events; off: they are only pooled")
    category_pointer: bool = setting(True, "PGIN copies categories of the history; off: it only generates")
    category_generator: bool = setting(True, "PGIN generates categories; off: it only copies where there is a history")
    long_term_query: str = setting("short_term", "what asks the long-term attention: the short-term vector, or "
                                   "the mean of the subsequence itself", choices=("short_term", "subsequence"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ValueError(f"ModelConfig.heads must divide ModelConfig.width, got {self.heads} heads and width "
                             f"{self.width}. Choose for example heads: 2 and width: 64.")


@dataclasses.dataclass(frozen=True)
class LossConfig(Section):
    """Weights and negatives of L = alpha * L_long + beta * L_short + gamma * L_cat (ULIM, section CHDIL)."""

    alpha: float = setting(1.0, "weight of the long-term loss", low=0.0)
    beta: float = setting(1.0, "weight of the short-term loss", low=0.0)
    gamma: float = setting(1.0, "weight of the category loss of PGIN", low=0.0)
    temperature: float = setting(1.0, "divides every score before the softmax", low=1e-3, high=100.0)
    category_negatives: int = setting(512, "negatives drawn from a category; all its items where it has no more", low=1,
                                      high=100_000)
    pool_negatives: int = setting(1024, "negatives a batch shares, drawn from the whole pool", low=1, high=1_000_000)
    long_negatives: str = setting("in_category", "where the long-term loss draws its negatives: in_category shares a "
                                  "category's among its targets, per_target draws for each, whole_pool from all items",
                                  choices=("in_category", "per_target", "whole_pool"))
    short_negatives: str = setting("whole_pool", "where the short-term loss draws its negatives",
                                   choices=("whole_pool", "in_category"))


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Section):
    """How long and how fast to train."""

    steps: int = setting(300, "training steps; chosen on 2,464 users, a larger log wants more", low=1)
    epochs: float = setting(0.0, "instead of steps, where not 0: how often as many moments are drawn as the training "
                            "data have baskets; users are drawn alike, so a basket comes that often on average",
                            low=0.0)
    moments: int = setting(128, "B: moments (a user just before one of their baskets) in a batch", low=1)
    moments_per_user: int = setting(4, "moments drawn from a user each time the user is read", low=1)
    targets: int = setting(8, "bought items of a moment's basket that are trained on at once", low=1)
    learning_rate: float = setting(2e-3, "of Adam at the first step; it falls linearly to 0 at the last", low=1e-8,
                                   high=10.0)
    recent_days: int = setting(56, "newest days of the log whose popularity the items' biases follow after training",
                               low=1, high=10_000)
    checkpoints: int = setting(6, "times in a training, evenly spread, that a checkpoint is written and the validation "
                               "recall measured", low=1, high=100_000)
    validation_users: int = setting(500, "users whose newest basket is kept from training and measures it, a fifth of "
                                    "the users at the most; 0: none, and the weights of the last step are taken", low=0)
    patience: int = setting(3, "checkpoints in a row without a new best validation recall after which training "
                            "stops; 0: it never does", low=0)
    warm_start: bool = setting(True, "begin with the weights of the newest blessed model, where there is one of the "
                               "same features and shapes")
    strategy: str = setting("none", "of tf.distribute: mirrored over the GPUs of this machine, multi_worker_mirrored "
                            "over the workers that the environment variable TF_CONFIG names",
                            choices=("none", "mirrored", "multi_worker_mirrored"))
    seed: int = setting(17, "seeds weights, sampling and shuffling", low=0)


@dataclasses.dataclass(frozen=True)
class RetrievalConfig(Section):
    """The cascade of the servable: predict categories, search inside them, merge."""

    categories: int = setting(200, "K: predicted categories that are searched", low=1, high=10_000)
    per_category: int = setting(50, "items taken from each searched category", low=1, high=10_000)
    short_term: int = setting(500, "items taken from the whole pool by the short-term vector", low=1, high=100_000)
    merge: str = setting("probability", "how the channels become one answer: probability ranks a mixture of both; "
                         "quota divides the places among categories by their probability, equal_quota evenly",
                         choices=("probability", "quota", "equal_quota"))
    quota_exponent: float = setting(1.0, "power of a category's probability that merge: quota divides by; 0 is "
                                    "equal_quota", low=0.0, high=100.0)
    short_share: float = setting(0.02, "what the short-term channel gets: of the probability, or of the places where "
                                 "merge is a quota", low=0.0, high=1.0)
    results: int = setting(500, "R: items in an answer", low=1, high=100_000)
    category_cap: int = setting(0, "at most so many items of one category in an answer; 0: no cap", low=0,
                                high=100_000)
    diversity: float = setting(0.0, "what a score loses for each item of the same category before it, in units of a "
                               "log probability; 0: the order of the scores", low=0.0, high=100.0)
    index: str = setting("scann", "scann needs ScaNN's ops in the server, scann_quantised as well and a third of the "
                         "memory; blocked is exact, of TensorFlow's own ops, for GPUs and any server",
                         choices=("scann", "scann_quantised", "blocked"))
    least_recall: float = setting(0.99, "of the best items of a category, what the index must find to be exported",
                                  low=0.0, high=1.0)
    least_pool_recall: float = setting(0.95, "the same of the best 100 of the whole pool", low=0.0, high=1.0)
    exclude_seen: bool = setting(False, "never answer an item of the history; for shops where nobody rebuys")


@dataclasses.dataclass(frozen=True)
class UlimConfig:
    """All sections of the model. Field names are the section names of the file."""

    history: HistoryConfig = HistoryConfig()
    features: FeaturesConfig = FeaturesConfig()
    vocabulary: VocabularyConfig = VocabularyConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    retrieval: RetrievalConfig = RetrievalConfig()


Sections = TypeVar("Sections", bound=UlimConfig)


def from_dict(kind: type[Sections], values: Mapping[str, Mapping[str, Any]]) -> Sections:
    """Builds `kind` (a dataclass of sections) from nested mappings, as `to_dict` gives them.

    Raises:
        ValueError: an unknown section or field, or a value its field refuses.
    """
    sections = {field.name: type(getattr(kind, field.name)) for field in dataclasses.fields(kind)}
    built = {}
    for name, fields in values.items():
        if name not in sections:
            raise ValueError(f"unknown section {name!r}; the sections are {', '.join(sections)}")
        if not isinstance(fields, Mapping):
            raise ValueError(f"section {name!r} must be a mapping of settings, got {fields!r}")
        known = [field.name for field in dataclasses.fields(sections[name])]
        unknown = [field for field in fields if field not in known]
        if unknown:
            raise ValueError(f"unknown setting {name}.{unknown[0]}; section {name!r} has {', '.join(known)}")
        built[name] = sections[name](**fields)
    return kind(**built)


def to_dict(config: Any) -> dict[str, dict[str, Any]]:
    """The nested mappings that `from_dict` reads."""
    return dataclasses.asdict(config)


def load(kind: type[Sections], path: str | Path) -> Sections:
    """Reads a YAML file of sections.

    Raises:
        ValueError: the file is not such a mapping; the message names the file and the setting.
        FileNotFoundError: there is no such file.
    """
    try:
        values = yaml.safe_load(Path(path).read_text()) or {}
        if not isinstance(values, Mapping):
            raise ValueError(f"expected sections such as 'history:', got {values!r}")
        return from_dict(kind, values)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"config file {path}: {error}") from error


def save(config: Any, path: str | Path) -> None:
    """Writes the file that `load` reads."""
    Path(path).write_text(yaml.safe_dump(to_dict(config), sort_keys=False))
