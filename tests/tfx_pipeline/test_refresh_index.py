"""The command on a work directory that holds what a run of the pipeline leaves there."""

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import tensorflow as tf
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

import serving.refresh
from tests.serving import in_process
from tests.serving.servables import only
from tests.tfx_pipeline.recorded_runs import CACHED, COMPLETE, FAILED, Step, record
from tests.ulim_tf.examples import item_categories
from tfx_pipeline import refresh_index, run_local, run_summary
from tfx_pipeline.components.event_example_gen.component import EventExampleGen
from tfx_pipeline.components.index_refresher import executor
from tfx_pipeline.components.servable_validator import validation
from ulim_tf import config as settings
from ulim_tf.model import UlimModel

ITEMS, CATEGORIES = 40, 5
ITEM_CATEGORY = item_categories(ITEMS, CATEGORIES)
CONFIG = settings.from_dict(settings.UlimConfig, {
    "history": {"long": 100, "short": 8, "subsequence": 6}, "model": {"width": 8, "heads": 2, "hidden": 16},
    "retrieval": {"categories": CATEGORIES, "per_category": ITEMS, "short_term": 5, "results": ITEMS + 5}})
CATALOG = pd.DataFrame({"item_id": [f"item {one}" for one in range(1, ITEMS + 1)],
                        "category_id": [f"category {one}" for one in ITEM_CATEGORY[1:]]})
CHANGED = pd.concat([CATALOG[CATALOG.item_id != "item 1"],
                     pd.DataFrame({"item_id": ["new"], "category_id": ["category 2"]})])


SETTINGS = EventExampleGen("events.csv").exec_properties["custom_config"]


