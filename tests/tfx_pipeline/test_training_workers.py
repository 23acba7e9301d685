"""Two workers on this machine train one model."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.tfx_pipeline import training_programs
from tests.tfx_pipeline.training_programs import one_step, write_inputs
from tfx_pipeline.training import strategy
from ulim_tf.config import TrainingConfig

TRAINING = {"steps": 12, "checkpoints": 2, "validation_users": 6, "strategy": "multi_worker_mirrored"}


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _workers(inputs: Path, step: Path) -> tuple[list[int], list[str]]:
    """Exit codes of two worker processes that train together, and what they printed."""
    ports = ",".join(map(str, free_ports(2)))
    workers = [subprocess.Popen(
        [sys.executable, "-m", training_programs.__name__, "worker", str(inputs), str(step), ports,
         str(number), json.dumps(TRAINING)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for number in range(2)]
    try:
        told = [worker.communicate(timeout=240)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    return [worker.returncode for worker in workers], told


@pytest.mark.e2e
def test_two_workers_train_one_model(tmp_path):
    write_inputs(tmp_path / "inputs")
    step = tmp_path / "Trainer"
    codes, told = _workers(tmp_path / "inputs", step)
    if any("heartbeat timeout" in text for text in told):  # a machine too busy to send it says nothing of the trainer
        shutil.rmtree(step, ignore_errors=True)
        codes, told = _workers(tmp_path / "inputs", step)
    assert codes == [0, 0], "\n".join(text[-3000:] for text in told)
    one, other = (json.loads((step / f"worker-{number}.json").read_text()) for number in range(2))

    # Each worker had seven moments of its own, and stepped as one that had all fourteen.
    joined = one_step(tf.distribute.get_strategy(), batch=14, of=1)
    for name, expected in joined.items():
        np.testing.assert_allclose(one["step"][name], expected, atol=2e-5, err_msg=name)
        assert one["step"][name] == other["step"][name]
    alone = one_step(tf.distribute.get_strategy(), batch=7, of=1)
    assert any(np.abs(np.subtract(alone[name], joined[name])).max() > 1e-2 for name in joined), "the halves differ"

    assert one["trained"] == other["trained"]
    assert "step 12 of 12" in told[0] and "step 12 of 12" not in told[1]
    saved = keras.models.load_model(step / "model" / "1" / "model.keras")
    np.testing.assert_array_equal(saved.get_weights()[0], np.array(one["trained"][0], np.float32))
    assert [file.name for file in (step / "model" / "1").iterdir()] == ["model.keras"]
    found = json.loads((step / "model_run" / "1" / "training.json").read_text())
    assert [row["step"] for row in found["validation"]] == [6, 12]
    assert not list(step.glob("checkpoints/*"))


def test_a_batch_that_replicas_cannot_share_is_refused(monkeypatch):
    class Three:
        num_replicas_in_sync = 3

    monkeypatch.setitem(strategy._STRATEGIES, "mirrored", Three)
    with pytest.raises(ValueError, match=r"training.moments must be a multiple of replicas x training.moments_per_user "
                                         r"= 3 x 4, .* got 128. Choose for example moments: 192"):
        strategy.create(TrainingConfig(strategy="mirrored"))
    assert strategy.create(TrainingConfig(strategy="mirrored", moments=24)).num_replicas_in_sync == 3
