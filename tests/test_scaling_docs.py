"""docs/scaling.md and the image: every command parses, every flag exists, every figure follows from its formula."""

import json
import re
import shlex
from pathlib import Path
from unittest import mock

import kfp
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from tfx_pipeline import beam_arguments, run_kubeflow, run_local
from tfx_pipeline.config import PipelineConfig
from ulim_tf import config as settings

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "scaling.md").read_text()
IMAGE = "registry.example/ulim:1"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands():
    """The words of each command line of the shell blocks, with continuation lines joined."""
    lines = "".join(blocks("sh")).replace("\\\n", "").replace("$IMAGE", IMAGE).splitlines()
    return [shlex.split(line) for line in lines]


OURS = [words for words in commands() if words[:2] == ["python", "-m"]]


def beam_flags(words):
    return beam_arguments.parse(next((word.partition("=")[2] for word in words if word.startswith(beam_arguments.FLAG)),
                                     ""))


@pytest.mark.parametrize("words", OURS, ids=lambda words: " ".join(words[2:5]))
def test_our_commands_take_their_flags(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "large.yaml").write_text(blocks("yaml")[0])
    module, work = {"tfx_pipeline.run_local": (run_local, "run"),
                    "tfx_pipeline.run_kubeflow": (run_kubeflow, "compile_pipeline")}[words[2]]
    given = mock.create_autospec(getattr(module, work))
    monkeypatch.setattr(module, work, given)
    assert module.main(words[3:]) == 0
    assert given.call_args.kwargs["beam_pipeline_args"] == beam_flags(words) != []


def test_every_engine_has_a_command():
    runners = {flag.partition("=")[2] for words in OURS for flag in beam_flags(words) if flag.startswith("--runner=")}
    assert runners == {"DataflowRunner", "PortableRunner"} and len(OURS) == 5


def test_beam_knows_every_flag_by_its_whole_name():
    named = {flag.partition("=")[0] for words in OURS for flag in beam_flags(words)}
    named |= set(re.findall(r"`(--(?:runner|parallelism|sdk_container_image|extra_package|environment_type)\b)", PAGE))
    known = set(PipelineOptions([]).get_all_options()) | {"extra_package", "worker_machine_type", "no_use_public_ips"}
    assert {name.removeprefix("--") for name in named} - known == set()
    for words in OURS:
        options = PipelineOptions(beam_flags(words))
        assert options.get_all_options(retain_unknown_options=True).keys() == options.get_all_options().keys()


def test_the_settings_are_ours(tmp_path):
    (tmp_path / "large.yaml").write_text(blocks("yaml")[0])
    config = settings.load(PipelineConfig, tmp_path / "large.yaml")
    assert (config.ingest.shards, config.model.item_vectors) == (20_000, "learned")
    assert config.training.steps * config.training.moments / 1e8 == pytest.approx(1.02, abs=.005)
    cluster, = map(json.loads, blocks("json"))
    assert cluster["task"]["index"] < len(cluster["cluster"]["worker"])


def test_the_clients_take_what_is_submitted(monkeypatch):
    from google.cloud import aiplatform  # takes ten seconds, which other test processes need not wait for

    for owner, name in ((aiplatform, "init"), (aiplatform, "PipelineJob"), (kfp, "Client")):
        monkeypatch.setattr(owner, name, mock.create_autospec(getattr(owner, name)))
    for block in blocks("python"):
        exec(block, {})
    aiplatform.PipelineJob.return_value.submit.assert_called_once()
    kfp.Client.return_value.create_run_from_pipeline_package.assert_called_once()


@pytest.mark.parametrize(("row", "figure"), [
    ("examples on disk", f"{2e10 * 16.6 / 1e9:.0f} GB"),
    ("ingest", f"{2e10 / (10_000_000 / 29.0) / 3600:.0f} h"),
    ("statistics", f"{2e10 / (1_469_307 / 24.8) / 3600:.0f} h"),
    ("Transform", f"{2e10 / (1_469_307 / 52.1) / 3600:.0f} h"),
    ("all Beam steps on n machines of 2 cores",
     f"{2e10 * (29.0 / 2 / 10_000_000 + (24.8 + 52.1) / 1_469_307) / 3600 / 100:.1f} h"),
    ("item table", f"{1e7 * 65 * 4 / 1e9:.1f} GB"),
    ("the same, learned", f"{3 * 1e7 * 65 * 4 / 1e9:.1f} GB"),
    ("index in memory: ScaNN, ScaNN 8 bits, blocked", "3.9, 1.8, 2.7 GB"),  # 3.85, 1.79, 2.73
    ("building it", f"{4 * 1e7 * 65 * 4 / 1e9:.1f} GB"),
    ("one moment of every user", f"{1e8 / 453 / 3600:.0f} h"),
    ("requests a second of one core", f"{1 / .0201:.0f}"),
    ("cores for 13,900 requests a second", f"{13_900 / (50 * .6):.0f}"),
])
def test_figures_follow_from_their_formulas(row, figure):
    cells = next(line.split(" | ") for line in PAGE.splitlines() if line.startswith(f"| {row} |"))
    assert figure in cells[2]


def test_the_image_is_of_the_locked_versions():
    dockerfile = (ROOT / "tfx_pipeline" / "Dockerfile").read_text()
    python = (ROOT / ".python-version").read_text().strip()
    beam = re.search(r"^apache-beam==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert f"FROM python:{python}-" in dockerfile and f"apache/beam_python{python}_sdk:{beam} " in dockerfile
    sources = [words[1:-1] for words in map(str.split, dockerfile.splitlines()) if words[:1] == ["COPY"]]
    assert all((ROOT / path).exists() for paths in sources if not paths[0].startswith("--") for path in paths)
    assert PAGE.count(f"job_server:{beam} ") == PAGE.count("job_server:") == 2
