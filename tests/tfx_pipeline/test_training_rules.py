"""When a training stops, whose weights it leaves, and what it does not see."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras

from tests.tfx_pipeline import trainer_inputs
from tests.tfx_pipeline.training_programs import config, write_inputs
from tests.ulim_tf.untraced import untraced
from tfx_pipeline import trainer
from tfx_pipeline.training.loop import TrainingLoop
from tfx_pipeline.training.users import TrainingUsers
from tfx_pipeline.training.validation import Validation
from ulim_tf import history
from ulim_tf.config import FeaturesConfig
from ulim_tf.model import UlimModel

ITEMS, CATEGORIES = 8, 4
# Ten users of four baskets, a day each; a fifth of them, two, keep the newest from training.
BASKETS = [[[1 + (user + day + place) % ITEMS for place in range(1 + (user + day) % 3)] for day in range(4)]
           for user in range(10)]


@pytest.fixture(autouse=True, scope="module")
def vocabularies():
    with pytest.MonkeyPatch.context() as patch:
        trainer_inputs.number_by(patch.setattr)
        yield


def run(inputs: trainer_inputs.Inputs, step: Path, **training: Any) -> None:
    with untraced():
        trainer.run_fn(trainer_inputs.fn_args(inputs, step, 1, config(**training), training["steps"]))


def summary(step: Path) -> dict[str, Any]:
    return json.loads((step / "model_run" / "1" / "training.json").read_text())


def saved(step: Path) -> UlimModel:
    return keras.models.load_model(step / "model" / "1" / "model.keras", compile=False)


def scripted(recalls: list[float], monkeypatch: pytest.MonkeyPatch) -> list[list[np.ndarray]]:
    """Makes the looks find these recalls; gives the weights that each of them saw."""
    seen = []

    def recall(self) -> np.ndarray:
        seen.append([weight.numpy() for weight in self._model.trainable_variables])
        return np.array([recalls[len(seen) - 1] * 6, 6.0])

    monkeypatch.setattr(Validation, "recall", recall)
    return seen


def test_patience_stops_a_training_and_the_best_weights_are_saved(tmp_path, monkeypatch, capsys):
    looks = scripted([0.1, 0.5, 0.4, 0.3, 0.9, 0.9], monkeypatch)
    run(write_inputs(tmp_path / "inputs"), tmp_path, steps=12, checkpoints=6, patience=2, validation_users=6)
    told = summary(tmp_path)
    assert [row["step"] for row in told["validation"]] == [2, 4, 6, 8]
    assert (told["trained_steps"], told["weights_of_step"]) == (8, 4)
    assert "stops: no better recall since step 4, 2 checkpoints ago" in capsys.readouterr().out
    assert any((best != last).any() for best, last in zip(looks[1], looks[3]))
    for weight, best in zip(saved(tmp_path).trainable_variables, looks[1], strict=True):
        np.testing.assert_array_equal(weight, best, weight.name)  # all events are of late: no bias moved after it


def test_without_patience_a_training_goes_to_its_last_step(tmp_path, monkeypatch):
    scripted([0.5, 0.4, 0.3, 0.2, 0.1, 0.0], monkeypatch)
    run(write_inputs(tmp_path / "inputs"), tmp_path, steps=6, checkpoints=6, patience=0, validation_users=6)
    told = summary(tmp_path)
    assert len(told["validation"]) == 6 and (told["trained_steps"], told["weights_of_step"]) == (6, 1)


@pytest.mark.parametrize(("epochs", "users", "steps"), [
    (0.5, 0, 5),  # .5 x 40 baskets / 4
    (0.3, 2, 3),  # .3 x 38 baskets / 4 = 2.85
    (0.01, 2, 1)])
def test_epochs_count_the_baskets_that_are_drawn(tmp_path, monkeypatch, epochs, users, steps):
    inputs = trainer_inputs.write(tmp_path / "inputs", BASKETS, ITEMS, CATEGORIES)
    monkeypatch.setattr(TrainingLoop, "run", lambda loop, batches: loop.config.steps)
    run(inputs, tmp_path, steps=77, epochs=epochs, moments=4, validation_users=users)
    assert summary(tmp_path)["steps"] == summary(tmp_path)["trained_steps"] == steps


class Seen:
    """What a training starts from and reads."""

    def __init__(self, folder: Path, baskets: list[list[list[int]]]):
        inputs = trainer_inputs.write(folder / "inputs", baskets, ITEMS, CATEGORIES)

        def look(loop: TrainingLoop, batches) -> int:
            self.batches = [_by_content(batch) for batch in batches(0).take(20)]
            self.vectors, self.bias = (
                table.numpy() for table in (loop._model.embedding.item_table, loop._model.embedding.bias_table))
            return 0

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrainingLoop, "run", look)
            run(inputs, folder, steps=20, moments=16, recent_days=2, validation_users=2)
        self.shift = saved(folder).popularity_shift.numpy()


def _by_content(batch: dict[str, Any]) -> dict[str, list]:
    """The tensors of a batch, without the padding between the categories of a moment."""
    names = (history.CATEGORY, history.CATEGORY_COUNT, history.CATEGORY_AGE, history.CATEGORY_SPAN)
    rows = np.stack([batch[name].numpy() for name in names], axis=2)
    return {**{name: values.numpy().tolist() for name, values in batch.items() if name not in names},
            "categories": [moment[moment[:, 1] > 0].tolist() for moment in rows]}


def with_other_newest(users: np.ndarray) -> list[list[list[int]]]:
    """The baskets, where the newest of some users holds five other items of all categories."""
    changed = [list(user) for user in BASKETS]
    for user in users:
        changed[user][-1] = [8, 7, 6, 5, 5]
    return changed


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Seen:
    return Seen(tmp_path_factory.mktemp("seen"), BASKETS)


@pytest.fixture
def held_out(tmp_path) -> np.ndarray:
    inputs = trainer_inputs.write(tmp_path / "probe", BASKETS, ITEMS, CATEGORIES)
    users = TrainingUsers([str(inputs.train / "users.gz")], ITEMS, FeaturesConfig(), 2, config()["training"]["seed"])
    assert users.held_out.sum() == 2
    return users.held_out


def test_a_basket_that_is_kept_leaves_no_trace_in_what_is_trained(tmp_path, seen, held_out):
    other = Seen(tmp_path, with_other_newest(np.flatnonzero(held_out)))
    assert seen.batches == other.batches
    for name in ("vectors", "bias", "shift"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(other, name), name)


def test_a_basket_that_is_not_kept_is_trained_on(tmp_path, seen, held_out):
    """So the test above would see a leak."""
    other = Seen(tmp_path, with_other_newest(np.flatnonzero(~held_out)[:2]))
    assert seen.batches != other.batches
    for name in ("vectors", "bias", "shift"):
        assert (getattr(seen, name) != getattr(other, name)).any(), name


def test_biases_start_at_the_popularity_of_what_is_trained_and_end_at_that_of_late(seen, held_out):
    ever, late = np.zeros((2, ITEMS + 1))
    for user, kept in zip(BASKETS, held_out):
        for day, basket in enumerate(user[:-1] if kept else user):
            for item in basket:
                ever[item] += 1
                late[item] += day >= 2  # the newest event is of day 3: two days before it begin after day 1
    np.testing.assert_allclose(seen.bias, np.log(1 + ever), rtol=1e-6)
    np.testing.assert_allclose(seen.shift, np.log((late * ever.sum() / late.sum() + 20) / (ever + 20)), rtol=1e-4)
    assert np.abs(seen.shift).max() > 0.01


def test_looking_more_often_does_not_change_a_training(tmp_path, monkeypatch):
    """Biases follow popularity once, after the last step, however often the model is measured before."""
    followed = []
    follow = UlimModel.follow_popularity
    monkeypatch.setattr(UlimModel, "follow_popularity",
                        lambda self, *counts: (followed.append(counts), follow(self, *counts)))
    inputs = write_inputs(tmp_path / "inputs")
    for name, looks in (("seldom", 1), ("often", 4)):
        run(inputs, tmp_path / name, steps=4, checkpoints=looks, patience=0, validation_users=6, recent_days=2)
    seldom, often = (summary(tmp_path / name) for name in ("seldom", "often"))
    assert [len(one["validation"]) for one in (seldom, often)] == [1, 4] and len(followed) == 2
    assert seldom["validation"][0]["recall"] == pytest.approx(often["validation"][-1]["recall"])
    assert [row["step"] for row in seldom["losses"]] == [1, 2, 3, 4]
    for row, again in zip(seldom["losses"], often["losses"], strict=True):
        assert row == pytest.approx(again, rel=1e-3)
