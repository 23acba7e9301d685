"""A new catalogue with a trained model's weights: who is answered, where items stand, what is refused."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from serving import refresh
from serving.export import export_servable
from serving.refresh import Catalog, Vocabularies, refresh_servables
from serving.signatures import Servable
from tests.serving.servables import only
from tests.ulim_tf.examples import item_categories
from ulim_tf import config as settings
from ulim_tf.model import UlimModel

ITEMS, CATEGORIES, BRANDS, WIDTH = 40, 5, 3, 8
ITEM_CATEGORY = item_categories(ITEMS, CATEGORIES)
BRAND = np.append(0, 1 + np.arange(ITEMS) % BRANDS)
REMOVED = [1, 2, 7, 33]
MOVED, MOVED_TO = 3, 5
TWIN = 20  # has no row of its own and the smallest bias of its category, as a new item will have
UNKNOWN_BRAND = 30
CONFIG = settings.from_dict(settings.UlimConfig, {
    "features": {"item_content": ["brand"]}, "history": {"long": 100, "short": 8, "subsequence": 6},
    "model": {"width": WIDTH, "heads": 2, "hidden": 16},
    "retrieval": {"categories": CATEGORIES, "per_category": ITEMS, "short_term": 5, "results": ITEMS + 5}})


def make_model() -> UlimModel:
    tf.keras.utils.set_random_seed(3)
    model = UlimModel(CONFIG, ITEMS, CATEGORIES, content=BRANDS, tokens=1)
    model.set_catalog(ITEM_CATEGORY, BRAND[:, None])
    rng = np.random.default_rng(0)
    rows, bias = rng.normal(0, 0.5, [ITEMS + 1, WIDTH]), rng.normal(0, 0.5, ITEMS + 1)
    rows[TWIN], bias[TWIN] = 0.0, -3.0
    model.embedding.item_table.assign(rows)
    model.embedding.bias_table.assign(bias)
    model.embedding.content_table.assign(rng.normal(0, 0.5, [BRANDS + 1, WIDTH]))
    return model


@pytest.fixture(scope="module", autouse=True)
def no_more_than_is_asked():
    with only("serving_default", "predict_category"):
        yield


@pytest.fixture(scope="module")
def model():
    yield make_model()


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabularies")
    lines = {"item": (f"item {number}" for number in range(1, ITEMS + 1)),
             "category": (f"category {number}" for number in range(1, CATEGORIES + 1)),
             "content": (f"brand={number}" for number in range(1, BRANDS + 1))}
    for name, ids in lines.items():
        (folder / name).write_text("".join(f"{one}\n" for one in ids))
    yield Vocabularies(*(str(folder / name) for name in lines))


def rows_of(numbers) -> list[tuple[str, str, str]]:
    return [(f"item {one}", f"category {ITEM_CATEGORY[one]}", f"brand={BRAND[one]}") for one in numbers]


def catalog_of(rows) -> Catalog:
    return Catalog(*(np.array([value.encode() for value in column], object) for column in zip(*rows)))


WHOLE = rows_of(range(1, ITEMS + 1))
CHANGED = [
    ("item 4", "category 1", "brand=1"),  # overruled by its later row
    ("new twin", f"category {ITEM_CATEGORY[TWIN]}", f"brand={BRAND[TWIN]}"),
    ("new of no brand", "category 2", "brand=nobody's"),
    ("new of no category", "category 9", "brand=1"),
    *(row for row in rows_of(set(range(1, ITEMS + 1)) - set(REMOVED)) if row[0] != f"item {MOVED}"),
    (f"item {MOVED}", f"category {MOVED_TO}", f"brand={BRAND[MOVED]}"),
]
KEPT = [f"item {one}" for one in range(1, ITEMS + 1) if one not in REMOVED]


@pytest.fixture(scope="module")
def refreshed(model, vocabularies, tmp_path_factory):
    """The report, the folder and its signatures, of the changed catalogue."""
    folder, told = tmp_path_factory.mktemp("refreshed") / "1", []
    report = refresh_servables(model, vocabularies, catalog_of(CHANGED), {"ulim": str(folder)}, told.append)
    assert told[0].startswith("placing") and told[-1].startswith("checking") and "embedding 38 items" in told
    loaded = tf.saved_model.load(str(folder))
    yield report, folder, loaded.signatures


def ask(signatures, users: list[list[str]], name: str = "serving_default") -> dict[str, np.ndarray]:
    longest = max(1, *map(len, users))
    answer = signatures[name](
        item_id=tf.constant([user + [""] * (longest - len(user)) for user in users]),
        timestamp=tf.tile(tf.range(1, longest + 1, dtype=tf.int64)[None] * 1000, [len(users), 1]),
        length=tf.constant([len(user) for user in users]), now=tf.zeros([len(users)], tf.int64))
    return {name: value.numpy() for name, value in answer.items()}


def histories(users: int, seed: int) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [[f"item {one}" for one in rng.integers(1, ITEMS + 1, rng.integers(0, 30))] for _ in range(users)]


def test_the_same_catalogue_gives_the_same_answers(model, vocabularies, tmp_path):
    export_servable(model, vocabularies.item, vocabularies.category, str(tmp_path / "before"))
    report = refresh_servables(model, vocabularies, catalog_of(WHOLE[::-1]), {"ulim": str(tmp_path / "after")})
    assert report._replace(sha256="") == refresh.Refreshed(ITEMS, 0, 0, 0, 0, 0, {}, 0, "")
    for name in ("serving_default", "predict_category"):
        before, after = (ask(tf.saved_model.load(str(tmp_path / one)).signatures, histories(8, 1), name)
                         for one in ("before", "after"))
        for output, value in before.items():
            np.testing.assert_array_equal(after[output], value, err_msg=output)


def test_the_report_counts(refreshed):
    report = refreshed[0]
    assert report._replace(sha256="") == refresh.Refreshed(
        candidates=ITEMS - len(REMOVED) + 2, new=2, moved=1, removed=len(REMOVED), rare=0, repeated=1,
        skipped={"new of no category": "unknown category 'category 9'"}, unknown_tokens=1, sha256="")


def test_two_hundred_answers_hold_the_new_items_and_never_a_removed_one(refreshed):
    users = histories(200, 2)
    assert sum(f"item {REMOVED[0]}" in user for user in users) > 50
    answer = ask(refreshed[2], users)
    wanted = sorted([*KEPT, "new twin", "new of no brand"])
    assert answer["count"].tolist() == [len(wanted)] * 200
    for items, scores in zip(answer["item_id"], answer["score"]):
        assert sorted(one.decode() for one in items[:len(wanted)]) == wanted and set(items[len(wanted):]) == {b""}
        assert np.isfinite(scores).all()


def test_removed_items_fill_up_no_answer(vocabularies, tmp_path):
    model = UlimModel(settings.from_dict(settings.UlimConfig, {
        **settings.to_dict(CONFIG), "features": {},
        "retrieval": {"categories": 1, "per_category": 1, "short_term": 1, "results": 8}}), ITEMS, CATEGORIES)
    model.set_catalog(ITEM_CATEGORY)
    catalog = catalog_of(row for row in WHOLE if row[0] in KEPT)
    refresh_servables(model, vocabularies, catalog, {"ulim": str(tmp_path / "1")})
    answer = ask(tf.saved_model.load(str(tmp_path / "1")).signatures, [[]])
    filled = [one.decode() for one in answer["item_id"][0][answer["channel"][0] == 2]]
    assert len(filled) >= 6 and filled == [one for one in KEPT if one in filled]
    assert set(filled) <= set(KEPT[:8])  # the most frequent


def test_removed_items_are_read_in_histories(refreshed):
    with_them, without = ask(refreshed[2], [["item 11", "item 1", "item 2"], ["item 11"]], "predict_category")[
        "probability"]
    assert not np.allclose(with_them, without)


def test_a_moved_item_comes_back_in_its_new_category(refreshed):
    answer = ask(refreshed[2], histories(5, 3))
    category = dict(zip(answer["item_id"].ravel(), answer["category_id"].ravel()))
    assert category[f"item {MOVED}".encode()] == f"category {MOVED_TO}".encode()
    assert category[b"item 4"] == f"category {ITEM_CATEGORY[4]}".encode()
    assert category[b"new of no brand"] == b"category 2"


def test_a_new_item_scores_as_one_that_has_only_what_it_has(refreshed):
    answer = ask(refreshed[2], [["item 11", "item 12"], []])
    for items, scores in zip(answer["item_id"], answer["score"]):
        score = dict(zip(items, scores))
        assert score[b"new twin"] == pytest.approx(score[f"item {TWIN}".encode()], rel=1e-5)
        assert score[b"new twin"] != pytest.approx(score[b"new of no brand"], rel=1e-3)


def test_vectors_of_another_catalogue(model):
    category = np.concatenate([ITEM_CATEGORY, [2, 4]])
    category[MOVED] = MOVED_TO
    other = model.with_catalog(category, np.concatenate([np.pad(BRAND[:, None], [(0, 0), (0, 1)]), [[3, 1], [0, 0]]]))
    table = {name: getattr(model.embedding, f"{name}_table").numpy()
             for name in ("item", "bias", "category", "content")}
    asked = np.array([MOVED, ITEMS + 1, ITEMS + 2])
    found = other.embedding.candidate(asked).numpy()
    least = [table["bias"][np.flatnonzero(of == ITEM_CATEGORY)].min() for of in (2, 4)]
    expected = [
        np.append(table["item"][MOVED] + table["category"][MOVED_TO] + table["content"][BRAND[MOVED]],
                  table["bias"][MOVED]),
        np.append(table["category"][2] + table["content"][3] + table["content"][1], least[0]),
        np.append(table["category"][4], least[1])]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found, model.embedding.candidate_elsewhere(
        asked, model.biases(category)[asked], category[asked], other.embedding.item_content.numpy()[asked]))
    assert model.items == ITEMS and (model.embedding.item_category.numpy() == ITEM_CATEGORY).all()


def test_the_written_weights_are_those_of_the_model(refreshed, model):
    report, folder, _ = refreshed
    written = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    digest = hashlib.sha256()
    for place, variable in enumerate(model.inference_variables):
        if variable.dtype == tf.int64:  # categories and content of items, which the catalogue says
            continue
        value = written.get_tensor(f"weights/{place}/.ATTRIBUTES/VARIABLE_VALUE")
        if value.shape != variable.shape:
            assert value.shape[0] == ITEMS + 1 + 2 and variable.shape[0] == ITEMS + 1
            value = value[:ITEMS + 1]
        np.testing.assert_array_equal(value, variable.numpy())
        digest.update(f"float32 {value.shape}".encode() + value.tobytes())
    assert report.sha256 == digest.hexdigest()


def test_a_weight_that_changed_is_noticed_and_nothing_is_left(model, vocabularies, tmp_path, monkeypatch):
    def servable_of_another(of, *args):
        of.embedding.item_table.assign(tf.tensor_scatter_nd_add(of.embedding.item_table, [[5, 0]], [1e-6]))
        return Servable(of, *args)

    monkeypatch.setattr(refresh, "Servable", servable_of_another)
    with pytest.raises(RuntimeError, match="the weights in the new servable must be those of the model, sha256"):
        refresh_servables(model, vocabularies, catalog_of(WHOLE), {"ulim": str(tmp_path / "1")})
    assert list(tmp_path.iterdir()) == []


def test_a_category_may_lose_all_its_items(model, vocabularies, tmp_path):
    refresh_servables(model, vocabularies, catalog_of(row for row in WHOLE if row[1] != "category 1"),
                      {"ulim": str(tmp_path / "1")})
    gone = [row[0] for row in WHOLE if row[1] == "category 1"]
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    users = [gone, [], [*gone[:1], "item 12"]]
    assert (ask(signatures, users, "predict_category")["category_id"][0] == b"category 1").any()
    answer = ask(signatures, users)
    assert answer["count"].tolist() == [ITEMS - len(gone)] * 3
    assert np.isfinite(answer["score"]).all() and (np.diff(answer["score"][:, :ITEMS - len(gone)]) <= 0).all()
    assert b"category 1" not in answer["category_id"]


def test_items_without_a_row_stay_so_and_their_buckets_are_read(vocabularies, tmp_path):
    """Rare are "rare 1" and "rare 2", whose category is 3; the catalogue has one of them, and a new item."""
    tf.keras.utils.set_random_seed(3)
    model = UlimModel(settings.from_dict(settings.UlimConfig, {
        **settings.to_dict(CONFIG), "features": {}, "vocabulary": {"least_events": 2, "oov_buckets": 4}}), ITEMS,
        CATEGORIES)
    model.set_catalog(ITEM_CATEGORY)
    model.embedding.item_table.assign(np.random.default_rng(0).normal(0, 0.5, [ITEMS + 5, WIDTH]))
    (tmp_path / "rare").write_text("rare 1\x1f3\nrare 2\x1f3\n")
    vocabularies = vocabularies._replace(rare=str(tmp_path / "rare"))
    export_servable(model, vocabularies.item, vocabularies.category, str(tmp_path / "before"),
                    rare_vocabulary=vocabularies.rare)
    rare = ("rare 1", "category 2", "brand=1")
    reports = [refresh_servables(model, vocabularies, catalog_of([*WHOLE, rare, *more]), {"ulim": str(tmp_path / name)})
               for name, more in (("same", []), ("more", [("new", "category 1", "brand=1")]))]
    assert reports[0]._replace(sha256="") == refresh.Refreshed(ITEMS, 0, 0, 0, 1, 0, {}, 0, "")
    assert reports[1]._replace(sha256="") == refresh.Refreshed(ITEMS + 1, 1, 0, 0, 1, 0, {}, 0, "")
    assert reports[0].sha256 == reports[1].sha256
    users = [["rare 1", "item 7"], ["rare 2"], ["nowhere"], ["item 3"], []]
    loaded = (tf.saved_model.load(str(tmp_path / folder)) for folder in ("before", "same", "more"))
    before, same, more = ({name: ask(one.signatures, users, name) for name in ("serving_default", "predict_category")}
                          for one in loaded)
    for name, outputs in before.items():
        for output, value in outputs.items():
            np.testing.assert_array_equal(same[name][output], value, err_msg=output)
    for output, value in before["predict_category"].items():  # a new number before the buckets moves none of them
        np.testing.assert_array_equal(more["predict_category"][output], value, err_msg=output)
    assert more["serving_default"]["count"].tolist() == [ITEMS + 1] * len(users)
    assert set(more["serving_default"]["item_id"].ravel()) == {
        b"new", b"", *(row[0].encode() for row in WHOLE)}
    probability = before["predict_category"]["probability"]
    assert len(np.unique(probability.round(5), axis=0)) == len(users), "buckets are read"


@pytest.mark.parametrize(("rows", "message"), [
    ([], "catalog must have at least one row, got none"),
    ([*WHOLE, *((f"new {one}", "category 6", "brand=1") for one in range(3))],
     "at most 5% of the catalogue's items may be skipped, got 3 of 43: 'new 0': unknown category 'category 6'.*Train"),
    ([("two\nlines", "category 1", "brand=1"), ("item 1", "category 1", "brand=1")], "an id must be one line of text"),
])
def test_wrong_catalogues_are_refused_and_leave_nothing(model, vocabularies, tmp_path, rows, message):
    catalog = catalog_of(rows) if rows else Catalog(*[np.zeros(0, object)] * 3)
    with pytest.raises(ValueError, match=message):
        refresh_servables(model, vocabularies, catalog, {"ulim": str(tmp_path / "1")})
    assert list(tmp_path.iterdir()) == []


def test_content_that_the_model_reads_has_to_be_given(model, vocabularies, tmp_path):
    with pytest.raises(ValueError, match=r"catalog must have content, got none.*features.item_content: brand"):
        refresh_servables(model, vocabularies, catalog_of(WHOLE)._replace(content=None), {"ulim": str(tmp_path / "1")})


def test_what_is_there_is_not_overwritten(model, vocabularies, tmp_path):
    (tmp_path / "kept").write_text("as it was")
    with pytest.raises(ValueError, match="directory must not exist yet"):
        refresh_servables(model, vocabularies, catalog_of(WHOLE), {"ulim": str(tmp_path)})
    assert (tmp_path / "kept").read_text() == "as it was"
