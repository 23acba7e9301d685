"""A training that begins with an earlier model, and why it may not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tf_keras as keras

from tests.tfx_pipeline import trainer_inputs
from tests.tfx_pipeline.training_programs import config, write_inputs
from tests.ulim_tf.examples import item_categories
from tests.ulim_tf.keras_programs import CONFIG
from tests.ulim_tf.untraced import untraced
from tfx_pipeline import trained, trainer
from tfx_pipeline.training import base_model
from tfx_pipeline.training.loop import TrainingLoop
from ulim_tf.model import UlimModel

ITEMS, CATEGORIES = 6, 3
IDS = {"item_id": [f"item {one}".encode() for one in range(1, ITEMS + 1)], "category_id": [b"ca", b"cb", b"cc"],
       "content": [b"brand=a", b"brand=b"], "profile": [b"age=1"]}


def make(content: int = 0, profile: int = 0, settings=CONFIG) -> UlimModel:
    model = UlimModel(settings, ITEMS, CATEGORIES, content, 1 if content else 0, profile)
    model.set_catalog(item_categories(ITEMS, CATEGORIES), np.ones([ITEMS + 1, 1], int) if content else None)
    return model


def write_servable(folder: Path, model: UlimModel) -> str:
    """What is left beside a servable; gives the servable's own folder, which nothing here needs."""
    folder.mkdir()
    model.save(folder / "model.keras")
    files = {name: folder / f"{name}.txt" for name in IDS}
    for name, file in files.items():
        file.write_bytes(b"".join(one + b"\n" for one in IDS[name]))
    servable = str(folder / "artifact" / "Format-Serving")
    trained.write(servable, str(folder / "model.keras"), {name: str(file) for name, file in files.items()})
    return servable


def test_a_model_begins_with_a_fitting_base(tmp_path, capsys):
    base, model = make(), make()
    servable = write_servable(tmp_path / "base", base)
    ids = {"item_id": [b"new", *IDS["item_id"][1:]], "category_id": IDS["category_id"]}
    assert base_model.begin_with(model, servable, ids) is None
    np.testing.assert_array_equal(model.embedding.bias_table[2:], base.embedding.bias_table[2:])
    np.testing.assert_array_equal(model.long_tower.weights[0], base.long_tower.weights[0])
    assert f"begins with the weights of {servable}: 5 items keep their rows, 1 are new, 1 are gone" in (
        capsys.readouterr().out)


def with_model(**model):
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, **model))


@pytest.mark.parametrize(("base", "model", "message"), [
    ({}, {"settings": with_model(width=4, hidden=8)},
     "its settings differ: model.width 8 -> 4, model.hidden 16 -> 8"),
    ({}, {"settings": dataclasses.replace(CONFIG, features=dataclasses.replace(CONFIG.features,
                                                                               event_types=("view", "buy")))},
     "its settings differ: features.event_types () -> ('view', 'buy')"),
    ({"content": 2}, {}, "one of the two has no content or no profiles"),
    ({}, {"content": 2}, "one of the two has no content or no profiles"),
    ({"profile": 1}, {}, "one of the two has no content or no profiles"),
    ({}, {"profile": 1}, "one of the two has no content or no profiles")])
def test_a_base_that_does_not_fit_is_told_and_changes_nothing(tmp_path, base, model, message):
    servable, made = write_servable(tmp_path / "base", make(**base)), make(**model)
    before = made.get_weights()
    assert base_model.begin_with(made, servable, IDS) == message
    for one, other in zip(made.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_servable_without_what_training_left_is_told(tmp_path):
    (tmp_path / "artifact" / "Format-Serving").mkdir(parents=True)
    assert base_model.begin_with(make(), str(tmp_path / "artifact" / "Format-Serving"), IDS) == (
        f"there is nothing at {tmp_path}/artifact/trained")


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Runs the Trainer; gives what it saved."""
    trainer_inputs.number_by(monkeypatch.setattr)
    inputs = write_inputs(tmp_path / "inputs")

    def run(name: str, base: str | None = None, **training) -> UlimModel:
        sections = config(**{"steps": 1, "validation_users": 0, "recent_days": 2, **training})
        args = trainer_inputs.fn_args(inputs, tmp_path / name, 1, sections, 1)
        args.base_model = base
        with untraced():
            trainer.run_fn(args)
        file = tmp_path / name / "model" / "1" / "model.keras"
        trained.write(str(tmp_path / name / "artifact" / "Format-Serving"), str(file), {
            one: str(inputs.vocabularies / one) for one in ("item_id", "category_id")})
        return keras.models.load_model(file, compile=False)

    return run


@pytest.fixture
def no_steps(monkeypatch):
    monkeypatch.setattr(TrainingLoop, "run", lambda loop, batches: 0)


@pytest.mark.usefixtures("no_steps")
def test_a_run_tells_why_it_trains_from_scratch(tmp_path, train, capsys):
    servable = write_servable(tmp_path / "base", make(settings=with_model(width=4)))
    train("run", servable)
    assert f"trains from scratch, not from {servable}: its settings differ: model.width 4 -> 8" in (
        capsys.readouterr().out)


def test_popularity_of_late_is_not_added_again_by_the_next_run(tmp_path, train, capsys):
    """Biases that hardly learn: after a second run on the same log they stand where the first one left them."""
    first = train("first", learning_rate=1e-8)
    second = train("second", str(tmp_path / "first" / "artifact" / "Format-Serving"), learning_rate=1e-8)
    assert "24 items keep their rows, 0 are new, 0 are gone" in capsys.readouterr().out
    assert np.abs(first.popularity_shift).max() > 0.1
    np.testing.assert_allclose(second.embedding.bias_table, first.embedding.bias_table, atol=1e-5)


@pytest.mark.usefixtures("no_steps")
def test_a_warm_start_may_be_switched_off(tmp_path, train, capsys):
    servable = write_servable(tmp_path / "base", make())
    train("run", servable, warm_start=False)
    told = capsys.readouterr().out
    assert "begins with" not in told and "from scratch" not in told