def write_run(workdir, number: int, trainer_state: int, model: UlimModel | None = None) -> None:
    """The artifacts of a Transform and a Trainer, and what ML Metadata says of them; without a model, hollow ones."""
    steps = {}
    for name, output, state in (("EventExampleGen", "examples", CACHED), ("Transform", "transform_graph", CACHED),
                                ("Trainer", "model", trainer_state)):
        folder = workdir / "pipeline" / name / output / str(number)
        folder.mkdir(parents=True)
        steps[name] = Step({output: folder}, {"custom_config": SETTINGS} if name == "EventExampleGen" else {}, state)
    record(workdir, steps, f"run {number}")
    if model:
        (folder / "Format-Serving").mkdir()
        model.save(folder / "Format-Serving" / "model.keras")
        assets = workdir / "pipeline" / "Transform" / "transform_graph" / str(number) / "transform_fn" / "assets"
        assets.mkdir(parents=True)
        (assets / "item_id").write_text("".join(f"item {one}\n" for one in range(1, ITEMS + 1)))
        (assets / "category_id").write_text("".join(f"category {one}\n" for one in range(1, CATEGORIES + 1)))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Three runs: one that another followed, one that finished, one whose Trainer failed."""
    folder = tmp_path_factory.mktemp("run")
    tf.keras.utils.set_random_seed(3)
    model = UlimModel(CONFIG, ITEMS, CATEGORIES)
    model.set_catalog(ITEM_CATEGORY)
    write_run(folder, 1, COMPLETE)
    write_run(folder, 2, CACHED, model)
    write_run(folder, 3, FAILED)
    return folder


def run(workdir, catalog, *flags: str) -> int:
    return refresh_index.main(["--workdir", str(workdir), "--catalog", str(catalog), *flags])


def versions(workdir) -> list:
    return sorted((workdir / "serving" / "ulim").glob("[0-9]*"), key=lambda one: int(one.name))


@pytest.fixture
def nothing_is_pushed(workdir):
    before = versions(workdir)
    yield
    assert versions(workdir) == before


class Record(NamedTuple):
    """What ML Metadata says of the newest refresh."""

    states: dict[str, str]  # of its steps
    inputs: dict[str, str]  # name -> folder of what the IndexRefresher read
    outputs: dict[str, metadata_store_pb2.Artifact]  # of all steps


def newest_record(workdir) -> Record:
    """Of the run of `index_refresh` that began last."""
    store = metadata_store.MetadataStore(run_local.metadata_connection(workdir))
    its_own = store.get_executions_by_context(store.get_context_by_type_and_name("pipeline", "index_refresh").id)
    newest = max(store.get_contexts_by_type("pipeline_run"), key=lambda one: one.id)
    executions = [one for one in store.get_executions_by_context(newest.id) if one.id in {own.id for own in its_own}]
    step = {kind.id: kind.name.rpartition(".")[2] for kind in store.get_execution_types()}
    found = Record({}, {}, {})
    for execution in executions:
        name = step[execution.type_id]
        if name != "Importer":
            found.states[name] = metadata_store_pb2.Execution.State.Name(execution.last_known_state)
        for event in store.get_events_by_execution_ids([execution.id]):
            [artifact] = store.get_artifacts_by_id([event.artifact_id])
            if event.type == metadata_store_pb2.Event.OUTPUT and name != "Importer":
                found.outputs[event.path.steps[0].key] = artifact
            elif event.type == metadata_store_pb2.Event.INPUT and name == "IndexRefresher":
                found.inputs[event.path.steps[0].key] = artifact.uri
    return found


def test_a_new_version_with_the_new_catalogue(workdir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(validation, "serve", in_process.serve)
    header, *good = CHANGED.to_csv(index=False).splitlines()
    rows = [header, "item 6,category 5", *good, "item 40", "no category,"]  # the later row of item 6 counts
    (tmp_path / "products.csv").write_text("\n".join(rows) + "\n")
    (workdir / "serving" / "ulim" / "7").mkdir(parents=True)
    assert run(workdir, tmp_path / "products.csv") == 0
    before, version = versions(workdir)
    assert before.name == "7" and int(version.name) > 7
    told = capsys.readouterr().out
    assert "2 of 43 rows of --catalog" in told and "1 wrong number of columns, 1 missing category_id" in told
    assert "40 items can be answered: 1 are new, 0 have another category than in training\n" in told
    assert ("1 trained items are not answered any more\n1 rows were overruled by a later row of the same item\n"
            "weights unchanged, sha256 ") in told
    assert "[1/4] CatalogExampleGen\n" in told and told.splitlines()[-1] == f"pushed {version}"
    assert (workdir / "rejected" / "refresh.csv").read_text() == (
        f"file,row,reason,raw\n{tmp_path}/products.csv,42,wrong number of columns,item 40\n"
        f'{tmp_path}/products.csv,43,missing category_id,'
        '"{""item_id"": ""no category"", ""category_id"": """"}"\n')
    states, inputs, outputs = newest_record(workdir)
    assert states == dict.fromkeys(["CatalogExampleGen", "IndexRefresher", "ServableValidator", "Pusher"], "COMPLETE")
    assert inputs == {
        "model": str(workdir / "pipeline" / "Trainer" / "model" / "2"),
        "transform_graph": str(workdir / "pipeline" / "Transform" / "transform_graph" / "2"),
        "examples": str(workdir / "pipeline" / "EventExampleGen" / "examples" / "2"),
        "catalog": outputs["examples"].uri}
    assert outputs["servable"].state == metadata_store_pb2.Artifact.DELETED
    assert not Path(outputs["servable"].uri).exists()
    assert [step.name for step in run_summary.read(run_local.metadata_connection(workdir)).steps] == [
        "EventExampleGen", "Transform", "Trainer"]  # a refresh is no run
    assert outputs["pushed_model"].custom_properties["pushed_destination"].string_value == str(version)
    assert outputs["blessing"].custom_properties["blessed"].int_value == 1
    assert [check.name for check in validation.read(outputs["blessing"].uri).checks] == [
        "load", "signatures", "answers", "ids", "latency"]
    answer = tf.saved_model.load(str(version)).signatures["serving_default"](
        item_id=tf.constant([["item 1", "item 6"]]), timestamp=tf.constant([[1, 2]], tf.int64),
        length=tf.constant([2]), now=tf.constant([0], tf.int64))
    assert {one.decode() for one in answer["item_id"][0].numpy()} == {*CHANGED.item_id, ""}


def test_columns_are_mapped_and_parquet_is_read(workdir, tmp_path, capsys, monkeypatch):
    read = []
    monkeypatch.setattr(executor, "refresh_servables", lambda model, names, rows, *_: read.append(rows) or 1 / 0)
    renamed = CHANGED.rename(columns={"item_id": "sku", "category_id": "shelf"})
    renamed.to_parquet(tmp_path / "products.parquet")
    assert run(workdir, tmp_path / "products.parquet", "--columns", "item_id=sku,category_id=shelf") == 1
    assert capsys.readouterr().err.endswith("error: IndexRefresher failed: division by zero\n"
                                            f"The full log is {workdir / 'refresh.log'}.\nNothing was pushed.\n")
    assert newest_record(workdir).states == {"CatalogExampleGen": "COMPLETE", "IndexRefresher": "FAILED"}
    for found, name in zip(read[0][:2], ("item_id", "category_id")):
        assert [one.decode() for one in found] == CHANGED[name].tolist()
    assert read[0].content is None  # the model reads none


