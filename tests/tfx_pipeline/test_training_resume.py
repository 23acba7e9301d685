"""A training that is killed goes on from its last checkpoint, and from no other."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.tfx_pipeline import trainer_inputs, training_programs
from tests.tfx_pipeline.training_programs import EXECUTION, config, write_inputs
from tests.ulim_tf.untraced import untraced
from tfx_pipeline import trainer
from tfx_pipeline.training import checkpoints

TRAINING = {"steps": 60, "checkpoints": 6, "patience": 0, "validation_users": 6}


def run(inputs: trainer_inputs.Inputs, step: Path, execution: int = 1, **training) -> None:
    trainer.run_fn(trainer_inputs.fn_args(inputs, step, execution, config(**{**TRAINING, **training}),
                                          {**TRAINING, **training}["steps"]))


def summary(step: Path, execution: int = 1) -> dict:
    return json.loads((step / "model_run" / str(execution) / "training.json").read_text())


@pytest.fixture(autouse=True)
def vocabularies(monkeypatch):
    trainer_inputs.number_by(monkeypatch.setattr)


def kill_after_the_first_checkpoint(folder: Path, step: Path) -> None:
    """SIGKILL to a process that trains, some steps after its first checkpoint."""
    process = subprocess.Popen([sys.executable, "-m", training_programs.__name__, "train", str(folder), str(step),
                                json.dumps(TRAINING), EXECUTION], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
    until = time.monotonic() + 240
    while not list(step.glob("checkpoints/*/ckpt-*.index")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    told, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, told
    assert "step 60 of 60" not in told and not (step / "model").exists()


@pytest.mark.e2e
def test_a_killed_training_ends_as_if_it_had_not_been(tmp_path, capsys):
    inputs = write_inputs(tmp_path / "inputs")
    run(inputs, tmp_path / "whole")
    kill_after_the_first_checkpoint(tmp_path / "inputs", tmp_path / "killed")
    capsys.readouterr()
    run(inputs, tmp_path / "killed", 2)
    told = capsys.readouterr().out
    assert "goes on after step " in told and "step 3 of 60" not in told
    whole, resumed = summary(tmp_path / "whole"), summary(tmp_path / "killed", 2)
    # Sums round in another order: negatives, though always all items, come in another one.
    assert [row["step"] for row in resumed["validation"]] == list(range(10, 61, 10))
    np.testing.assert_allclose([row["recall"] for row in resumed["validation"]],
                               [row["recall"] for row in whole["validation"]], atol=1e-6)
    np.testing.assert_allclose([row["loss"] for row in resumed["losses"]][-5:],
                               [row["loss"] for row in whole["losses"]][-5:], rtol=1e-3)
    one, other = (keras.models.load_model(step / "model" / execution / "model.keras") for step, execution in (
        (tmp_path / "whole", "1"), (tmp_path / "killed", "2")))
    for weight, again in zip(one.inference_variables, other.inference_variables, strict=True):
        np.testing.assert_allclose(weight, again, atol=1e-3, err_msg=weight.name)
    steps = [event.step for file in (tmp_path / "killed" / "model_run" / "2").glob("events*")
             for event in tf.compat.v1.train.summary_iterator(str(file))
             for value in event.summary.value if value.tag == "validation_recall"]
    assert steps == list(range(10, 61, 10)), "the curve of the new execution is whole"
    assert not list((tmp_path / "killed").glob("checkpoints/*"))


def stop_after(looks: int, monkeypatch) -> None:
    """Makes a training fail after so many checkpoints, without killing the process."""
    write, written = checkpoints.Checkpoints.write, []

    def write_some(self, step: int) -> None:
        write(self, step)
        written.append(step)
        if len(written) == looks:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.Checkpoints, "write", write_some)


@pytest.fixture(scope="module")
def interrupted_once(tmp_path_factory):
    """Inputs, the folder of a Trainer that was interrupted after steps 1 and 2 of 4, and a copy of both."""
    folder = tmp_path_factory.mktemp("interrupted")
    inputs, step = write_inputs(folder / "run" / "inputs"), folder / "run" / "Trainer"
    with pytest.MonkeyPatch.context() as patch, untraced():
        trainer_inputs.number_by(patch.setattr)
        stop_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, step, steps=4, checkpoints=4)
    return inputs, step, shutil.copytree(folder / "run", folder / "copy")


@pytest.fixture
def interrupted(interrupted_once):
    """The first two as they were: with the files' times, which the key of checkpoints has."""
    inputs, step, copy = interrupted_once
    shutil.rmtree(step.parent)
    shutil.copytree(copy, step.parent)
    with untraced():
        yield inputs, step


def test_a_damaged_checkpoint_is_passed_over(interrupted, capsys):
    inputs, step = interrupted
    newest, = step.glob("checkpoints/*/ckpt-2.data*")
    newest.write_bytes(newest.read_bytes()[:-100])
    run(inputs, step, 2, steps=4, checkpoints=4)
    told = capsys.readouterr().out
    assert "ckpt-2 cannot be read and is passed over" in told and "goes on after step 1 of 4" in told
    assert [row["step"] for row in summary(step, 2)["validation"]] == [1, 2, 3, 4]


def test_a_checkpoint_counts_though_the_list_of_them_was_not_written(interrupted, capsys):
    inputs, step = interrupted
    for listed in step.glob("checkpoints/*/checkpoint"):
        listed.unlink()
    run(inputs, step, 2, steps=4, checkpoints=4)
    assert "goes on after step 2 of 4" in capsys.readouterr().out


def test_a_checkpoint_without_its_index_was_never_finished(interrupted, capsys):
    inputs, step = interrupted
    for index in step.glob("checkpoints/*/*.index"):
        index.unlink()
    run(inputs, step, 2, steps=4, checkpoints=4)
    told = capsys.readouterr().out
    assert "goes on" not in told and "step 1 of 4," in told


@pytest.mark.parametrize("what", ["settings", "steps", "data", "vocabulary"])
def test_a_checkpoint_of_another_training_is_not_taken(interrupted, capsys, what):
    inputs, step = interrupted
    training = {"steps": 4, "checkpoints": 4}
    if what == "settings":
        training["learning_rate"] = 0.02
    elif what == "steps":
        training["steps"] = 5
    elif what == "data":
        again = write_inputs(step.parent / "again", seed=1)
        (again.train / "users.gz").rename(inputs.train / "users.gz")
    else:
        (inputs.vocabularies / "item_id").write_text((inputs.vocabularies / "item_id").read_text().upper())
    run(inputs, step, 2, **training)
    told = capsys.readouterr().out
    assert "goes on" not in told and f"step 1 of {training['steps']}," in told
    assert len(list(step.glob("checkpoints/*"))) == 1, "the other training's is left to it"
