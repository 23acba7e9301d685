"""What the Evaluator says of a trained servable and of one with shuffled weights, on real households."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_transform as tft
import tf_keras as keras

from serving.client import History
from serving.export import export_servable
from tests.serving.servables import only
from tests.tfx_pipeline.evaluation.evaluator_runs import run_evaluator
from tfx_pipeline import run_summary
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation import results
from tfx_pipeline.evaluation.servable import AskedServable
from tfx_pipeline.run_local import metadata_connection
from tfx_pipeline.trained import MODEL_FILE
from ulim_tf import config as settings
from ulim_tf import evaluate, features
from ulim_tf.event_log import split_by_time

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def outputs(pipeline_run) -> dict[str, Path]:
    """Output name -> folder, of every step."""
    run = run_summary.read(metadata_connection(pipeline_run.workdir))
    return {name: folder for step in run.steps for name, folder in step.outputs.items()}


@pytest.fixture(scope="module")
def config(pipeline_run) -> PipelineConfig:
    return settings.load(PipelineConfig, pipeline_run.workdir.parent / "config.yaml")


def test_the_trained_servable_is_blessed_with_a_margin(outputs):
    verdict = results.read_verdict(outputs["evaluation"])
    assert verdict.blessed and verdict.reasons == []
    assert verdict.recall > 1.1 * verdict.least_over_popular * verdict.popular_recall


def test_evaluated_again_it_has_the_same_figures_and_no_run_takes_note(pipeline_run, outputs):
    metadata = (pipeline_run.workdir / "metadata.sqlite").read_bytes()
    version = pipeline_run.versions()[0]  # that of the run; other tests push more
    done = subprocess.run([sys.executable, "-m", "tfx_pipeline.evaluate_only", "--workdir", str(pipeline_run.workdir),
                           "--version", version.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    [folder] = (pipeline_run.workdir / "evaluations").iterdir()
    assert folder.name.endswith(f"-of-{version.name}") and done.stdout.endswith(f"results: {folder}\n")
    found, expected = json.loads((folder / "metrics.json").read_text())["metrics"], results.read_metrics(
        outputs["evaluation"])
    assert list(found) == list(expected)
    for part, of_slice in expected.items():
        assert found[part] == pytest.approx(of_slice), part
    assert (pipeline_run.workdir / "metadata.sqlite").read_bytes() == metadata


def test_shuffled_weights_are_refused(outputs, config, tmp_path):
    model = keras.models.load_model(outputs["model"] / "Format-Serving" / MODEL_FILE, compile=False)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if weight.dtype.is_floating:  # the others are the catalogue
            weight.assign(rng.permutation(weight.numpy().ravel()).reshape(weight.shape))
    model.item_gate.dnn.weights[-1].assign([-20.0])  # what is copied from a history is good whatever the weights are
    vocabularies = tft.TFTransformOutput(str(outputs["transform_graph"]))
    with only("serving_default", "predict_category"):
        export_servable(model, *(vocabularies.vocabulary_file_by_name(name)
                                 for name in (features.ITEM_VOCABULARY, features.CATEGORY_VOCABULARY)),
                        str(tmp_path / "servable" / "Format-Serving"),
                        vocabularies.vocabulary_file_by_name(features.PROFILE_VOCABULARY))
    shuffled = run_evaluator(tmp_path, outputs["examples"], tmp_path / "servable", config=config)
    assert not shuffled.blessed
    verdict = results.read_verdict(shuffled.evaluation)
    [reason] = verdict.reasons
    assert "times that of the most popular items" in reason and "evaluation.least_over_popular" in reason
    assert verdict.recall < 0.9 * verdict.least_over_popular * verdict.popular_recall


def test_a_refused_servable_is_not_pushed_and_the_command_says_why(pipeline_run, tmp_path):
    strict = tmp_path / "strict.yaml"
    strict.write_text((pipeline_run.workdir.parent / "config.yaml").read_text() + "evaluation: {least_recall: 1.0}\n")
    before = pipeline_run.versions()
    done = subprocess.run([*pipeline_run.command, "--config", str(strict)], capture_output=True, text=True)
    assert done.returncode == 3, done.stdout + done.stderr
    [told] = [line for line in done.stderr.splitlines() if line.startswith("not pushed: ")]
    assert re.fullmatch(r"not pushed: Evaluator: Recall@100 0\.\d{4} is less than evaluation.least_recall, 1\.0", told)
    assert re.search(r"^Evaluator .* not blessed: Recall@100 ", done.stdout, re.MULTILINE)
    assert re.search("^Trainer +cached", done.stdout, re.MULTILINE)
    assert pipeline_run.versions() == before


def test_the_figures_are_those_of_the_protocol(pipeline_run, outputs):
    """The same users, cut from the log in memory and asked one by one, judged by `ulim_tf/evaluate.py`."""
    log, held = split_by_time(pipeline_run.events, pipeline_run.catalog, seed=5)
    described = _profiles(pipeline_run)
    servable = AskedServable(str(outputs["servable"] / "Format-Serving"))
    number = {item.encode(): place for place, item in enumerate(log.item_id)}
    category_number = {category.encode(): place for place, category in enumerate(log.category_id)}
    ranking, categories = np.zeros([len(held.user), 100], np.int64), np.zeros([len(held.user), 20], np.int64)
    for row, (user, now) in enumerate(zip(held.user, held.now)):
        events = log.history(user)
        [answer] = servable.ask([History(log.item_id[log.item[events]].tolist(), log.timestamp[events].tolist(),
                                         int(now), profile=described.get(log.user_id[user], {}))])
        ranking[row, :len(answer.item)] = [number[item] for item in answer.item]
        categories[row] = [category_number[category] for category in answer.category]
    expected = evaluate.evaluate(log, held, ranking, categories=categories, at=(20, 50, 100), bootstrap=1)
    found = results.read_metrics(outputs["evaluation"])
    assert found["all"]["users"] == len(held.user)
    compared = [row for row in expected if row.metric != "coverage"]
    assert len(compared) > 40
    for row in compared:
        assert found[row.slice][f"{row.metric}@{row.at}"] == pytest.approx(row.value), row


def _profiles(pipeline_run) -> dict[str, dict[str, str]]:
    users = pipeline_run.users.set_index("user_id")
    return {user: {column: str(row[column]) for column in ("age", "kids_count") if row[column]}
            for user, row in users.fillna("").iterrows()}
