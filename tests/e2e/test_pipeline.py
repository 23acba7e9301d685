"""From an event log to answered requests, on real households, through the commands that people type."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from tfx_pipeline import run_summary
from tfx_pipeline.evaluation import results
from tfx_pipeline.run_local import metadata_connection

pytestmark = pytest.mark.e2e

STEPS = ["EventExampleGen", "ImportSchemaGen", "StatisticsGen", "ExampleValidator", "DataGate", "Transform", "Trainer",
         "IndexBuilder", "ServableValidator", "Evaluator", "Pusher"]

# What a stranger has: TensorFlow Serving's stubs and TensorFlow, nothing of this project.
STOCK_CLIENT = textwrap.dedent("""
    import json, sys
    import grpc, tensorflow as tf
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    target, requests = sys.argv[1], json.loads(sys.argv[2])
    channel = grpc.insecure_channel(target, (("grpc.max_reconnect_backoff_ms", 100),))
    grpc.channel_ready_future(channel).result(timeout=120)
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "ulim"
    [version] = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status).model_version_status
    stub, answers = prediction_service_pb2_grpc.PredictionServiceStub(channel), []
    for items, times in requests:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "ulim"
        for name, value, dtype in (("item_id", [items], tf.string), ("timestamp", [times], tf.int64),
                                   ("length", [len(items)], tf.int32), ("now", [0], tf.int64),
                                   ("profile_age", ["45-54"], tf.string), ("profile_kids_count", [""], tf.string)):
            shape = [1, len(items)] if name in ("item_id", "timestamp") else [1]
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype, shape))
        outputs = {n: tf.make_ndarray(t)[0] for n, t in stub.Predict(request, timeout=30).outputs.items()}
        answers.append({"item_id": [i.decode() for i in outputs["item_id"]],
                        "category_id": [c.decode() for c in outputs["category_id"]],
                        "score": outputs["score"].tolist(), "channel": outputs["channel"].tolist(),
                        "count": int(outputs["count"])})
    assert not [name for name in sys.modules if name.split(".")[0] in ("ulim_tf", "serving", "tfx_pipeline")]
    print(json.dumps({"state": version.state, "version": version.version, "answers": answers}))
""")


@pytest.fixture(scope="module")
def server(pipeline_run):
    """The embedded server on what the pipeline pushed; its gRPC address."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(2):
            one = stack.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            ports.append(one.getsockname()[1])
    process = subprocess.Popen([
        sys.executable, "-m", "serving.server", "--model_name=ulim", f"--model_base_path={pipeline_run.base_path}",
        f"--port={ports[0]}", f"--rest_api_port={ports[1]}"])
    yield f"127.0.0.1:{ports[0]}"
    process.terminate()
    assert process.wait(timeout=60) == 0


def test_the_run_tells_each_step_and_pushes_one_version(pipeline_run):
    for number, step in enumerate(STEPS, 1):
        assert f"[{number}/{len(STEPS)}] {step}\n" in pipeline_run.output
        assert re.search(rf"^{step} +\d+\.\d( |$)", pipeline_run.output, re.MULTILINE), step
    assert f"{len(pipeline_run.events):,} of {len(pipeline_run.events):,} rows kept, 60 users" in pipeline_run.output
    [version] = pipeline_run.versions()
    assert version.name.isdecimal() and (version / "saved_model.pb").is_file()
    assert (pipeline_run.workdir / "metadata.sqlite").is_file()
    assert f"Version {version.name} was pushed" in pipeline_run.report
    evaluator = next(step for step in run_summary.read(metadata_connection(pipeline_run.workdir)).steps
                     if step.name == "Evaluator")
    recall = results.read_metrics(evaluator.outputs["evaluation"])["all"]["recall@100"]
    assert f"| recall@100 | {recall:.4f} |" in (version / "assets.extra" / "model_card.md").read_text()
    assert "could not be made" not in pipeline_run.report
    assert "Traceback" not in pipeline_run.output