@pytest.mark.usefixtures("nothing_is_pushed")
def test_what_the_gate_refuses_is_not_pushed(workdir, tmp_path, capsys, monkeypatch):
    CHANGED.to_csv(tmp_path / "products.csv", index=False)
    (tmp_path / "config.yaml").write_text("serving: {latency_budget_ms: 2.5}")
    asked = []

    def refuse(servables, features, catalog, config, progress):
        asked.append((dict(catalog()), config.latency_budget_ms))
        return validation.Validation([validation.Check("load", 0.5, ["it does not load"], "")])

    monkeypatch.setattr(validation, "validate_all", refuse)
    with only():
        assert run(workdir, tmp_path / "products.csv", "--config", str(tmp_path / "config.yaml"), "--json") == 3
    told = capsys.readouterr()
    assert told.err.endswith("not blessed: load: it does not load\nNothing was pushed.\n")
    result = json.loads(told.out)
    counts = result.pop("counts")
    assert 0 <= result.pop("minutes") < 10
    assert result == {"servable": None, "blessed": False, "refusals": ["load: it does not load"]}
    assert (counts["candidates"], counts["new"], counts["removed"], counts["skipped"]) == (40, 1, 1, {})
    assert asked == [({item.encode(): category.encode() for item, category in zip(*CHANGED.to_numpy().T)}, 2.5)]
    states, _, outputs = newest_record(workdir)
    assert set(states.values()) == {"COMPLETE"} and not Path(outputs["servable"].uri).exists()
    assert outputs["blessing"].custom_properties["blessed"].int_value == 0
    assert outputs["pushed_model"].custom_properties["pushed"].int_value == 0
    assert not (workdir / "rejected" / "refresh.csv").exists()  # this catalogue had no malformed row


@pytest.mark.usefixtures("nothing_is_pushed")
@pytest.mark.parametrize(("lines", "flags", "message"), [
    (None, [], "catalog must name at least one file, but no file matches"),
    (["sku,category_id", "1,category 1"], [], "must have a column for 'item_id', but has no 'item_id'"),
    (["item_id,category_id"], [], "catalog must have at least one row, got none"),
    (["item_id,category_id", "item 1,category 1", "item 2,"], [], "1 of 2 rows of --catalog"),
    (["item_id,category_id", "item 1,category 77"], [], "got 1 of 1: 'item 1': unknown category 'category 77'"),
    (["item_id,category_id"], ["--columns", "item_id"], "--columns takes STANDARD=NAME pairs"),
])
def test_wrong_catalogues_are_told(workdir, tmp_path, capsys, lines, flags, message):
    if lines:
        (tmp_path / "products.csv").write_text("\n".join(lines) + "\n")
    assert run(workdir, tmp_path / "products.csv", *flags) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and message in told and told.endswith("Nothing was pushed.\n")


@pytest.mark.usefixtures("nothing_is_pushed")
def test_a_file_that_is_no_parquet_is_told(workdir, tmp_path, capsys):
    (tmp_path / "products.parquet").write_text("item_id,category_id\n")
    assert run(workdir, tmp_path / "products.parquet") == 2
    assert "cannot be read as .parquet" in capsys.readouterr().err


@pytest.mark.usefixtures("nothing_is_pushed")
def test_an_interruption_leaves_nothing(workdir, tmp_path, monkeypatch):
    CHANGED.to_csv(tmp_path / "products.csv", index=False)

    begun = []

    def half(model, directories, *_):
        begun.append(Path(directories["ulim"]))
        begun[0].mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(serving.refresh, "build", half)
    with pytest.raises(KeyboardInterrupt):
        run(workdir, tmp_path / "products.csv")
    assert not begun[0].exists() and "Pusher" not in newest_record(workdir).states


def test_a_work_directory_without_a_model_is_told(tmp_path, capsys):
    assert run(tmp_path, "products.csv") == 2
    assert f"{tmp_path} has no metadata.sqlite. Give the --workdir of a finished" in capsys.readouterr().err
    write_run(tmp_path, 1, FAILED)
    assert run(tmp_path, "products.csv") == 2
    assert f"no Trainer of {tmp_path} ever finished" in capsys.readouterr().err


def test_a_work_directory_that_was_moved_is_told(tmp_path, capsys):
    (tmp_path / "old").mkdir()
    write_run(tmp_path / "old", 1, COMPLETE)
    (tmp_path / "old").rename(tmp_path / "new")
    assert run(tmp_path / "new", "products.csv") == 2
    told = capsys.readouterr().err
    assert f"{tmp_path / 'old' / 'pipeline'}" in told and f"Was {tmp_path / 'new'} moved" in told
