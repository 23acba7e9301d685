"""Every signature of `ulim` and `ulim_gpu`, exported by one call, against plain Python, and what filters promise."""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given

from serving import contract
from serving.client import History
from serving.export import export_servable, export_servables
from tests import oracles
from tests.serving import reference
from tests.serving.servables import only, shared, write_vocabularies
from tests.ulim_tf.examples import item_categories
from ulim_tf import config as settings
from ulim_tf.model import UlimModel

ITEMS, CATEGORIES, RESULTS, NOW = 40, 5, 12, 2_000_000
ITEM_CATEGORY = item_categories(ITEMS, CATEGORIES)
CONFIG = settings.from_dict(settings.UlimConfig, {
    "history": {"long": 40, "short": 8, "subsequence": 6},
    "model": {"width": 8, "heads": 2, "hidden": 16},
    "retrieval": {"categories": 3, "per_category": ITEMS, "short_term": 5, "results": RESULTS, "short_share": 0.3}})
INDEXED = ("ulim", "ulim_gpu")
WARM_UP = [History(["item 1"], [5], now=9), History([f"item {1 + one}" for one in range(20)], [*range(20)], now=30)]


class Asked(NamedTuple):
    """A user, and what they may be answered."""

    events: list[oracles.Event]
    exclude: list[str] = []
    allow: list[str] = []
    deny: list[str] = []
    seen: bool = False
    limit: int = 0

    @property
    def allowed(self) -> set[int]:
        """Categories."""
        numbers = range(1, CATEGORIES + 1)
        return {one for one in numbers
                if (not self.allow or f"category {one}" in self.allow) and f"category {one}" not in self.deny}

    @property
    def excluded(self) -> set[int]:
        """Items."""
        seen = {event.item for event in self.events} if self.seen else set()
        return seen | {one for one in range(1, ITEMS + 1) if f"item {one}" in self.exclude}


def events(length: int, seed: int) -> list[oracles.Event]:
    rng = np.random.default_rng(seed)
    return [oracles.Event(int(item), int(time)) for item, time in zip(
        rng.integers(1, ITEMS + 1, length), np.sort(rng.choice(10**6, length, replace=False)) + 1)]


USERS = [
    Asked(events(30, 0)),
    Asked([]),
    Asked(events(1, 1), exclude=["item 3", "??", "item 3", *(f"item {one}" for one in range(8, 30))]),
    Asked(events(20, 2), allow=["category 2", "??", "category 4"]),
    Asked(events(60, 3), deny=["category 1", "category 3", "??"]),
    Asked(events(9, 4), allow=["??"]),
    Asked(events(25, 5), seen=True, limit=4),
    Asked(events(33, 6), allow=["category 2", "category 3"], deny=["category 3"], seen=True, limit=7),
    Asked(events(5, 7), deny=[f"category {one}" for one in range(1, CATEGORIES + 1)]),
    Asked([], allow=["category 5"], exclude=["item 5", "item 10"], limit=99),
]


def request(users: list[Asked], width: int = 0, filtered: bool = True) -> dict[str, tf.Tensor]:
    """Padded with what would change the answer, were it read, by `width` more columns than it takes."""
    def rows(values: list[list], padding, dtype: tf.DType) -> tf.Tensor:
        longest = max(map(len, values)) + width
        return tf.constant([row + [padding] * (longest - len(row)) for row in values], dtype,
                           [len(values), longest])

    def lengths(values: list[list]) -> tf.Tensor:
        return tf.constant([*map(len, values)], tf.int32)

    histories = [user.events for user in users]
    asked = {"item_id": rows([[f"item {event.item}" for event in one] for one in histories], "item 1", tf.string),
             "timestamp": rows([[event.timestamp for event in one] for one in histories], 77, tf.int64),
             "length": lengths(histories), "now": tf.fill([len(users)], tf.constant(NOW, tf.int64))}
    for name, values, padding in (("exclude_item_id", [user.exclude for user in users], "item 2"),
                                  ("allow_category_id", [user.allow for user in users], "category 1"),
                                  ("deny_category_id", [user.deny for user in users], "category 2")):
        if filtered:
            asked |= {name: rows(values, padding, tf.string), f"{name}_length": lengths(values)}
    return asked | ({"exclude_seen": tf.constant([user.seen for user in users]),
                     "limit": tf.constant([user.limit for user in users])} if filtered else {})


