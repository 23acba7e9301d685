"""The Evaluator on four users and a servable whose answers are known, against figures worked out by hand."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
import math
import shutil

import pytest
import tensorflow as tf

from serving.client import History
from tests.serving.toy_servable import ToyServable
from tests.tfx_pipeline.evaluation import toy_log
from tests.tfx_pipeline.evaluation.evaluator_runs import run_evaluator
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.evaluation import results
from tfx_pipeline.evaluation.eval_config import make_eval_config
from tfx_pipeline.evaluation.servable import AskedServable
from ulim_tf import config as settings
from ulim_tf import features
from ulim_tf.config import FeaturesConfig


def config(**evaluation) -> PipelineConfig:
    return settings.from_dict(PipelineConfig, {
        "retrieval": {"results": 3, "categories": 5}, "evaluation": {"at": 2, **evaluation}})


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    toy_log.write_examples(folder)
    return folder


@pytest.fixture(scope="module")
def servables(tmp_path_factory):
    """Two versions. The second finds milk of ann and bread of bob, but not v1-b of ann: Recall@2 4/9, not 5/9."""
    folder = tmp_path_factory.mktemp("servables")
    for version in (1, 2):
        ToyServable(version).save(str(folder / str(version) / "Format-Serving"))
    return folder / "1", folder / "2"


@pytest.fixture(scope="module")
def evaluated(examples, servables, tmp_path_factory):
    return run_evaluator(tmp_path_factory.mktemp("evaluated"), examples, servables[0], config=config())


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
    # Of the baselines, bob's bread stands first among his own most frequent items, and second among the popular ones.
    assert found["head categories"]["popular_recall@2"] == pytest.approx((1 + 0) / 2)
    assert found["tail categories"]["popular_recall@2"] == pytest.approx((0 / 2 + 1) / 2)
    assert found["tail categories"]["popular_ndcg@2"] == pytest.approx((0 + 1 / math.log2(3)) / 2)
    assert found["tail categories"]["frequent_ndcg@2"] == pytest.approx((0 + 1) / 2)
    assert not any("head" in name or "tail" in name for of_slice in found.values() for name in of_slice)


def test_a_servable_that_reaches_what_is_demanded_is_blessed(evaluated):
    verdict = results.read_verdict(evaluated.evaluation)
    assert evaluated.blessed and verdict.blessed and verdict.reasons == []
    assert (verdict.at, verdict.least_recall, verdict.least_over_popular) == (2, 0.0, 1.0)
    assert verdict.recall == pytest.approx(5 / 9) and verdict.popular_recall == pytest.approx(4 / 9)
    assert verdict.last_blessed_recall is None
    assert results.read_metrics(evaluated.evaluation, results.LAST_BLESSED) == {}


@pytest.fixture(scope="module")
def refused(examples, servables, tmp_path_factory):
    """As `evaluated`, by two worker processes and with demands that the servable does not reach."""
    return run_evaluator(
        tmp_path_factory.mktemp("refused"), examples, servables[0],
        config=config(least_recall=0.6, least_over_popular=1.5),
        beam_pipeline_args=("--direct_running_mode=multi_processing", "--direct_num_workers=2"))


def test_a_servable_below_the_floors_is_refused_with_both_reasons(refused):
    verdict = results.read_verdict(refused.evaluation)
    assert not refused.blessed and not verdict.blessed
    assert verdict.reasons == [
        "Recall@2 0.5556 is less than evaluation.least_recall, 0.6",
        "Recall@2 0.5556 is 1.25 times that of the most popular items, 0.4444; evaluation.least_over_popular demands "
        "1.5 times"]


@pytest.mark.parametrize(("most_loss", "blessed"), [(0.15, False), (0.25, True)])
def test_a_servable_may_lose_so_much_of_the_last_blessed_ones_recall(examples, servables, tmp_path, most_loss, blessed):
    first, second = servables  # a fifth less
    found = run_evaluator(tmp_path, examples, second, first, config=config(most_loss=most_loss))
    verdict = results.read_verdict(found.evaluation)
    assert found.blessed == blessed
    assert verdict.recall == pytest.approx(4 / 9) and verdict.last_blessed_recall == pytest.approx(5 / 9)
    assert results.read_metrics(found.evaluation, results.LAST_BLESSED)["all"]["hit_rate@2"] == pytest.approx(2 / 3)
    assert verdict.reasons == ([] if blessed else [
        "Recall@2 0.4444 is too much less than that of the last blessed servable on the same users, 0.5556; "
        "evaluation.most_loss allows 15.0% of it"])


def test_a_better_servable_than_the_last_blessed_one_is_blessed(examples, servables, tmp_path):
    first, second = servables
    assert run_evaluator(tmp_path, examples, first, second, config=config(most_loss=0.0)).blessed


def test_two_worker_processes_give_the_same_figures(evaluated, refused):
    assert results.read_metrics(refused.evaluation) == results.read_metrics(evaluated.evaluation)


def test_nobody_held_out_is_a_refusal_in_words(examples, servables, tmp_path):
    for split in ("train", "catalog"):
        shutil.copytree(examples / f"Split-{split}", tmp_path / "examples" / f"Split-{split}")
    toy_log.write(tmp_path / "examples" / "Split-eval", [])
    refused = run_evaluator(tmp_path, tmp_path / "examples", servables[0], config=config())
    assert not refused.blessed and results.read_metrics(refused.evaluation) == {}
    [reason] = results.read_verdict(refused.evaluation).reasons
    assert reason.startswith("nobody was held out")


class EchoServable(tf.Module):
    """Answers the type of the last event, and the user's age."""

    def save(self, directory: str) -> None:
        request = {name: tf.TensorSpec([None, None], kind) for name, kind in (
            ("item_id", tf.string), ("timestamp", tf.int64), ("event_type", tf.string))}
        request |= {name: tf.TensorSpec([None], kind) for name, kind in (
            ("length", tf.int32), ("now", tf.int64), ("profile_age", tf.string))}
        tf.saved_model.save(self, directory, signatures={
            "serving_default": tf.function(self.recommend).get_concrete_function(**request),
            "predict_category": tf.function(self.predict_category).get_concrete_function(**request)})

    def recommend(self, **request):
        last = tf.gather(request["event_type"], request["length"] - 1, batch_dims=1)
        return {"item_id": tf.stack([last, request["profile_age"]], axis=1), "count": tf.fill(tf.shape(last), 2)}

    def predict_category(self, **request):
        return {"category_id": tf.fill([tf.shape(request["length"])[0], 1], "dairy")}