def test_a_stock_client_in_another_process_gets_recommendations(pipeline_run, server, tmp_path):
    household = pipeline_run.events[pipeline_run.events.user_id == pipeline_run.events.user_id.iloc[0]]
    requests = [[household.item_id.tolist(), household.timestamp.tolist()], [[], []], [["never sold"], [1]]]
    done = subprocess.run([sys.executable, "-I", "-c", STOCK_CLIENT, server, json.dumps(requests)], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    available = 30
    assert told["state"] == available and told["version"] == int(pipeline_run.versions()[0].name)
    category = dict(zip(pipeline_run.catalog.item_id, pipeline_run.catalog.category_id))
    for answer in told["answers"]:
        assert answer["count"] == 100 and len(set(answer["item_id"])) == 100
        assert answer["score"] == sorted(answer["score"], reverse=True)
        assert answer["category_id"] == [category[item] for item in answer["item_id"]]
    asked, empty, unknown = told["answers"]
    assert empty == unknown and asked["item_id"] != empty["item_id"]
    assert {0, 1} <= set(asked["channel"])


def test_the_client_command_prints_recommendations(pipeline_run, server, tmp_path):
    user = pipeline_run.events.user_id.iloc[0]
    pipeline_run.events.to_csv(tmp_path / "events.csv", index=False)
    done = subprocess.run([sys.executable, "-m", "serving.client", "--server", server, "--history",
                           str(tmp_path / "events.csv"), "--user", user, "--top", "5",
                           "--profile", "age=45-54,kids_count="], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["rank", "item", "category", "channel", "score"] and len(rows) == 5


def test_all_users_are_recommended_to_in_parquet(pipeline_run, tmp_path):
    done = subprocess.run([sys.executable, "-m", "tfx_pipeline.batch_inference", "--workdir", str(pipeline_run.workdir),
                           "--output", str(tmp_path / "all")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    assert done.returncode == 0, done.stdout
    rows = pd.read_parquet(tmp_path / "all")
    category = dict(zip(pipeline_run.catalog.item_id, pipeline_run.catalog.category_id))
    assert 0 < len(rows) <= 60 and rows.user_id.is_unique and set(rows.user_id) <= set(pipeline_run.events.user_id)
    for row in rows.itertuples():
        assert len(set(row.item_id)) == 100 and [category[item] for item in row.item_id] == row.category_id.tolist()


def training_of(store: metadata_store.MetadataStore, version: Path) -> list[str]:
    """The steps from a pushed version back to the training of its model, as ML Metadata knows them."""
    [made] = [one for one in store.get_artifacts_by_type("PushedModel")
              if one.custom_properties["pushed_destination"].string_value == str(version)]
    names, steps = {kind.id: kind.name.rpartition(".")[2] for kind in store.get_execution_types()}, []
    while made:
        by = [event.execution_id for event in store.get_events_by_artifact_ids([made.id])
              if event.type == metadata_store_pb2.Event.OUTPUT]
        step = next(one for one in store.get_executions_by_id(by) if names[one.type_id] != "Importer")
        steps.append(names[step.type_id])
        made = next((store.get_artifacts_by_id([event.artifact_id])[0]
                     for event in store.get_events_by_execution_ids([step.id])
                     if event.type == metadata_store_pb2.Event.INPUT and event.path.steps[0].key == "model"), None)
    return steps


def test_a_new_catalogue_is_served_without_training(pipeline_run, tmp_path):
    """Near the end, since it pushes a version."""
    sold = pipeline_run.events.item_id.value_counts().index
    changed = pipeline_run.catalog[pipeline_run.catalog.item_id != sold[0]]
    changed = pd.concat([changed, changed[changed.item_id == sold[1]].assign(item_id="new", title="new")])
    changed.to_parquet(tmp_path / "products.parquet")
    before = pipeline_run.versions()
    done = subprocess.run([sys.executable, "-m", "tfx_pipeline.refresh_index", "--workdir", str(pipeline_run.workdir),
                           "--catalog", str(tmp_path / "products.parquet")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert f"{len(changed):,} items can be answered: 1 are new, 0 have another category" in done.stdout
    [version] = set(pipeline_run.versions()) - set(before)
    assert done.stdout.splitlines()[-1].endswith(f"pushed {version}")
    assert {file.name for file in (version / "assets.extra").iterdir()} == {
        "tf_serving_warmup_requests", "model_card.md"}
    assert training_of(metadata_store.MetadataStore(metadata_connection(pipeline_run.workdir)), version) == [
        "Pusher", "IndexRefresher", "Trainer"]


def test_a_second_run_is_taken_from_the_cache_and_pushes_nothing(pipeline_run):
    """After a refresh too, which is no run."""
    before = pipeline_run.versions()
    done = subprocess.run([sys.executable, "-m", "tfx_pipeline.command", "train", *pipeline_run.command[3:], "--json"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for step in STEPS:
        assert re.search(rf"^{step} +cached( |$)", done.stderr, re.MULTILINE), step
    assert pipeline_run.versions() == before
    result = json.loads(done.stdout)
    counts = result.pop("counts")
    assert (counts["events"], counts["train_users"]) == (len(pipeline_run.events), 60)
    assert 0 < result.pop("minutes") < 10
    assert result == {"servable": str(before[0]), "blessed": True, "refusals": []}
