"""Rare items from the log to an answer: Transform, Trainer, IndexBuilder and requests, where such items share rows."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import collections
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.types import standard_artifacts

from tests.serving.servables import only
from tests.serving.test_signatures import request
from tests.tfx_pipeline import transform_runs
from tests.ulim_tf.untraced import untraced
from tfx_pipeline import trainer
from tfx_pipeline.components.index_builder import executor, index_facts

LEAST, BUCKETS = 3, 8
CATEGORY_OF = {**{f"f{number}": f"c{number % 3}" for number in range(12)},
               **{f"r{number}": f"c{number % 4}" for number in range(16)}}  # of c3, all items are rare
CONFIG = {"vocabulary": {"least_events": LEAST, "oov_buckets": BUCKETS},
          "history": {"long": 50, "short": 8, "subsequence": 6}, "model": {"width": 4, "heads": 1, "hidden": 8},
          "training": {"moments": 8, "moments_per_user": 2, "targets": 2, "validation_users": 4, "checkpoints": 2},
          "retrieval": {"categories": 4, "per_category": 6, "short_term": 6, "results": 40, "index": "blocked",
                        "least_recall": 0.0, "least_pool_recall": 0.0}}


def households() -> list[list[tuple[str, int]]]:
    """Of each of 20 users a frequent item or two a day, and of three in four of them a rare one of their own."""
    rng = np.random.default_rng(5)
    users = []
    for user in range(20):
        bought = [(f"f{number}", day) for day in range(6)
                  for number in rng.choice(12, rng.integers(1, 3), replace=False)]
        users.append(sorted([*bought, (f"r{user}", 3)] if user < 15 else bought, key=lambda event: event[1]))
    return users


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The model, the servable, and the folder of both."""
    folder = tmp_path_factory.mktemp("run")
    rows = [transform_runs.user(events, CATEGORY_OF) for events in households()]
    _, transformed = transform_runs.transform(folder, [*rows, transform_runs.catalog(CATEGORY_OF)],
                                              **CONFIG["vocabulary"])
    transform_runs.write(folder / "train" / "users.gz", transformed[:-1])
    transform_runs.write(folder / "catalog" / "items.gz", transformed[-1:])
    with untraced():
        trainer.run_fn(FnArgs(
            custom_config=CONFIG, train_files=[str(folder / "train" / "*"), str(folder / "catalog" / "*")],
            train_steps=4, transform_output=str(folder / "transform"), model_run_dir=str(folder / "model_run"),
            serving_model_dir=str(folder / "model" / "Format-Serving")))
    artifacts = [kind() for kind in (standard_artifacts.Model, standard_artifacts.TransformGraph,
                                     standard_artifacts.Model)]
    for artifact, name in zip(artifacts, ("model", "transform", "servable")):
        artifact.uri = str(folder / name)
    model, transform, servable = ([artifact] for artifact in artifacts)
    with only("serving_default", "predict_category", "encode_item"):
        executor.Executor().Do({executor.MODEL: model, executor.TRANSFORM_GRAPH: transform},
                               {executor.SERVABLE: servable}, {executor.SERVABLES: json.dumps(["ulim"])})
    loaded = tf.saved_model.load(str(folder / "servable" / "Format-Serving"))
    yield (keras.models.load_model(folder / "model" / "Format-Serving" / "model.keras", compile=False),
           loaded.signatures, folder)


def asked_of(users: list[list[str]]) -> dict[str, tf.Tensor]:
    """An item a second."""
    return request(users, [list(range(1, 1 + len(user))) for user in users], now=[100] * len(users))


@pytest.fixture(scope="module")
def frequent():
    """Items of three events or more, counted here."""
    events = collections.Counter(item for user in households() for item, _ in user)
    yield {item for item, count in events.items() if count >= LEAST}


def test_the_model_has_rows_for_frequent_items_and_for_buckets(run, frequent):
    model, _, folder = run
    assert (model.items, model.buckets, model.categories) == (len(frequent), BUCKETS, 4) == (12, 8, 4)
    assert model.embedding.item_table.shape == (1 + 12 + 8, 4)
    category = model.embedding.item_category.numpy()
    assert category[1:13].min() > 0 and not category[13:].any()
    assert index_facts.read(folder / "servable").rare == 16


def test_buckets_with_events_are_trained(run):
    table = run[0].embedding.item_table.numpy()
    used = {int(tf.strings.to_hash_bucket_fast(f"r{number}", BUCKETS)) for number in range(15)}  # r15 was not bought
    assert len(used) > 1 and [bool(row.any()) for row in table[13:]] == [bucket in used for bucket in range(BUCKETS)]


def test_rare_items_are_read_in_their_category_and_never_answered(run, frequent):
    _, signatures, _ = run
    users = [[f"r{number}"] * 5 for number in range(16)] + [["f1", "r3", "never seen"], []]
    asked = asked_of(users)
    answer = signatures["serving_default"](**asked)
    assert answer["count"].numpy().tolist() == [len(frequent)] * len(users)
    for items in answer["item_id"].numpy():
        assert {one.decode() for one in items} == {*frequent, ""}
    predicted = signatures["predict_category"](**asked)
    for user, categories, shares in zip(users, predicted["category_id"].numpy(), predicted["copy_share"].numpy()):
        copied = {category.decode() for category, share in zip(categories, shares) if share > 0}
        assert copied == {CATEGORY_OF[item] for item in user if item in CATEGORY_OF}


def test_an_id_that_nobody_ever_saw_is_read_too(run):
    probability = run[1]["predict_category"](**asked_of([["never seen"], []]))["probability"].numpy()
    assert not np.allclose(*probability)


def test_a_rare_item_is_not_known_by_itself(run):
    encoded = run[1]["encode_item"](item_id=tf.constant(["f1", "r1", "never seen"]))
    assert encoded["known"].numpy().tolist() == [True, False, False]
    assert encoded["vector"].numpy()[0].any() and not encoded["vector"].numpy()[1:].any()
    assert encoded["category_id"].numpy().tolist()[1:] == [b"", b""]
