import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse
import tf_keras as keras
from tfx.components.trainer.fn_args_utils import FnArgs

from tests.tfx_pipeline import trainer_inputs, transform_runs
from tests.ulim_tf.untraced import untraced
from tfx_pipeline import trainer
from ulim_tf import co_purchase
from ulim_tf.model import UlimModel

ITEMS, CATEGORIES = 6, 3
CONTENT = {1: [3], 2: [1, 2], 3: [], 4: [], 5: [2, 1], 6: [3]}
CONFIG = {"history": {"long": 10, "short": 4, "subsequence": 3}, "model": {"width": 4, "heads": 1, "hidden": 8},
          "training": {"moments": 4, "moments_per_user": 2, "targets": 2, "learning_rate": 1e-3}}


@pytest.fixture(autouse=True, scope="module")
def vocabularies():
    with pytest.MonkeyPatch.context() as patch:
        trainer_inputs.number_by(patch.setattr)
        yield


def write(folder: Path) -> FnArgs:
    """What TFX gives to run_fn, for three users and a catalogue of six items in two examples."""
    examples = trainer_inputs.write(folder, [[[1, 4], [2]], [[6], [3]], [[5, 2], [1]]], ITEMS, CATEGORIES, CONTENT)
    return trainer_inputs.fn_args(examples, folder / "Trainer", 1, CONFIG, steps=3)


@pytest.fixture
def fn_args(tmp_path):
    return write(tmp_path)


def saved(args: FnArgs) -> UlimModel:
    """What run_fn saved."""
    return keras.models.load_model(Path(args.serving_model_dir) / "model.keras")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[UlimModel, str]:
    """The model with these settings, and what its training printed."""
    args = write(tmp_path_factory.mktemp("trained"))
    with contextlib.redirect_stdout(io.StringIO()) as told:
        trainer.run_fn(args)
    return saved(args), told.getvalue()


def test_the_trained_model_is_saved_with_its_catalogue(trained):
    model, told = trained
    assert model.embedding.item_category.numpy().tolist() == [0, 1, 2, 3, 1, 2, 3]
    assert model.settings.model.width == 4
    assert "step 3 of 3" in told


def test_items_stay_where_co_purchases_put_them(trained):
    model, _ = trained
    assert not [one.name for one in model.trainable_variables if one is model.embedding.item_table]
    users = np.array([[0, 1, 1, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0, 1], [0, 1, 1, 0, 0, 1, 0]])
    expected = co_purchase.item_vectors(sparse.csr_matrix(users), 4, seed=17)
    table = model.embedding.item_table.numpy()
    np.testing.assert_allclose(table @ table.T, expected @ expected.T, atol=1e-6)
    assert np.linalg.norm(table[1:]) > 0


def test_item_vectors_may_be_learned(fn_args):
    fn_args.custom_config = {**CONFIG, "model": {**CONFIG["model"], "item_vectors": "learned"}}
    with untraced():
        trainer.run_fn(fn_args)
    table = saved(fn_args).embedding.item_table
    assert np.abs(table).max() < 0.06  # where chance put them and three steps moved them


def test_the_content_of_items_is_trained_and_saved(fn_args):
    fn_args.custom_config = {**CONFIG, "features": {"item_content": ["brand", "size"]}}
    with untraced():
        trainer.run_fn(fn_args)
    model = saved(fn_args)
    assert model.content == 3
    assert model.embedding.item_content.numpy().tolist() == [[0, 0], [3, 0], [1, 2], [0, 0], [0, 0], [2, 1], [3, 0]]


def test_a_threshold_that_no_item_reaches_stops_the_run(fn_args, tmp_path):
    """TFT then leaves a vocabulary of one id of its own, and nothing of the catalogue has a number."""
    (tmp_path / "vocabularies" / "item_id").write_text("made up\n")
    transform_runs.write(tmp_path / "catalog" / "items.gz", [{"catalog_item_id": [0] * 3,
                                                              "catalog_category_id": [1, 2, 3]}])
    fn_args.custom_config = {**CONFIG, "vocabulary": {"least_events": 99}}
    with pytest.raises(ValueError, match=r"vocabulary\.least_events must leave items, got 99: none has so many"):
        trainer.run_fn(fn_args)


def test_a_loss_that_is_not_a_number_stops_the_run(fn_args, tmp_path):
    fn_args.custom_config = {**CONFIG, "loss": {"alpha": 3e38, "beta": 3e38}}
    with untraced(), pytest.raises(
            RuntimeError, match=r"not a number any more, at step 1. Lower training.learning_rate \(0.001\)"):
        trainer.run_fn(fn_args)
    assert not (tmp_path / "Trainer" / "model").exists()
