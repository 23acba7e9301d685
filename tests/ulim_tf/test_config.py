import dataclasses

import pytest

from tfx_pipeline.config import PipelineConfig
from ulim_tf import config as settings
from ulim_tf.config import UlimConfig


def test_a_file_round_trips(tmp_path):
    config = settings.from_dict(PipelineConfig, {"history": {"short": 7}, "ingest": {"shards": 3},
                                                 "features": {"item_content": ["brand", "size"]}})
    settings.save(config, tmp_path / "config.yaml")
    assert settings.load(PipelineConfig, tmp_path / "config.yaml") == config
    assert config.features.item_content == ("brand", "size")
    assert config.history.short == 7 and config.ingest.shards == 3 and config.history.long == 1000


def test_whole_numbers_are_taken_for_fractions():
    assert settings.from_dict(UlimConfig, {"loss": {"alpha": 2}}).loss.alpha == 2.0


@pytest.mark.parametrize(("values", "message"), [
    ({"histroy": {}}, "unknown section 'histroy'; the sections are history, features, vocabulary, model"),
    ({"history": {"shrot": 1}}, r"unknown setting history.shrot; section 'history' has long, short, subsequence"),
    ({"history": 5}, "section 'history' must be a mapping of settings, got 5"),
    ({"history": {"short": "many"}}, "HistoryConfig.short must be int, got 'many'"),
    ({"history": {"short": True}}, "HistoryConfig.short must be int, got True"),
    ({"history": {"short": 1.5}}, "HistoryConfig.short must be int, got 1.5"),
    ({"features": {"item_content": "brand"}}, "FeaturesConfig.item_content must be tuple, got 'brand'"),
    ({"features": {"item_content": [1]}}, "FeaturesConfig.item_content must hold names, got 1"),
    ({"features": {"item_content": ["a", "b", "a"]}}, "FeaturesConfig.item_content must name each once, got 'a' twice"),
    ({"features": {"event_types": ["view"], "target_event_types": ["buy"]}},
     r"target_event_types must be among FeaturesConfig.event_types, got 'buy' beside \['view'\]"),
    ({"vocabulary": {"least_events": 1, "oov_buckets": 9}},
     "oov_buckets must be 0 unless VocabularyConfig.least_events is 2 or more, got 9 with least_events 1: no training"),
    ({"model": {"heads": 3}}, "ModelConfig.heads must divide ModelConfig.width, got 3 heads and width 64"),
    ({"loss": {"short_negatives": "both"}},
     "LossConfig.short_negatives must be one of whole_pool, in_category, got 'both'"),
    ({"retrieval": {"merge": "best"}},
     "RetrievalConfig.merge must be one of probability, quota, equal_quota, got 'best'"),
    ({"loss": {"alpha": float("nan")}}, "LossConfig.alpha must be at least 0.0, got nan"),
])
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        settings.from_dict(UlimConfig, values)


BOUNDS = [(section, field.name, bound, wrong)
          for section, kind in ((s.name, type(s.default)) for s in dataclasses.fields(PipelineConfig))
          for field in dataclasses.fields(kind)
          for bound, wrong in (("low", -1), ("high", 1))
          if field.metadata[bound] is not None]


@pytest.mark.parametrize(("section", "name", "bound", "direction"), BOUNDS)
def test_every_field_refuses_what_is_out_of_its_range(section, name, bound, direction):
    kind = type(getattr(PipelineConfig(), section))
    field = next(field for field in dataclasses.fields(kind) if field.name == name)
    outside = type(field.default)(field.metadata[bound] + direction)
    rule = "at least" if bound == "low" else "at most"
    with pytest.raises(ValueError, match=f"{kind.__name__}.{name} must be {rule} {field.metadata[bound]}, got"):
        settings.from_dict(PipelineConfig, {section: {name: outside}})


def test_a_broken_file_is_named(tmp_path):
    file = tmp_path / "broken.yaml"
    file.write_text("history: {short: [")
    with pytest.raises(ValueError, match=r"config file .*broken.yaml"):
        settings.load(UlimConfig, file)
    file.write_text("- history")
    with pytest.raises(ValueError, match=r"config file .*broken.yaml: expected sections such as 'history:'"):
        settings.load(UlimConfig, file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        settings.load(UlimConfig, tmp_path / "nowhere.yaml")
