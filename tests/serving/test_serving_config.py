"""The files of `serving/config`: each is what the server takes it for, and they agree with one another."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import kubernetes.client
import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import contract
from serving.client import Client, History, LabelSplit
from serving.server import text_configs
from serving.server.flags import parser
from serving.server.process import wait_until_served
from tests.serving.certificates import Authority
from tests.serving.toy_servable import ToyServable

CONFIG = Path(__file__).resolve().parents[2] / "serving" / "config"
ROOT = CONFIG.parents[1]
README = (CONFIG / "README.md").read_text()
# Of tensorflow_model_server 2.16; see tensorflow_serving/model_servers/main.cc.
UPSTREAM_FLAGS = {
    "port", "rest_api_port", "model_name", "model_base_path", "model_config_file",
    "model_config_file_poll_wait_seconds", "allow_version_labels_for_unavailable_models",
    "file_system_poll_wait_seconds", "max_num_load_retries", "enable_model_warmup", "enable_batching",
    "batching_parameters_file", "enable_per_model_batching_parameters", "monitoring_config_file", "ssl_config_file",
    "per_process_gpu_memory_fraction", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism",
    "grpc_channel_arguments", "load_retry_interval_micros", "rest_api_num_threads",
    "enable_grpc_healthcheck_service", "rest_api_timeout_in_ms"}
MODELS = {"models.config": "ulim", "models_gpu.config": "ulim_gpu"}
DOCKERFILES = {"Dockerfile.embedded": "models.config", "Dockerfile.scann": "models.config",
               "Dockerfile.gpu": "models_gpu.config"}
DEPLOYMENTS = {"ulim.yaml": "models.config", "ulim-gpu.yaml": "models_gpu.config"}


def model_config(name: str):
    [config] = text_format.Parse((CONFIG / name).read_text(),
                                 model_server_config_pb2.ModelServerConfig()).model_config_list.config
    return config


def flags_of(arguments: list[str]) -> dict[str, str]:
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


def documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((CONFIG / "kubernetes" / name).read_text()))


def command(dockerfile: str) -> dict[str, str]:
    """The flags of CMD."""
    content = (CONFIG / dockerfile).read_text().replace("\\\n", "")
    return flags_of(json.loads(re.search(r"^CMD (.*)$", content, re.MULTILINE)[1]))


def container(deployment: dict) -> dict:
    [only] = deployment["spec"]["template"]["spec"]["containers"]
    return only


# Text protos --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "model"), MODELS.items())
def test_a_model_has_its_versions_and_a_label_for_each(file, model):
    config = model_config(file)
    assert config.name == model and model in contract.SERVABLES
    assert (config.base_path, config.model_platform) == (f"/models/{model}", "tensorflow")
    versions = config.model_version_policy.specific.versions
    assert config.version_labels.keys() == {"stable", "canary"}
    assert sorted(config.version_labels.values()) == sorted(versions) and len(set(versions)) == 2
    assert not config.HasField("logging_config")  # would stop a stock TensorFlow Serving


def test_both_models_have_the_same_versions_and_labels():
    one, other = map(model_config, MODELS)
    assert one.model_version_policy == other.model_version_policy and one.version_labels == other.version_labels


# Flags --------------------------------------------------------------------------------------------------------------


def used_flags() -> list[dict[str, str]]:
    deployments = [flags_of(container(documents(name)[0])["args"]) for name in DEPLOYMENTS]
    [kserve] = documents("kserve.yaml")
    return [*map(command, DOCKERFILES), *deployments,
            flags_of(kserve["spec"]["predictor"]["containers"][0]["args"])]


def test_every_flag_is_tensorflow_servings_and_documented():
    documented = {flag for cell in re.findall(r"^\| (`--.*?) \|", README, re.MULTILINE)
                  for flag in re.findall(r"`--(\w+)`", cell)}
    assert documented == UPSTREAM_FLAGS | {"bind_address"}
    for flags in used_flags():
        assert set(flags) <= documented
    assert [flags for flags in used_flags() if "bind_address" in flags] == [command("Dockerfile.embedded")]


def test_the_readme_tells_the_values_that_are_set():
    for flag, value in ((name, value) for flags in used_flags() for name, value in flags.items()):
        [row] = [row.split("|") for row in README.splitlines() if re.match(rf"\| .*`--{flag}`", row)]
        assert row[3].strip() in (value, "yes", "KServe"), flag


def test_the_embedded_server_takes_the_flags_that_are_marked_and_no_others():
    rows = [row.split("|") for row in README.splitlines() if row.startswith("| `--")]
    marked = {flag for row in rows if "✓" in row[2] for flag in re.findall(r"`--(\w+)`", row[1])}
    assert marked == set(re.findall(r"^ +--(\w+)", parser().format_help(), re.MULTILINE))


@pytest.mark.parametrize(("dockerfile", "models"), DOCKERFILES.items())
def test_an_image_has_the_files_that_its_flags_name_and_its_ports(dockerfile, models):
    content, flags = (CONFIG / dockerfile).read_text(), command(dockerfile)
    root = ROOT if "serving/config/Dockerfile.embedded --tag ulim-embedded ." in content else CONFIG
    copied = [source for line in re.findall(r"^COPY (?!--from)(.*)$", content, re.MULTILINE)
              for source in line.split()[:-1]]
    assert all((root / source).exists() for source in copied)
    configs = {f"/config/{Path(source).name}" for source in copied if source.endswith(".config")}
    assert {value for name, value in flags.items() if name.endswith("_file")} == configs
    assert flags["model_config_file"] == f"/config/{models}"
    assert re.search(r"^EXPOSE (.*)$", content, re.MULTILINE)[1].split() == [flags["port"], flags["rest_api_port"]]
    assert re.search(r"^USER (\d+)$", content, re.MULTILINE)[1] != "0"


def test_what_the_embedded_image_starts_serves_stable_and_canary_with_probes_and_metrics(tmp_path):
    for number, version in enumerate((1767225600, 1767312000), 1):
        ToyServable(number).save(str(tmp_path / "models" / "ulim" / str(version)))
    for file in CONFIG.glob("*.config"):
        (tmp_path / file.name).write_text(file.read_text().replace("/models/", f"{tmp_path}/models/"))
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        grpc_port, rest_port = one.getsockname()[1], other.getsockname()[1]
    flags = command("Dockerfile.embedded") | {"bind_address": "127.0.0.1", "port": grpc_port,
                                              "rest_api_port": rest_port}
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.server",
         *(f"--{name}={str(value).replace('/config/', f'{tmp_path}/')}" for name, value in flags.items())], cwd=ROOT)
    rest = f"http://127.0.0.1:{rest_port}"
    try:
        wait_until_served(f"127.0.0.1:{grpc_port}", 120, process)
        split = LabelSplit({"stable": 1, "canary": 1}, salt="june")
        users = [f"user {number}" for number in range(8)]
        with Client(f"127.0.0.1:{grpc_port}", label=split) as client:
            answers = client.recommend_batch([History(["milk"], [5], user_id=user) for user in users])
        assert [answer[1].item_id for answer in answers] == [
            {"stable": "v1-b", "canary": "v2-b"}[split.label(user)] for user in users]
        assert len({answer[1].item_id for answer in answers}) == 2
        probe = container(documents("ulim.yaml")[0])["readinessProbe"]["httpGet"]["path"]
        with urllib.request.urlopen(rest + probe) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"{rest}/monitoring/prometheus/metrics") as answer:
            assert b":tensorflow:serving:request_count" in answer.read()
    finally:
        process.terminate()
        process.wait(60)


# Kubernetes ---------------------------------------------------------------------------------------------------------

KINDS = {"Deployment": "V1Deployment", "Service": "V1Service", "PersistentVolumeClaim": "V1PersistentVolumeClaim"}


class Response:
    def __init__(self, document: dict):
        self.data = json.dumps(document)


@pytest.mark.parametrize("name", ["models.yaml", *DEPLOYMENTS])
def test_kubernetes_knows_every_field(name):
    client = kubernetes.client.ApiClient()
    for document in documents(name):
        read = client.deserialize(Response(document), KINDS[document["kind"]])
        assert client.sanitize_for_serialization(read) == document


def test_kubernetes_is_given_the_files_that_the_flags_name():
    kustomization = yaml.safe_load((CONFIG / "kustomization.yaml").read_text())
    assert set(kustomization["resources"]) == {f"kubernetes/{name}" for name in ("models.yaml", *DEPLOYMENTS)}
    [generated] = kustomization["configMapGenerator"]
    assert all((CONFIG / file).is_file() for file in generated["files"])
    named = set()
    for name in DEPLOYMENTS:
        [deployment, _] = documents(name)
        flags = flags_of(container(deployment)["args"])
        named |= {value for flag, value in flags.items() if flag.endswith("_file")}
        volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
        assert volumes["config"]["configMap"]["name"] == generated["name"]
    assert named == {f"/config/{file}" for file in generated["files"]}
    assert kustomization["generatorOptions"] == {"disableNameSuffixHash": True}


@pytest.mark.parametrize(("name", "models"), DEPLOYMENTS.items())
def test_a_deployment_agrees_with_itself_its_service_its_claim_and_its_model(name, models):
    [claim] = documents("models.yaml")
    [deployment, service] = documents(name)
    pod, server = deployment["spec"]["template"]["spec"], container(deployment)
    flags, config = flags_of(server["args"]), model_config(models)
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    assert ports == {"grpc": int(flags["port"]), "rest": int(flags["rest_api_port"])}
    assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == ports
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["clusterIP"] == "None"
    mounts = {mount["name"]: mount for mount in server["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert mounts.keys() == volumes.keys()
    assert Path(config.base_path).is_relative_to(mounts["models"]["mountPath"]) and mounts["models"]["readOnly"]
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert flags["model_config_file"] == f"{mounts['config']['mountPath']}/{models}"
    for probe in ("startupProbe", "readinessProbe"):
        assert server[probe]["httpGet"] == {"path": f"/v1/models/{config.name}/metadata", "port": "rest"}
    assert server["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
    pause = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= pause + 40  # the embedded server's grace, and some
    requests, limits = server["resources"]["requests"], server["resources"]["limits"]
    assert requests.keys() == limits.keys() >= {"cpu", "memory"}
    assert all(amount(requests[resource]) <= amount(limits[resource]) for resource in requests)
    assert ("nvidia.com/gpu" in limits) == ("per_process_gpu_memory_fraction" in flags) == (models != "models.config")
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert int(annotations["prometheus.io/port"]) == ports["rest"]
    assert annotations["prometheus.io/path"] in (CONFIG / "monitoring.config").read_text()
    assert server["image"] in (CONFIG / f"Dockerfile.{'gpu' if 'gpu' in name else 'scann'}").read_text()


def amount(quantity: object) -> float:
    number, unit = re.fullmatch(r"(\d+)(Gi|m|)", str(quantity)).groups()
    return int(number) * {"Gi": 2**30, "m": 1e-3, "": 1}[unit]


def test_kserve_agrees_with_itself_and_with_the_image():
    [service] = documents("kserve.yaml")
    [server] = service["spec"]["predictor"]["containers"]
    flags = flags_of(server["args"])
    [port] = server["ports"]
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert (server["name"], port["name"], port["containerPort"]) == ("kserve-container", "h2c", int(flags["port"]))
    assert server["readinessProbe"]["httpGet"] == {
        "path": f"/v1/models/{flags['model_name']}/metadata", "port": int(flags["rest_api_port"])}
    assert server["livenessProbe"]["tcpSocket"]["port"] == int(flags["port"])
    assert flags["model_name"] in contract.SERVABLES and flags["model_base_path"] == "/mnt/models"
    [storage] = server["env"]
    assert storage == {"name": "STORAGE_URI", "value": f"pvc://ulim-models/{flags['model_name']}"}
    image = command("Dockerfile.gpu")
    assert {name: value for name, value in flags.items() if name.endswith("_file")}.items() <= image.items()
    requests, limits = server["resources"]["requests"], server["resources"]["limits"]
    assert requests.keys() == limits.keys()
    assert all(amount(requests[resource]) <= amount(limits[resource]) for resource in requests)


# Compose ------------------------------------------------------------------------------------------------------------


def test_compose_serves_each_image_with_its_ports_and_folders():
    services = yaml.safe_load((CONFIG / "compose.yaml").read_text())["services"]
    assert services.keys() == {"scann", "embedded", "gpu"}
    for name, service in services.items():
        file = CONFIG / service["build"]["context"] / service["build"]["dockerfile"]
        flags = command(file.name)
        assert file.is_file() and service["profiles"] == [name] and f"--tag {service['image']} " in file.read_text()
        assert [port.split(":")[0] for port in service["ports"]] == ["127.0.0.1"] * 2
        assert [port.split(":")[2] for port in service["ports"]] == [flags["port"], flags["rest_api_port"]]
        mounts = {mount["target"]: mount for mount in service["volumes"]}
        models = model_config(Path(flags["model_config_file"]).name)
        assert mounts.keys() == {"/models", "/config"} and all(mount["read_only"] for mount in mounts.values())
        assert Path(models.base_path).parent == Path("/models")
        assert service["mem_limit"] and service["cpus"]
        if "healthcheck" in service:
            assert f":{flags['rest_api_port']}/v1/models/{models.name}/metadata" in service["healthcheck"]["test"][-1]
    assert "healthcheck" in services["embedded"]


# TLS ----------------------------------------------------------------------------------------------------------------


def test_the_readme_makes_an_ssl_config_of_pem_files(tmp_path):
    authority = Authority()
    (key, cert), ca = authority.issue("server"), authority.certificate
    for name, content in (("server.key", key), ("server.crt", cert), ("clients-ca.crt", ca)):
        (tmp_path / name).write_bytes(content)
    block = re.search(r"```sh\n(python -c .*?> ssl\.config)$", README, re.DOTALL | re.MULTILINE)[1]
    subprocess.run(["bash", "-ec", block], cwd=tmp_path, check=True)
    made = ssl_config(tmp_path / "ssl.config")
    assert (made.server_key, made.server_cert, made.custom_ca, made.client_verify) == (
        key.decode(), cert.decode(), ca.decode(), True)
    subprocess.run(["bash", "-ec", block.replace(" clients-ca.crt", "")], cwd=tmp_path, check=True)
    made = ssl_config(tmp_path / "ssl.config")
    assert (made.server_key, made.custom_ca, made.client_verify) == (key.decode(), "", False)


def ssl_config(file: Path):
    return text_configs.read("--ssl_config_file", str(file), "SSLConfig")


def test_the_template_of_tls_is_an_ssl_config():
    template = ssl_config(CONFIG / "ssl.config")
    assert template.client_verify and template.server_key.startswith("-----BEGIN PRIVATE KEY-----\n")


# The other text protos ----------------------------------------------------------------------------------------------


def test_batching_pads_and_has_limits():
    read = text_configs.read("--batching_parameters_file", str(CONFIG / "batching.config"), "BatchingParameters")
    assert read.pad_variable_length_inputs
    assert (read.max_batch_size.value, read.batch_timeout_micros.value, read.max_enqueued_batches.value,
            read.num_batch_threads.value) == (64, 2000, 64, 4)
    assert not read.allowed_batch_sizes


def test_monitoring_is_on_where_the_manifests_look():
    read = text_configs.read("--monitoring_config_file", str(CONFIG / "monitoring.config"), "MonitoringConfig")
    assert read.prometheus_config.enable and read.prometheus_config.path == "/monitoring/prometheus/metrics"
