"""The Evaluator on four users and a servable whose answers are known, against figures worked out by hand."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import math

import pytest
import tensorflow as tf

from tests.serving.toy_servable import ToyServable
from tests.tfx_pipeline.evaluation.evaluator_runs import run_evaluator
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation import results
from ulim_tf import config as settings
from ulim_tf import features

CATEGORY = {"milk": "dairy", "cheese": "dairy", "bread": "bakery", "soap": "care", "v1-b": "care", "v1-c": "toys"}

# user -> the items bought, oldest first, and the held-out basket. The servable answers the last item, v1-b, v1-c.
USERS = {
    "ann": (["bread", "milk", "milk"], ["milk", "v1-b", "soap"]),
    "bob": (["milk", "bread"], ["bread"]),
    "cid": (["milk"] * 120, ["cheese"]),
    "dan": (["soap", "milk"], []),
}


def config(**evaluation) -> PipelineConfig:
    return settings.from_dict(PipelineConfig, {
        "retrieval": {"results": 3, "categories": 5}, "evaluation": {"at": 2, **evaluation}})


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    stored = [(user, *_stored(items), basket) for user, (items, basket) in USERS.items()]
    _write(folder / "Split-train", [{**events, features.USER_ID: [user]} for user, events, _ in stored])
    _write(folder / "Split-eval", [
        {**events, features.USER_ID: [user], features.TARGET_ITEM: basket, features.TARGET_TIMESTAMP: [10**9]}
        for user, events, basket in stored if basket])
    _write(folder / "Split-catalog", [
        {features.CATALOG_ITEM: list(CATEGORY), features.CATALOG_CATEGORY: list(CATEGORY.values())}])
    return folder


def _stored(items: list[str]) -> tuple[dict[str, list]]:
    order = sorted(range(len(items)), key=lambda place: CATEGORY[items[place]])  # category-major, as ingest stores them
    categories = [CATEGORY[items[place]] for place in order]
    distinct = sorted(set(categories))
    return ({
        features.EVENT_ITEM: [items[place] for place in order],
        features.EVENT_TIMESTAMP: [10**8 + place for place in order],
        features.EVENT_RANK: order,
        features.CATEGORY: distinct,
        features.CATEGORY_LENGTH: [categories.count(one) for one in distinct],
    },)


def _write(folder, examples: list[dict[str, list]]) -> None:
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "examples.gz"), "GZIP") as writer:
        for one in examples:
            example = tf.train.Example()
            for name in (*features.BYTES, *features.INTEGERS):
                values, feature = one.get(name, []), example.features.feature[name]
                if name in features.BYTES:
                    feature.bytes_list.value.extend(value.encode() for value in values)
                else:
                    feature.int64_list.value.extend(values)
            writer.write(example.SerializeToString())


@pytest.fixture(scope="module")
def servable(tmp_path_factory):
    folder = tmp_path_factory.mktemp("servable")
    ToyServable(1).save(str(folder / "Format-Serving"))
    return folder


@pytest.fixture(scope="module")
def evaluated(examples, servable, tmp_path_factory):
    return run_evaluator(tmp_path_factory.mktemp("evaluated"), examples, servable, config=config())


def test_metrics_by_hand(evaluated):
    found = results.read_metrics(evaluated.evaluation)
    # Answers: ann milk v1-b v1-c, bob bread v1-b v1-c, cid milk v1-b v1-c.
    overall = found["all"]
    assert overall["users"] == 3
    assert overall["recall@2"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert overall["hit_rate@2"] == pytest.approx((1 + 1 + 0) / 3)
    assert overall["ndcg@2"] == pytest.approx((1 + 1 + 0) / 3)
    # Novel: v1-b and soap of ann, in v1-b v1-c; cheese of cid; bob has none.
    assert overall["novel_recall@2"] == pytest.approx((1 / 2 + 0) / 2)
    assert overall["novel_ndcg@2"] == pytest.approx((1 / (1 + 1 / math.log2(3)) + 0) / 2)
    # Popular: milk 124, bread 2, soap 1. Frequent: ann milk bread, bob bread milk (the newest first), cid milk bread.
    assert overall["popular_recall@2"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert overall["frequent_recall@2"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert overall["frequent_ndcg@2"] == pytest.approx(((1 / (1 + 1 / math.log2(3))) + 1 + 0) / 3)
    assert overall["recall_over_popular@2"] == pytest.approx((5 / 9) / (4 / 9))
    # Predicted: dairy, bakery. Baskets: ann dairy and twice care, bob bakery, cid dairy.
    assert overall["category_recall@1"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert overall["category_recall@5"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert overall["category_item_recall@1"] == pytest.approx((1 / 3 + 0 + 1) / 3)


def test_slices_by_hand(evaluated):
    found = results.read_metrics(evaluated.evaluation)
    assert set(found) == {"all", "history <100", "history 100-500", "head categories", "tail categories"}
    assert found["history <100"]["users"] == 2 and found["history 100-500"]["users"] == 1
    assert found["history <100"]["recall@2"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["history 100-500"]["recall@2"] == 0.0
    assert "novel_recall@2" in found["history 100-500"]
    # Dairy has 124 of the 127 events: it is the head. There ann's milk and cid's cheese, elsewhere three items.
    assert found["head categories"]["recall@2"] == pytest.approx((1 + 0) / 2)
    assert found["tail categories"]["recall@2"] == pytest.approx((1 / 2 + 1) / 2)


def test_a_servable_that_reaches_what_is_demanded_is_blessed(evaluated):
    verdict = results.read_verdict(evaluated.evaluation)
    assert evaluated.blessed and verdict.blessed and verdict.reasons == []
    assert (verdict.at, verdict.least_recall, verdict.least_over_popular) == (2, 0.0, 1.0)
    assert verdict.recall == pytest.approx(5 / 9) and verdict.popular_recall == pytest.approx(4 / 9)
    assert verdict.last_blessed_recall is None
    assert results.read_metrics(evaluated.evaluation, results.LAST_BLESSED) == {}
