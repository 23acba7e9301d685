"""The command on users written by hand: its rows are the answers that a server gives a client."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import pandas as pd
import pytest
import tensorflow as tf

from serving.client import Client, History
from serving.export import export_servable
from tests.serving import in_process
from tests.serving.servables import only, write_vocabularies
from tests.serving.test_histories import example
from tests.tfx_pipeline.recorded_runs import Step, record
from tests.ulim_tf.examples import item_categories
from tfx_pipeline import batch_inference, batch_recommendations
from tfx_pipeline.components.event_example_gen.component import EventExampleGen
from ulim_tf import config as settings
from ulim_tf.config import FeaturesConfig
from ulim_tf.model import UlimModel

ITEMS, CATEGORIES = 40, 5
CONFIG = settings.from_dict(settings.UlimConfig, {
    "features": {"event_types": ["view", "buy"]}, "history": {"long": 100, "short": 8, "subsequence": 6},
    "model": {"width": 8, "heads": 2, "hidden": 16},
    "retrieval": {"categories": 3, "per_category": 4, "short_term": 5, "results": 12, "index": "blocked"}})
# Stored category by category; the histories are the same events in the order of their ranks.
STORED = {
    "ann": {"event_item_id": [b"item 1", b"item 6", b"item 2"], "event_timestamp": [86_400, 864_000, 172_800],
            "event_rank": [0, 2, 1], "event_type": [1, 2, 0]},
    "bob é": {"event_item_id": [b"item 9"], "event_timestamp": [5], "event_rank": [0], "event_type": [2]},
    "cy": {},
}
HISTORIES = {
    "ann": History(["item 1", "item 2", "item 6"], [86_400, 172_800, 864_000], event_types=["view", "", "buy"]),
    "bob é": History(["item 9"], [5], event_types=["buy"]),
    "cy": History(event_types=[]),
}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """What a run leaves there: a pushed servable, and examples in two files that ML Metadata knows."""
    folder = tmp_path_factory.mktemp("run")
    tf.keras.utils.set_random_seed(3)
    model = UlimModel(CONFIG, ITEMS, CATEGORIES)
    model.set_catalog(item_categories(ITEMS, CATEGORIES))
    with only("serving_default"):
        export_servable(model, *write_vocabularies(folder, ITEMS, CATEGORIES),
                        str(folder / "serving" / "ulim" / "20"))
    (folder / "serving" / "ulim" / "3").mkdir()

    examples = folder / "pipeline" / "EventExampleGen" / "examples" / "1"
    (examples / "Split-train").mkdir(parents=True)
    for number, users in enumerate((["ann", "bob é"], ["cy"])):
        with tf.io.TFRecordWriter(str(examples / "Split-train" / f"data_tfrecord-{number}.gz"), "GZIP") as writer:
            for user in users:
                writer.write(example(user_id=[user.encode()], **STORED[user]))

    component = EventExampleGen("events.csv", features_config=FeaturesConfig(event_types=("view", "buy")))
    record(folder, {"EventExampleGen": Step(
        {"examples": examples}, {"custom_config": component.exec_properties["custom_config"]})})
    return folder


def run(workdir, output, *flags: str) -> int:
    return batch_inference.main(["--workdir", str(workdir), "--output", str(output), *flags])


@pytest.mark.parametrize(("now", "asked_about"), [(0, {"ann": 864_000, "bob é": 5, "cy": 0}), (900_000, None)])
def test_rows_are_the_answers_of_a_server_to_the_last_bit(workdir, tmp_path, capsys, now, asked_about):
    assert run(workdir, tmp_path / "out" / "recommendations", "--now", str(now)) == 0
    assert "wrote the recommendations of 3 users to" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["recommendations"]
    rows = pd.read_parquet(tmp_path / "out" / "recommendations").set_index("user_id")
    assert sorted(rows.index) == ["ann", "bob é", "cy"]
    with in_process.serve(workdir / "serving" / "ulim", 60) as target, Client(target, timeout=60) as client:
        for user, row in rows.iterrows():
            history = HISTORIES[user]
            answer = client.recommend(History(history.item_ids, history.timestamps, now, history.event_types))
            assert len(answer) == 12 and row.now == (asked_about[user] if asked_about else now)
            assert [one.item_id for one in answer] == row.item_id.tolist()
            assert [one.score for one in answer] == row.score.tolist()
            assert [one.category_id for one in answer] == row.category_id.tolist()
            assert [one.channel for one in answer] == row.channel.tolist()
    assert len({tuple(items) for items in rows.item_id}) == 3


def test_an_output_that_exists_is_left_alone(workdir, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert run(workdir, tmp_path / "out") == 2
    assert "--output must not exist yet, got" in capsys.readouterr().err and not list((tmp_path / "out").iterdir())


def test_a_failure_leaves_nothing(workdir, tmp_path, capsys, monkeypatch):
    def refuse(*_):
        raise RuntimeError("no answer today")

    monkeypatch.setattr(batch_recommendations.LoadedModel, "predict", refuse)
    assert run(workdir, tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert "no answer today" in told and told.endswith("Nothing was written.\n")
    assert not list(tmp_path.iterdir())


def test_wrong_folders_are_told(workdir, tmp_path, capsys):
    assert run(tmp_path, tmp_path / "out") == 2
    assert "has no version. Give the --workdir of a finished" in capsys.readouterr().err
    assert run(workdir, tmp_path / "out", "--servable", str(tmp_path)) == 2
    assert "--servable must be a folder with a saved_model.pb, got" in capsys.readouterr().err
    assert run(tmp_path, tmp_path / "out", "--servable", str(workdir / "serving" / "ulim" / "20")) == 2
    assert f"{tmp_path} has no metadata.sqlite" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