def test_event_types_and_profiles_are_sent_by_name(tmp_path):
    user = {features.USER_ID: ["eve"], **toy_log.stored(["milk", "bread"]), features.EVENT_TYPE: [1, 2],
            features.PROFILE: ["age=45-54", "kids=2"]}  # bread, which is stored first, was bought last and is a view
    toy_log.write(tmp_path / "Split-train", [user])
    toy_log.write(tmp_path / "Split-eval", [
        {**user, features.TARGET_ITEM: ["view", "45-54"], features.TARGET_TIMESTAMP: [10**9]}])
    toy_log.write(tmp_path / "Split-catalog", [{features.CATALOG_ITEM: ["milk"], features.CATALOG_CATEGORY: ["dairy"]}])
    EchoServable().save(str(tmp_path / "servable" / "Format-Serving"))
    asked = run_evaluator(tmp_path, tmp_path, tmp_path / "servable", config=dataclasses.replace(
        config(), features=FeaturesConfig(event_types=("view", "buy"), user_profile=("age", "kids"))))
    assert results.read_metrics(asked.evaluation)["all"]["recall@2"] == 1.0


def test_a_servable_is_asked_with_what_it_reads(servables, tmp_path):
    """An earlier servable may have been made with other features than the examples."""
    EchoServable().save(str(tmp_path / "servable"))
    [answer] = AskedServable(str(tmp_path / "servable")).ask([History(["milk"], [1])])
    assert answer.item.tolist() == [b"", b""]
    [answer] = AskedServable(str(servables[0] / "Format-Serving")).ask(
        [History(["milk"], [1], event_types=["buy"], profile={"age": "45-54"})])
    assert answer.item.tolist() == [b"milk", b"v1-b"]


def test_a_cut_off_beyond_the_answer_is_refused():
    with pytest.raises(ValueError, match=r"evaluation\.at must be at most retrieval\.results, got 4 and 3"):
        make_eval_config(config(at=4))