def shaken_model(config: settings.UlimConfig = CONFIG) -> UlimModel:
    """With weights that differ enough for answers to differ."""
    tf.keras.utils.set_random_seed(3)
    model = UlimModel(config, ITEMS, CATEGORIES)
    rng = np.random.default_rng(11)
    for variable in model.inference_variables:
        if variable.dtype == tf.float32:
            variable.assign_add(rng.normal(0, 0.3, variable.shape))
    model.set_catalog(ITEM_CATEGORY)
    return model


def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all servables of such a model, and told.json, what was told; what they were made from is gone."""
    def export(folder: Path) -> None:
        told: list[str] = []
        vocabularies = write_vocabularies(folder, ITEMS, CATEGORIES)
        found = export_servables(
            shaken_model(), *vocabularies,
            {name: str(folder / name) for name in (*INDEXED, "ulim_encoder")}, progress=told.append,
            warmup_histories=WARM_UP, data={"Log": "of 1999 | and 2000"})
        assert found.keys() == {*INDEXED} and found["ulim_gpu"].in_category == 1.0
        (folder / "told.json").write_text(json.dumps(told))
        for one in vocabularies:
            Path(one).unlink()

    return shared(tmp_path_factory, "shaken", export)


def loaded(folder: Path) -> dict[str, tf.Module]:
    return {name: tf.saved_model.load(str(folder / name)) for name in INDEXED}


@pytest.fixture(scope="module")
def model():
    yield shaken_model()


@pytest.fixture(scope="module")
def servables(tmp_path_factory):
    yield loaded(exported(tmp_path_factory))


@pytest.fixture(params=INDEXED)
def signatures(request, servables):
    return servables[request.param].signatures


def numpy(answer: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in answer.items()}


def number(item_id: bytes) -> int:
    return int(item_id.decode().removeprefix("item "))


def assert_answer(answer: dict[str, np.ndarray], row: int, expected: list[tuple[int, float | None]]) -> None:
    count = answer["count"][row]
    assert [number(one) for one in answer["item_id"][row, :count]] == [item for item, _ in expected]
    assert answer["item_id"][row, count:].tolist() == [b""] * (RESULTS - count)
    assert answer["category_id"][row].tolist() == [
        f"category {ITEM_CATEGORY[item]}".encode() for item, _ in expected] + [b""] * (RESULTS - count)
    found = [score for _, score in expected if score is not None]
    np.testing.assert_allclose(answer["score"][row, :len(found)], found, rtol=1e-3, atol=1e-4)
    assert (answer["channel"][row, :count] == 2).tolist() == [score is None for _, score in expected]
    assert (np.diff(answer["score"][row, :count]) <= 0).all()


@pytest.mark.parametrize("width", [0, 3])
def test_retrieve_answers_as_plain_python_does(model, signatures, width):
    answer = numpy(signatures["retrieve"](**request(USERS, width)))
    for row, user in enumerate(USERS):
        read = reference.interests(model, user.events, NOW, user.allowed)
        assert_answer(answer, row, reference.answer(model, read, user.allowed, user.excluded, user.limit))
    assert answer["count"].tolist() == [12, 12, 12, 12, 12, 0, 4, *answer["count"][7:8].tolist(), 0, 6]


def test_serving_default_answers_as_plain_python_and_as_retrieve_without_filters(model, signatures):
    users = [Asked(user.events) for user in USERS]
    answer = numpy(signatures["serving_default"](**request(users, filtered=False)))
    for row, user in enumerate(users):
        read = reference.interests(model, user.events, NOW)
        assert_answer(answer, row, reference.answer(model, read, None, (), 0))
    for name, value in signatures["retrieve"](**request(users)).items():
        np.testing.assert_array_equal(value, answer[name], err_msg=name)


def test_each_user_is_answered_as_alone(signatures):
    together = numpy(signatures["retrieve"](**request(USERS)))
    for row, user in enumerate(USERS):
        for name, value in numpy(signatures["retrieve"](**request([user]))).items():
            if value.dtype == np.float32:
                np.testing.assert_allclose(value[0], together[name][row], rtol=1e-3, err_msg=name)
            else:
                np.testing.assert_array_equal(value[0], together[name][row], err_msg=name)


def test_explanations_are_the_parts_of_the_answer(model, signatures):
    told, answer = (numpy(signatures[name](**request(USERS, 2))) for name in ("explain", "retrieve"))
    for name, value in answer.items():
        np.testing.assert_array_equal(told[name], value, err_msg=name)
    longest = 0
    for row, user in enumerate(USERS):
        read = reference.interests(model, user.events, NOW, user.allowed)
        for rank in range(RESULTS):
            category = ITEM_CATEGORY[number(told["item_id"][row, rank])] if rank < told["count"][row] else 0
            assert told["copied"][row, rank] == pytest.approx(read.copied[category], abs=1e-6)
            assert told["generated"][row, rank] == pytest.approx(
                read.probability[category] - read.copied[category], abs=1e-6)
            weight = {}  # of each event, by its time
            if category in read.category:
                column = read.category.index(category)
                attention = read.long.attention.numpy()[read.long.owner.numpy() == column]
                weight = {event.timestamp: (event.item, one) for event, one in zip(read.events[column], attention)}
            shown = min(5, len(weight))
            longest = max(longest, shown)
            times = told["event_timestamp"][row, rank].tolist()
            assert len(set(times[:shown])) == shown and times[shown:] == [0] * (5 - shown)
            assert told["event_item_id"][row, rank].tolist() == [
                f"item {weight[time][0]}".encode() for time in times[:shown]] + [b""] * (5 - shown)
            weights = [weight[time][1] for time in times[:shown]]
            np.testing.assert_allclose(weights, sorted((one for _, one in weight.values()), reverse=True)[:shown],
                                       atol=1e-5)
            np.testing.assert_allclose(told["event_weight"][row, rank], [*weights, *[0.0] * (5 - shown)], atol=1e-5)
    assert longest == 5


def test_an_explanation_names_events_as_they_were_asked(tmp_path):
    """Those of items without a row too, "rare 1" and "rare 2", whose category is 3."""
    model = UlimModel(settings.from_dict(settings.UlimConfig, {
        **settings.to_dict(CONFIG), "vocabulary": {"least_events": 2, "oov_buckets": 4}}), ITEMS, CATEGORIES)
    model.set_catalog(ITEM_CATEGORY)
    (tmp_path / "rare").write_text("rare 1\x1f3\nrare 2\x1f3\n")
    with only("explain"):
        export_servable(model, *write_vocabularies(tmp_path, ITEMS, CATEGORIES), str(tmp_path / "1"),
                        rare_vocabulary=str(tmp_path / "rare"))
    histories = [["rare 1", "item 3", "rare 2"], ["rare 2"], ["nowhere"], ["item 8"], []]
    asked = request([Asked([])] * len(histories), width=3) | {
        "item_id": tf.constant([one + ["item 1"] * (3 - len(one)) for one in histories]),
        "timestamp": tf.constant([[10, 20, 30]] * len(histories), tf.int64),
        "length": tf.constant([*map(len, histories)])}
    told = numpy(tf.saved_model.load(str(tmp_path / "1")).signatures["explain"](**asked))
    named = [set(zip(names.ravel().tolist(), times.ravel().tolist()))
             for names, times in zip(told["event_item_id"], told["event_timestamp"])]
    assert named == [{(b"rare 1", 10), (b"item 3", 20), (b"rare 2", 30), (b"", 0)}, {(b"rare 2", 10), (b"", 0)},
                     {(b"", 0)}, {(b"item 8", 10), (b"", 0)}, {(b"", 0)}]


def test_users_and_categories_are_encoded(model, signatures):
    users = [Asked(user.events) for user in USERS]
    encoded, predicted = (numpy(signatures[name](**request(users, 2, filtered=False)))
                          for name in ("encode_user", "predict_category"))
    for row, user in enumerate(users):
        read = reference.interests(model, user.events, NOW)
        probability, copied = read.probability[read.category], read.copied[read.category]
        for answer in (encoded, predicted):
            assert answer["category_id"][row].tolist() == [f"category {one}".encode() for one in read.category]
            np.testing.assert_allclose(answer["probability"][row], probability, rtol=1e-4)
        np.testing.assert_allclose(predicted["copy_share"][row], copied / probability, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(encoded["interest"][row], read.short[0], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(encoded["short_vector"][row], model.short_vector(read.short)[0], rtol=1e-3,
                                   atol=1e-5)
        np.testing.assert_allclose(encoded["long_vector"][row], read.long.vector[0], rtol=1e-3, atol=1e-5)


def test_a_dot_product_of_what_is_encoded_is_the_score(model, signatures):
    """The same items of a category lead its search, whoever searches it; unknown items score nothing."""
    every = [f"item {one}" for one in range(1, ITEMS + 1)]
    items = numpy(signatures["encode_item"](item_id=tf.constant([*every, "??", ""])))
    assert items["known"].tolist() == [True] * ITEMS + [False] * 2
    assert items["category_id"].tolist() == [f"category {one}".encode() for one in ITEM_CATEGORY[1:]] + [b""] * 2
    assert not items["vector"][ITEMS:].any()
    table = {name: getattr(model.embedding, f"{name}_table").numpy() for name in ("item", "category", "bias")}
    np.testing.assert_allclose(items["vector"][:ITEMS], np.column_stack([
        table["item"][1:] + table["category"][ITEM_CATEGORY[1:]], table["bias"][1:]]), rtol=1e-5, atol=1e-6)
    user = USERS[0]._replace(exclude=[])
    encoded = numpy(signatures["encode_user"](**request([user], filtered=False)))
    assert (encoded["short_vector"][:, -1] == 1).all() and (encoded["long_vector"][..., -1] == 1).all()


@hypothesis.settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", INDEXED)
def test_filters_keep_what_they_promise(servables, name, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    users = [Asked(
        events(int(rng.integers(0, 50)), int(rng.integers(99))),
        exclude=[f"item {one}" for one in rng.integers(0, ITEMS + 2, rng.integers(0, 40))],
        allow=[f"category {one}" for one in rng.integers(0, CATEGORIES + 2, rng.integers(0, 4))],
        deny=[f"category {one}" for one in rng.integers(0, CATEGORIES + 2, rng.integers(0, 4))],
        seen=bool(rng.integers(2)), limit=int(rng.integers(0, RESULTS + 5))) for _ in range(rng.integers(1, 5))]
    answer = numpy(servables[name].signatures["retrieve"](**request(users, int(rng.integers(3)))))
    for row, user in enumerate(users):
        may = {one for one in range(1, ITEMS + 1) if ITEM_CATEGORY[one] in user.allowed} - user.excluded
        items = [number(one) for one in answer["item_id"][row, :answer["count"][row]]]
        assert set(items) <= may and len(set(items)) == len(items)
        assert len(items) == min(len(may), user.limit or RESULTS, RESULTS)


def test_a_shop_that_never_repeats_does_not_under_filters_either(tmp_path):
    """And excluded items use up no place of a search: two of each category come after those that led it."""
    retrieval = dataclasses.replace(CONFIG.retrieval, exclude_seen=True, per_category=2, short_term=2, results=RESULTS)
    with only("serving_default", "retrieve"):
        export_servables(shaken_model(dataclasses.replace(CONFIG, retrieval=retrieval)),
                         *write_vocabularies(tmp_path, ITEMS, CATEGORIES),
                         {name: str(tmp_path / name) for name in INDEXED})
    for signatures in (servable.signatures for servable in loaded(tmp_path).values()):
        plain = numpy(signatures["serving_default"](**request([Asked([])], filtered=False)))
        found = plain["item_id"][0][plain["channel"][0] < 2]
        seen = [oracles.Event(number(one), 5) for one in found]
        for answer in (signatures["retrieve"](**request([Asked(seen)])),
                       signatures["serving_default"](**request([Asked(seen)], filtered=False))):
            answer = numpy(answer)
            assert not set(answer["item_id"][0]) & set(found)
            assert np.count_nonzero(answer["channel"][0] < 2) >= 2 * CONFIG.retrieval.categories
            assert answer["count"][0] == RESULTS


def test_what_is_no_servable_is_refused(model, tmp_path):
    vocabularies = write_vocabularies(tmp_path, ITEMS, CATEGORIES)
    for directories, got in (({"ulim": "a", "ulim_tpu": "b"}, "ulim_tpu"), ({}, "none")):
        with pytest.raises(ValueError, match=f"directories must name servables of ulim, ulim_gpu, ulim_encoder, got "
                                             f"{got}. Leave out"):
            export_servables(model, *vocabularies, directories)


def test_the_contract_names_what_is_there(signatures):
    for name, outputs in contract.OUTPUTS.items():
        assert {alias: (value.dtype.name, value.shape.rank) for alias, value in
                signatures[name].structured_outputs.items()} == {
                    alias: (dtype, len(axes)) for alias, (dtype, axes) in outputs.items()}
