"""The exported servable, asked as a server asks it: raw strings in, item ids out."""

import collections
import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from serving.export import export_servable
from tests.serving.servables import only, shared, write_vocabularies
from tests.ulim_tf.examples import item_categories
from ulim_tf import config as settings
from ulim_tf.model import UlimModel

ITEMS, CATEGORIES, RESULTS = 40, 5, 12
ITEM_CATEGORY = item_categories(ITEMS, CATEGORIES)
CONFIG = settings.from_dict(settings.UlimConfig, {
    "history": {"long": 1000, "short": 8, "subsequence": 6},
    "model": {"width": 8, "heads": 2, "hidden": 16},
    "retrieval": {"categories": 3, "per_category": 4, "short_term": 5, "results": RESULTS}})


def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version folder, once all that it was made from is gone."""
    def export(folder: Path) -> None:
        vocabularies = write_vocabularies(folder, ITEMS, CATEGORIES)
        export_servable(make_model(CONFIG), *vocabularies, str(folder / "1"))
        for one in vocabularies:
            Path(one).unlink()

    return shared(tmp_path_factory, "small", export) / "1"


def changed(**retrieval: Any) -> settings.UlimConfig:
    return dataclasses.replace(CONFIG, retrieval=dataclasses.replace(CONFIG.retrieval, **retrieval))


def make_model(config: settings.UlimConfig, **sizes: int) -> UlimModel:
    """Of the same weights every time."""
    tf.keras.utils.set_random_seed(3)
    model = UlimModel(config, ITEMS, CATEGORIES, **sizes)
    model.set_catalog(ITEM_CATEGORY)
    return model


def reloaded(model: UlimModel, folder: Path, *signatures: str):
    """A servable of the model with these signatures."""
    with only(*signatures):
        export_servable(model, *write_vocabularies(folder, ITEMS, CATEGORIES), str(folder / "1"))
    return tf.saved_model.load(str(folder / "1"))


def test_event_types_are_an_input_where_they_are_told_apart(tmp_path):
    model = make_model(dataclasses.replace(CONFIG, features=settings.FeaturesConfig(event_types=("view", "buy"))))
    model.embedding.type_table.assign(np.random.default_rng(0).normal(size=[3, 8]))
    servable = reloaded(model, tmp_path, "serving_default", "predict_category")
    items, times = history(6)
    for name in ("serving_default", "predict_category"):
        def ask(types: list[str], padding=0, name=name) -> np.ndarray:
            answer = servable.signatures[name](
                **request([items], [times], padding=("", 0, padding)),
                event_type=tf.constant([types + ["buy"] * padding]))
            return answer["score" if name == "serving_default" else "probability"].numpy()

        viewed = ask(["view"] * 6)
        assert not np.allclose(viewed, ask(["buy"] * 6))
        np.testing.assert_allclose(viewed, ask(["view"] * 6, padding=3), rtol=1e-4)
        np.testing.assert_allclose(ask(["returned"] * 6), ask([""] * 6), rtol=1e-6)


def test_profiles_are_inputs_where_they_are_read(tmp_path):
    config = dataclasses.replace(CONFIG, features=settings.FeaturesConfig(user_profile=("age", "home")))
    model = make_model(config, profile=3)
    model.user_profile.table.assign(np.random.default_rng(0).normal(size=[4, 8]))
    (tmp_path / "profile").write_text("home=own\nage=40\nage=30\n")
    files = [*write_vocabularies(tmp_path, ITEMS, CATEGORIES), str(tmp_path / "1")]
    with pytest.raises(ValueError, match="has 40 lines, but the model knows 3 profile tokens"):
        export_servable(model, *files, files[0])
    with pytest.raises(ValueError, match="vocabulary of profile tokens must be given for a model that reads them, got"):
        export_servable(model, *files)
    with only("predict_category"):
        export_servable(model, *files, str(tmp_path / "profile"))
    servable = tf.saved_model.load(str(tmp_path / "1"))
    items, times = history(6)

    def ask(age: str, home: str) -> np.ndarray:
        return servable.signatures["predict_category"](
            **request([items], [times]), profile_age=tf.constant([age]), profile_home=tf.constant([home]))[
                "probability"].numpy()

    unknown = ask("", "")
    np.testing.assert_array_equal(unknown, ask("99", "rent"))
    answers = [unknown, ask("30", ""), ask("40", ""), ask("", "own"), ask("40", "own")]
    assert all(not np.allclose(one, two) for one, two in itertools.combinations(answers, 2))


@pytest.fixture(scope="module")
def signatures(tmp_path_factory):
    loaded = tf.saved_model.load(str(exported(tmp_path_factory)))
    yield loaded.signatures


def request(items: list[list[str]], timestamps: list[list[int]], now: list[int] | None = None,
            padding: tuple[str, int, int] = ("", 0, 0)) -> dict[str, tf.Tensor]:
    length = max(map(len, items)) + padding[2]
    return {
        "item_id": tf.constant([row + [padding[0]] * (length - len(row)) for row in items], tf.string,
                               shape=[len(items), length]),
        "timestamp": tf.constant([row + [padding[1]] * (length - len(row)) for row in timestamps], tf.int64,
                                 shape=[len(items), length]),
        "length": tf.constant([len(row) for row in items], tf.int32),
        "now": tf.constant(now or [0] * len(items), tf.int64)}


def history(length: int, seed: int = 0) -> tuple[list[str], list[int]]:
    rng = np.random.default_rng(seed)
    return ([f"item {number}" for number in rng.integers(1, ITEMS + 1, length)],
            np.sort(rng.choice(10**6, length, replace=False) + 1).tolist())


def check(answer: dict[str, tf.Tensor]) -> None:
    """What holds of every answer."""
    answer = {name: value.numpy() for name, value in answer.items()}
    assert {name: (value.dtype, value.ndim) for name, value in answer.items()} == {
        "item_id": (np.dtype(object), 2), "score": (np.dtype(np.float32), 2), "category_id": (np.dtype(object), 2),
        "channel": (np.dtype(np.int32), 2), "count": (np.dtype(np.int32), 1)}
    for row in range(len(answer["count"])):
        count = answer["count"][row]
        ids, scores = answer["item_id"][row], answer["score"][row]
        assert len(ids) == RESULTS and count == RESULTS
        assert len(set(ids)) == RESULTS and (np.diff(scores) <= 0).all() and np.isfinite(scores).all()
        for item, category in zip(ids, answer["category_id"][row]):
            number = int(item.decode().removeprefix("item "))
            assert category.decode() == f"category {ITEM_CATEGORY[number]}"
        assert set(answer["channel"][row]) <= {0, 1, 2}


@pytest.mark.parametrize("length", [0, 1, 100, 1000, 5000])
def test_histories_of_any_length_are_answered(signatures, length):
    items, times = history(length)
    check(signatures["serving_default"](**request([items], [times])))


def test_only_unknown_items_are_answered_like_an_empty_history(signatures):
    unknown = signatures["serving_default"](**request([["??", "item 0", "", "item 41"]], [[5, 6, 7, 8]], now=[99]))
    check(unknown)
    empty = signatures["serving_default"](**request([[]], [[]], now=[99]))
    for name, value in empty.items():
        np.testing.assert_array_equal(unknown[name], value, err_msg=name)


@pytest.mark.parametrize("padding", [("", 0, 3), ("item 7", 5, 40), ("??", -1, 1)])
def test_padding_is_never_read(signatures, padding):
    items, times = history(20)
    for name in ("serving_default", "predict_category"):
        plain = signatures[name](**request([items], [times]))
        padded = signatures[name](**request([items], [times], padding=padding))
        for output, value in plain.items():
            if value.dtype == tf.float32:
                np.testing.assert_allclose(padded[output], value, rtol=1e-4, err_msg=output)
            else:
                np.testing.assert_array_equal(padded[output], value, err_msg=output)


def test_the_order_of_the_events_does_not_matter(signatures):
    items, times = history(30)
    order = np.random.default_rng(1).permutation(30)
    plain = signatures["serving_default"](**request([items], [times]))
    shuffled = signatures["serving_default"](**request([[items[i] for i in order]], [[times[i] for i in order]]))
    np.testing.assert_array_equal(shuffled["item_id"], plain["item_id"])


def test_requests_of_a_batch_do_not_mix(signatures):
    users = [history(length, seed) for seed, length in enumerate((3, 0, 40, 1))]
    together = signatures["serving_default"](**request([u[0] for u in users], [u[1] for u in users]))
    check(together)
    for row, (items, times) in enumerate(users):
        alone = signatures["serving_default"](**request([items], [times]))
        np.testing.assert_array_equal(together["item_id"][row], alone["item_id"][0])
        np.testing.assert_allclose(together["score"][row], alone["score"][0], rtol=1e-3)


def test_a_length_beyond_the_events_reads_them_all(signatures):
    items, times = history(5)
    sent = request([items], [times])
    more = signatures["serving_default"](**{**sent, "length": tf.constant([99])})
    np.testing.assert_array_equal(more["item_id"], signatures["serving_default"](**sent)["item_id"])


def test_categories_are_predicted_with_their_copy_share(signatures):
    items, times = ["item 1", "item 6", "item 2"], [1, 2, 3]  # categories 1, 1 and 2
    answer = signatures["predict_category"](**request([items, []], [times, []]))
    assert answer["category_id"].shape == (2, 3)
    assert (np.diff(answer["probability"], axis=1) <= 0).all()
    assert (answer["probability"].numpy() > 0).all() and (answer["probability"].numpy().sum(axis=1) <= 1).all()
    for category, share in zip(answer["category_id"][0].numpy(), answer["copy_share"][0].numpy()):
        assert (share > 0) == (category in (b"category 1", b"category 2"))
        assert 0 <= share <= 1
    assert answer["copy_share"][1].numpy().tolist() == [0.0, 0.0, 0.0]


def test_the_export_is_hermetic(signatures, tmp_path_factory, tmp_path):
    """A fresh process with nothing of this project, from a copy elsewhere, gives the same answers.

    `test_servables.py` asks the same of the other servables, without ScaNN.
    """
    shutil.copytree(exported(tmp_path_factory), tmp_path / "1")
    items, times = history(50)
    program = textwrap.dedent("""
        import json, sys
        import scann
        import tensorflow as tf
        items, times = json.loads(sys.argv[2])
        assert not [name for name in sys.modules if name.split(".")[0] in ("ulim_tf", "serving", "tfx_pipeline")]
        answer = tf.saved_model.load(sys.argv[1]).signatures["serving_default"](
            item_id=tf.constant([items]), timestamp=tf.constant([times], tf.int64),
            length=tf.constant([len(items)]), now=tf.constant([0], tf.int64))
        print(json.dumps([answer["item_id"].numpy().astype(str).tolist(), answer["score"].numpy().tolist()]))
    """)
    output = subprocess.run([sys.executable, "-I", "-c", program, str(tmp_path / "1"), json.dumps([items, times])],
                            cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    ids, scores = json.loads(output.splitlines()[-1])
    here = signatures["serving_default"](**request([items], [times]))
    assert ids == here["item_id"].numpy().astype(str).tolist()
    np.testing.assert_allclose(scores, here["score"], rtol=1e-4)


@pytest.mark.parametrize("rule", ["quota", "equal_quota"])
def test_quotas_follow_the_predicted_categories(tmp_path, rule):
    """Each next item is of a category with the most probability (to the power 2, or 0) for 2 n + 1, given n items.

    Of several such categories, as with equal quotas, the one whose next item is more frequent.
    """
    config = changed(merge=rule, quota_exponent=2.0, short_share=0.0, per_category=8, results=10)
    servable = reloaded(make_model(config), tmp_path, "serving_default", "predict_category")
    items, times = history(30)
    asked = request([items], [times])
    predicted = servable.signatures["predict_category"](**asked)
    share = predicted["probability"][0].numpy() ** (2.0 if rule == "quota" else 0.0)
    answer = servable.signatures["serving_default"](**asked)
    columns, given, keys = predicted["category_id"][0].numpy().tolist(), np.zeros(3), []
    for category in answer["category_id"][0].numpy():
        due = share / (2 * given + 1)
        keys.append(due[columns.index(category)])
        assert keys[-1] == due.max()
        given[columns.index(category)] += 1
    number = [int(item.decode().removeprefix("item ")) for item in answer["item_id"][0].numpy()]
    assert np.lexsort((number, -np.array(keys))).tolist() == list(range(10))
    assert answer["channel"][0].numpy().tolist() == [0] * 10
    assert len(set(answer["item_id"][0].numpy())) == 10 and (np.diff(answer["score"][0]) <= 0).all()


def test_seen_items_can_be_excluded_however_old(tmp_path):
    config = dataclasses.replace(changed(exclude_seen=True, results=ITEMS),
                                 history=dataclasses.replace(CONFIG.history, long=5))
    servable = reloaded(make_model(config), tmp_path, "serving_default")
    bought = [f"item {number}" for number in range(1, ITEMS - 9)]
    answer = servable.signatures["serving_default"](
        **request([bought], [list(range(1, len(bought) + 1))], padding=("item 40", 0, 3)))
    count = int(answer["count"][0])
    assert count == 10
    assert {item.decode() for item in answer["item_id"][0, :count].numpy()} == {
        f"item {number}" for number in range(ITEMS - 9, ITEMS + 1)}


@pytest.mark.parametrize(("cap", "count"), [(1, CATEGORIES), (3, RESULTS)])
def test_a_category_has_no_more_than_its_cap(tmp_path, cap, count):
    servable = reloaded(make_model(changed(category_cap=cap, exclude_seen=True)), tmp_path, "serving_default")
    users = [history(length, length) for length in (20, 0, 3)]
    answer = servable.signatures["serving_default"](
        **request([user[0] for user in users], [user[1] for user in users]))
    assert answer["count"].numpy().tolist() == [count] * 3
    for row, (seen, _) in enumerate(users):
        assert max(collections.Counter(answer["category_id"][row, :count].numpy()).values()) <= cap
        assert not {item.decode() for item in answer["item_id"][row].numpy()} & set(seen)


def test_diversity_brings_other_categories(tmp_path):
    """Where a second item of a category costs far more than scores differ, each has its first before any a second."""
    servable = reloaded(make_model(changed(diversity=50.0)), tmp_path, "serving_default")
    items, times = history(20)
    answer = servable.signatures["serving_default"](**request([items], [times]))
    check(answer)
    category = answer["category_id"][0, :np.count_nonzero(answer["channel"][0] < 2)].numpy().tolist()
    before = [category[:place].count(one) for place, one in enumerate(category)]
    assert before == sorted(before) and before[-1] > 0


@pytest.mark.parametrize(("items", "categories", "message"), [
    (ITEMS - 1, CATEGORIES, f"has {ITEMS - 1} lines, but the model knows {ITEMS} items"),
    (ITEMS, CATEGORIES + 2, f"has {CATEGORIES + 2} lines, but the model knows {CATEGORIES} categories")])
def test_vocabularies_of_another_model_are_refused(tmp_path, items, categories, message):
    with pytest.raises(ValueError, match=message):
        export_servable(make_model(CONFIG), *write_vocabularies(tmp_path, items, categories), str(tmp_path / "1"))
    assert not (tmp_path / "1").exists()
