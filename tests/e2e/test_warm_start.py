"""A second run, on a log and a catalogue with new items, begins with what the first one pushed.

Its schema is inferred from its examples, where the first run's is the package's own.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import contextlib
import io
import shutil
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import tf_keras as keras
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from tfx_pipeline import run_local, run_summary
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.training.loop import TrainingLoop
from ulim_tf import config as settings
from ulim_tf import features

pytestmark = pytest.mark.e2e

VOCABULARIES = ("item_id", "category_id", "content", "profile")
DAY = 86_400


class Began(NamedTuple):
    """The model of the first run, that of the second before its first step, and the ids of their rows from 1."""

    before: keras.Model
    after: keras.Model
    ids_before: dict[str, list[str]]
    ids_after: dict[str, list[str]]
    told: str
    catalog: pd.DataFrame
    likened: pd.Series  # the item that the new ones are like
    schema: schema_pb2.Schema  # that passed the data gate


class StopHere(Exception):
    pass


@pytest.fixture(scope="module")
def began(pipeline_run, tmp_path_factory):
    """The second run, up to its first step. It works beside the first one, whose artifacts its metadata know."""
    folder = tmp_path_factory.mktemp("second")
    (folder / "run").mkdir()
    shutil.copy(pipeline_run.workdir / "metadata.sqlite", folder / "run")
    first = run_summary.read(run_local.metadata_connection(pipeline_run.workdir))
    outputs = {name: path for step in first.steps for name, path in step.outputs.items()}
    events, catalog = pipeline_run.events, pipeline_run.catalog
    likened = catalog.set_index("item_id", drop=False).loc[events.item_id.value_counts().index[0]]
    nothing = {"product_type": None, "manufacturer_id": None}
    more = pd.DataFrame([{**likened, "item_id": "bought"}, {**likened, "item_id": "described"},
                         {**likened, **nothing, "item_id": "plain"},
                         {**likened, **nothing, "item_id": "elsewhere", "category_id": "NEW"}])
    pd.concat([catalog, more]).to_parquet(folder / "products.parquet")
    new = events[events.timestamp < events.timestamp.max() - 60 * DAY].groupby("user_id", as_index=False).last()
    new = new.head(30).assign(item_id="bought", category_id=likened.category_id)
    pd.concat([events, new]).to_parquet(folder / "events.parquet")

    seen = []

    def stop(loop: TrainingLoop, batches) -> int:
        seen.append(loop)
        raise StopHere

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingLoop, "run", stop)
        with (pytest.raises(run_local.PipelineFailed, match="Trainer failed"),
              contextlib.redirect_stdout(io.StringIO()) as told):
            run_local.run(
                events=str(folder / "events.parquet"), catalog=str(folder / "products.parquet"), columns={},
                users=str(pipeline_run.workdir.parent / "data" / "users.parquet"), workdir=folder / "run",
                schema=None, config=settings.load(PipelineConfig, pipeline_run.workdir.parent / "config.yaml"))
    [loop] = seen
    assert loop.history.warm_start
    trained = outputs["servable"] / "trained"
    steps = run_summary.read(run_local.metadata_connection(folder / "run")).steps
    transform = next(step.outputs["transform_graph"] for step in steps if "transform_graph" in step.outputs)
    passed = schema_pb2.Schema()
    [schema] = next(step.outputs["passed_schema"] for step in steps if "passed_schema" in step.outputs).iterdir()
    text_format.Parse(schema.read_text(), passed)
    return Began(keras.models.load_model(trained / "model.keras", compile=False), loop._model,
                 *({name: (where / name).read_text().split("\n")[:-1] for name in VOCABULARIES}
                   for where in (trained, transform / "transform_fn" / "assets")),
                 told.getvalue(), pd.concat([catalog, more]), likened, passed)


def tables(model: keras.Model) -> list[tuple[str, np.ndarray]]:
    """What has a row for each id: its vocabulary and the rows."""
    embedding = model.embedding
    kernel, bias = model.pointer_generator.category_outputs
    return [("item_id", embedding.item_table.numpy()), ("item_id", embedding.bias_table.numpy()),
            ("item_id", model.popularity_shift.numpy()), ("category_id", embedding.category_table.numpy()),
            ("category_id", kernel.numpy().T), ("category_id", bias.numpy()),
            ("content", embedding.content_table.numpy()), ("profile", model.user_profile.table.numpy())]


def test_an_inferred_schema_passes_the_gate_and_is_what_transform_reads(began):
    assert "] SchemaGen" in began.told and "ImportSchemaGen" not in began.told
    kinds = {feature.name: feature.type for feature in began.schema.feature}
    assert kinds[features.EVENT_ITEM] == schema_pb2.BYTES and kinds[features.EVENT_TIMESTAMP] == schema_pb2.INT


def test_what_both_runs_know_keeps_its_rows_bit_by_bit(began):
    assert "begins with the weights of" in began.told and "4 are new, 0 are gone" in began.told
    moved = 0
    for (name, old), (_, new) in zip(tables(began.before), tables(began.after), strict=True):
        rows = {one: place for place, one in enumerate(began.ids_after[name], 1)}
        assert set(began.ids_before[name]) <= set(rows)
        now = [rows[one] for one in began.ids_before[name]]
        np.testing.assert_array_equal(new[now], old[1:], name)
        np.testing.assert_array_equal(new[0], old[0], name)
        moved += sum(here != before for before, here in enumerate(now, 1))
    assert moved, "else rows kept by place would pass"


def test_every_other_weight_is_that_of_the_first_run(began):
    by_row = ("item", "category", "bias", "content", "profile", "popularity", "token")
    whole = [(one, other) for one, other in zip(began.before.inference_variables, began.after.inference_variables)
             if one.shape == other.shape and not any(part in one.name for part in by_row)]
    assert len(whole) > 10
    for one, other in whole:
        np.testing.assert_array_equal(one, other, one.name)


def test_new_items_come_from_co_purchases_content_or_their_category(began):
    item_table, bias, shift = (rows for _, rows in tables(began.after)[:3])
    old_table, old_bias, old_shift = (rows for _, rows in tables(began.before)[:3])
    row = {one: place for place, one in enumerate(began.ids_after["item_id"], 1)}
    category = began.catalog.set_index("item_id").category_id
    same = [place for place, one in enumerate(began.ids_before["item_id"], 1)
            if category[one] == began.likened.category_id]
    assert len(same) > 1
    assert np.linalg.norm(item_table[row["bought"]]) == pytest.approx(0.5, rel=1e-4)  # of the SVD, turned
    assert not item_table[row["described"]].any()  # the vectors of its content are the whole of its vector
    np.testing.assert_allclose(item_table[row["plain"]], old_table[same].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(item_table[row["elsewhere"]], old_table[1:].mean(axis=0), atol=1e-6)
    for new, old in ((bias, old_bias), (shift, old_shift)):
        for one in ("bought", "described", "plain"):
            np.testing.assert_allclose(new[row[one]], old[same].mean(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(new[row["elsewhere"]], old[1:].mean(), rtol=1e-4, atol=1e-5)


def test_a_new_category_has_the_mean_of_all(began):
    row = 1 + began.ids_after["category_id"].index("NEW")
    for (name, old), (_, new) in zip(tables(began.before), tables(began.after)):
        if name == "category_id":
            np.testing.assert_allclose(new[row], old[1:].mean(axis=0), rtol=1e-4, atol=1e-5)
