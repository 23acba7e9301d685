"""The executor on a model that was just made: where its servables are, and what they tell of the log."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
from pathlib import Path

import pytest
from tfx.types import artifact_utils, standard_artifacts

from tests.serving.servables import only
from tests.tfx_pipeline import transform_runs
from tests.ulim_tf.examples import item_categories
from tfx_pipeline import servables
from tfx_pipeline.components.index_builder.executor import Executor
from tfx_pipeline.config import PipelineConfig, PushConfig
from ulim_tf import config as settings
from ulim_tf.model import UlimModel

ITEMS, CATEGORIES = 12, 3
CONFIG = settings.from_dict(settings.UlimConfig, {
    "history": {"long": 9, "short": 4, "subsequence": 3}, "model": {"width": 4, "heads": 2, "hidden": 4},
    "retrieval": {"categories": 2, "per_category": 2, "short_term": 2, "results": 5, "index": "blocked"}})


@pytest.fixture
def artifacts(tmp_path, tmp_path_factory):
    made = {"transform_graph": standard_artifacts.TransformGraph()}
    made["transform_graph"].uri = str(transform_runs.shared_catalog(tmp_path_factory) / "transform")
    for name, kind in (("model", standard_artifacts.Model),
                       ("examples", standard_artifacts.Examples), ("servable", standard_artifacts.Model)):
        made[name] = kind()
        made[name].uri = str(tmp_path / name)
        (tmp_path / name).mkdir()
    made["examples"].split_names = artifact_utils.encode_split_names(["eval"])
    (tmp_path / "examples" / "ingest_summary.json").write_text(json.dumps({
        "first_time": 946_684_800, "cut_time": 949_363_200, "last_time": 951_782_400, "events": 1234,
        "events_rows_read": 2345, "train_users": 56, "eval_users": 7}))
    model = UlimModel(CONFIG, ITEMS, CATEGORIES)
    model.set_catalog(item_categories(ITEMS, CATEGORIES))
    (tmp_path / "model" / "Format-Serving").mkdir()
    model.save(str(tmp_path / "model" / "Format-Serving" / "model.keras"))
    return made


def test_all_servables_that_are_asked_for_are_in_the_artifact(artifacts, tmp_path):
    servable = artifacts.pop("servable")
    with only():
        Executor().Do({name: [one] for name, one in artifacts.items()}, {"servable": [servable]},
                      {"servables": json.dumps(["ulim", "ulim_encoder"])})
    folders = servables.found(servable.uri)
    assert folders == {"ulim": f"{servable.uri}/Format-Serving",
                       "ulim_encoder": f"{servable.uri}/servables/ulim_encoder"}
    for name in folders:
        card = (Path(folders[name]) / "assets.extra" / "model_card.md").read_text()
        for told in (f"# {name}\n", "| Log | 2000-01-01 to 2000-02-29, of which 2000-02-01 to 2000-02-29 was held",
                     "| Events | 1,234 of 2,345 rows |", "| Users trained on | 56 |", "| Users held out | 7 |"):
            assert told in card
    assert json.loads((tmp_path / "servable" / "index.json").read_text())["items"] == ITEMS


@pytest.mark.parametrize("names", [["ulim_gpu"], ["ulim", "ulim_tpu"], []])
def test_which_servables_may_be_asked_for(names):
    assert PipelineConfig().serving.servables == ("ulim",)
    assert PushConfig(servables=["ulim", "ulim_encoder"]).servables == ("ulim", "ulim_encoder")
    with pytest.raises(ValueError, match=r"PushConfig\.servables must be ulim and maybe others of ulim, ulim_gpu, "
                                         "ulim_encoder, got"):
        PushConfig(servables=names)
