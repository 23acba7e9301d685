import csv
import json
import sys

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor
from tfx.orchestration.kubeflow.v2.file_based_example_gen import driver

from tfx_pipeline import run_kubeflow
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.pipeline import create_pipeline

IMAGE = "registry.example/shop/ulim:7"
FLAGS = {
    "--image": IMAGE,
    "--events": "gs://shop/log/*.parquet",
    "--catalog": "gs://shop/products.csv",
    "--users": "gs://shop/users.csv",
    "--columns": "user_id=household_id",
    "--pipeline_root": "gs://shop/pipeline",
    "--serving_dir": "gs://shop/serving/ulim",
}
ON_DATAFLOW = ["--runner=DataflowRunner", "--project=shop", "--region=europe-west4", "--temp_location=gs://shop/tmp"]
TRAINER_CONFIG = "training: {steps: 123}\ningest: {holdout_days: 9}\nfeatures: {user_profile: [country]}\n"


def write(output, *more, **flags):
    given = {**FLAGS, "--output": str(output), **{f"--{name}": value for name, value in flags.items()}}
    return run_kubeflow.main([*(part for flag in given.items() for part in flag), *more])


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "config.yaml").write_text(TRAINER_CONFIG)
    assert write(folder / "new/job.json", f"--beam_pipeline_args={' '.join(ON_DATAFLOW)}",
                 config=str(folder / "config.yaml")) == 0
    return json_format.ParseDict(json.loads((folder / "new/job.json").read_text()), pipeline_spec_pb2.PipelineJob())


@pytest.fixture(scope="module")
def spec(job):
    return json_format.ParseDict(json_format.MessageToDict(job.pipeline_spec), pipeline_spec_pb2.PipelineSpec())


@pytest.fixture(scope="module")
def containers(spec):
    """{component: its container}; what only looks up earlier artifacts has none of this package's."""
    deployment = json_format.ParseDict(json_format.MessageToDict(spec.deployment_spec),
                                       pipeline_spec_pb2.PipelineDeploymentConfig())
    return {name.removesuffix("_executor"): executor.container for name, executor in deployment.executors.items()
            if not name.startswith("Resolver.")}


def parameters(spec, task):
    given = spec.root.dag.tasks[task].inputs.parameters
    return {name: json_format.MessageToDict(value.runtime_value.constant) for name, value in given.items()}


def test_every_component_is_a_task_with_the_image_and_a_command(spec, containers):
    nodes = create_pipeline(events="/log.csv", catalog=None, users=None, columns={}, root="gs://a", serving="gs://b",
                            rejected="gs://c", config=PipelineConfig(), schema=None).components
    assert {"EventExampleGen", "StatisticsGen", "DataGate", "Transform", "Trainer", "IndexBuilder", "Evaluator",
            "ServableValidator", "Pusher"} <= containers.keys()
    assert containers.keys() == {node.id for node in nodes if not isinstance(node, Resolver)}
    looked_up = {"Resolver.earlier_gate", *(f"Resolver.{name}-{found}-resolver" for found in ("model", "model-blessing")
                                            for name in ("base_model", "last_blessed"))}
    assert spec.components.keys() == spec.root.dag.tasks.keys() == containers.keys() | looked_up
    for name, container in containers.items():
        assert container.image == IMAGE, name
        assert list(container.command) == ["python", "-m", kubeflow_v2_run_executor.__name__], name


def test_the_executors_are_this_package_s(containers):
    ours = {name: container.args[1] for name, container in containers.items()
            if container.args[1].startswith("tfx_pipeline.")}
    assert ours.items() >= {
        "EventExampleGen": "tfx_pipeline.components.event_example_gen.executor.EventExampleGenExecutor",
        "IndexBuilder": "tfx_pipeline.components.index_builder.executor.Executor",
        "Pusher": "tfx_pipeline.components.pusher.executor.Executor"}.items()
    assert all(container.args[0] == "--executor_class_path" for container in containers.values())


@pytest.mark.parametrize("step", ["EventExampleGen", "StatisticsGen", "Transform"])
def test_the_flags_of_beam_reach_its_steps(containers, step):
    assert list(containers[step].args[-4:]) == ON_DATAFLOW


def test_the_arguments_are_in_the_specification(job, spec):
    assert job.runtime_config.gcs_output_directory == "gs://shop/pipeline"
    ingest = parameters(spec, "EventExampleGen")
    assert ingest["input_base"] == "gs://shop"
    assert [split["pattern"] for split in json.loads(ingest["input_config"])["splits"]] == [
        "log/*.parquet", "products.csv", "users.csv"]
    packed = json.loads(json.loads(ingest["custom_config"])["custom_config"]["value"])
    assert packed["columns"] == {"user_id": "household_id"} and packed["config"]["holdout_days"] == 9
    assert packed["rejected_dir"] == "gs://shop/pipeline/rejected"
    pushed = json.loads(parameters(spec, "Pusher")["push_destination"])
    assert pushed == {"filesystem": {"base_directory": "gs://shop/serving/ulim"}}
    trainer = parameters(spec, "Trainer")
    assert json.loads(trainer["train_args"])["num_steps"] == 123
    assert json.loads(trainer["custom_config"])["features"]["user_profile"] == ["country"]


def test_a_yaml_file_holds_the_specification_alone(tmp_path, spec):
    assert write(tmp_path / "ulim.yaml") == 0
    compiled = yaml.safe_load((tmp_path / "ulim.yaml").read_text())
    assert compiled["components"].keys() == spec.components.keys()
    assert compiled["schemaVersion"] == spec.schema_version == "2.1.0"


def test_the_compiled_command_of_the_ingest_runs(tmp_path):
    """The driver and the executor get what a cluster gives them, in this process instead of the image."""
    day = 86400
    with (tmp_path / "log.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["household_id", "item_id", "category_id", "timestamp"],
                                    *((f"u{n % 5}", f"i{n % 9}", f"c{n % 3}", n * day) for n in range(1, 61))])
    assert run_kubeflow.main(["--output", str(tmp_path / "job.json"), "--image", IMAGE, "--pipeline_root", "gs://shop/p",
                              "--events", str(tmp_path / "log.csv"), "--columns", "user_id=household_id",
                              "--serving_dir", "/serving"]) == 0
    spec = json.loads((tmp_path / "job.json").read_text())["pipelineSpec"]
    task = spec["root"]["dag"]["tasks"]["EventExampleGen"]["inputs"]["parameters"]
    kind = spec["components"]["EventExampleGen"]["outputDefinitions"]["artifacts"]["examples"]["artifactType"]
    output_file = tmp_path / "task/executor_output.json"
    invocation = json.dumps({
        "inputs": {"parameterValues": {name: value["runtimeValue"]["constant"] for name, value in task.items()}},
        "outputs": {"artifacts": {"examples": {"artifacts": [
            {"uri": str(tmp_path / "examples"), "name": "projects/1/examples", "type": kind}]}},
            "outputFile": str(output_file)}})
    container = spec["deploymentSpec"]["executors"]["EventExampleGen_executor"]["container"]
    commands = {driver: container["lifecycle"]["preCacheCheck"]["args"], kubeflow_v2_run_executor: container["args"]}
    for module, args in commands.items():
        module.main(module._parse_flags(["program", *(invocation if arg == "{{$}}" else arg for arg in args)]))
    assert json.loads((tmp_path / "examples/ingest_summary.json").read_text())["events"] == 60
    told = json.loads(output_file.read_text())["artifacts"]["examples"]["artifacts"][0]["metadata"]
    assert json.loads(told["split_names"]) == ["train", "eval", "catalog"]


@pytest.mark.parametrize(("flags", "message"), [
    ({"output": "job.pb"}, "--output must end in .json or .yaml, got job.pb"),
    ({"events": "log.csv"}, "must be a URI or an absolute path that the containers have mounted, got 'log.csv'"),
    ({"serving_dir": "serving"}, "--serving_dir must be a URI or an absolute path"),
    ({"pipeline_root": "/data/pipeline"}, "--pipeline_root must be a gs:// URI, the only store that TensorFlow in the "
     "containers can write to, got '/data/pipeline'. Write for example gs://BUCKET/pipeline."),
    ({"pipeline_root": "s3://shop/pipeline"}, "must be a gs:// URI"),
    ({"columns": "user_id"}, "--columns takes STANDARD=NAME pairs"),
    ({"catalog": "s3://shop/products.csv"}, "must be in one file system"),
    ({"config": "nowhere.yaml"}, "nowhere.yaml"),
])
def test_wrong_arguments_are_refused_and_nothing_is_written(tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    assert write(**{"output": "job.json"} | flags) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and message in told
    assert list(tmp_path.iterdir()) == []


def test_without_kfp_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner", None)
    assert write(tmp_path / "job.json") == 2
    assert "needs the package kfp, which is not installed. Install the extra" in capsys.readouterr().err


def test_flags_of_beam_that_make_no_sense_are_refused(tmp_path, capsys):
    assert write(tmp_path / "job.json", "--beam_pipeline_args=--runner=DataflowRunner") == 2
    assert "must hold --project, --region, --temp_location" in capsys.readouterr().err
