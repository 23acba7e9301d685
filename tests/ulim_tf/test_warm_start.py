"""Rows go from one vocabulary to another by id; expected values are looped for by hand."""

import numpy as np
import pytest
import tensorflow as tf

from ulim_tf import config as settings
from ulim_tf import history
from ulim_tf.model import UlimModel
from ulim_tf.warm_start import EarlierRows, differences, earlier_rows, warm_start

# Of each item its category and the tokens of its content. The new catalogue has the items in another order, without i2,
# and with four that are new: i7 has a known token, i8 a new one only, i9 none in a category without earlier items.
BEFORE = {"i1": ("ca", "red"), "i2": ("cb", ""), "i3": ("cb", "big"), "i4": ("ca", ""), "i5": ("cb", "red big")}
AFTER = {"i5": ("cb", "red big"), "i7": ("ca", "new red"), "i1": ("ca", "red"), "i8": ("cb", "new"),
         "i9": ("cnew", ""), "i3": ("cb", "big"), "i4": ("cb", ""), "i6": ("cnew", "")}
GROWN_AND_SHRUNK = ("cnew", "cb", "ca"), ("new", "red", "big"), ("p2", "p3", "p1")
PERMUTED = dict(reversed(BEFORE.items()))
WIDTH = 4


class Shop:
    """A model of a catalogue, every weight of it drawn by chance."""

    def __init__(self, catalog: dict[str, tuple[str, str]], categories: tuple[str, ...], tokens: tuple[str, ...],
                 profile: tuple[str, ...], item_vectors: str, seed: int, buckets: int = 0):
        self.ids = {"item": list(catalog), "category": list(categories), "content": list(tokens),
                    "profile": list(profile)}
        config = settings.from_dict(settings.UlimConfig, {
            "model": {"width": WIDTH, "heads": 1, "hidden": 6, "item_vectors": item_vectors},
            "features": {"item_content": ["colour"], "user_profile": ["age"]},
            "vocabulary": {"least_events": 2, "oov_buckets": buckets}})
        self.model = UlimModel(config, len(catalog), len(categories), len(tokens), 2, len(profile))
        self.model.set_catalog(
            np.array([0, *(1 + categories.index(category) for category, _ in catalog.values())]),
            np.array([[0, 0], *([1 + tokens.index(one) for one in text.split()] + [0] * (2 - len(text.split()))
                                for _, text in catalog.values())]))
        rng = np.random.default_rng(seed)
        for weight in [*self.model.inference_variables, self.model.popularity_shift]:
            if weight.dtype.is_floating:
                weight.assign(rng.normal(size=weight.shape))

    def tables(self) -> list[tuple[str, np.ndarray, str]]:
        """What has a row for each id: kind, rows, name."""
        model, embedding = self.model, self.model.embedding
        kernel, bias = model.pointer_generator.category_outputs
        return [("item", embedding.item_table.numpy(), "vectors"), ("item", embedding.bias_table.numpy(), "bias"),
                ("item", model.popularity_shift.numpy(), "shift"),
                ("category", embedding.category_table.numpy(), "vectors"),
                ("category", kernel.numpy().T, "PGIN's weights"), ("category", bias.numpy(), "PGIN's bias"),
                ("content", embedding.content_table.numpy(), "vectors"),
                ("profile", model.user_profile.table.numpy(), "vectors")]

    def row(self, kind: str, one: str) -> int:
        return 1 + self.ids[kind].index(one)


def rows(new: Shop, old: Shop) -> EarlierRows:
    return EarlierRows(*(earlier_rows(*([one.encode() for one in shop.ids[kind]] for shop in (new, old)))
                         for kind in EarlierRows._fields))


def started(catalog, names, item_vectors="learned") -> tuple[Shop, Shop, Shop]:
    """The earlier shop, the new one after its warm start, and as it was before that."""
    old = Shop(BEFORE, ("ca", "cb"), ("red", "big"), ("p1", "p2"), item_vectors, 0)
    new, before = (Shop(catalog, *names, item_vectors, 1) for _ in range(2))
    warm_start(new.model, old.model, rows(new, old))
    return old, new, before


@pytest.mark.parametrize("item_vectors", ["learned", "fixed", "started"])
@pytest.mark.parametrize(("catalog", "names"), [
    (AFTER, GROWN_AND_SHRUNK), (PERMUTED, (("cb", "ca"), ("big", "red"), ("p2", "p1"))),
    ({"i3": ("cb", ""), "i1": ("ca", "red")}, (("cb", "ca"), ("red",), ("p2",)))])
def test_what_both_know_keeps_its_rows_bit_by_bit(catalog, names, item_vectors):
    old, new, _ = started(catalog, names, item_vectors)
    for (kind, before, name), (_, after, _) in zip(old.tables(), new.tables()):
        shared = set(old.ids[kind]) & set(new.ids[kind])
        assert shared
        for one in shared:
            np.testing.assert_array_equal(after[new.row(kind, one)], before[old.row(kind, one)], f"{name} of {one}")
        np.testing.assert_array_equal(after[0], before[0])


def test_a_permuted_vocabulary_gives_the_same_answers():
    """So no weight that belongs to an item, a category or a token was left where it was."""
    old, new, before = started(PERMUTED, (("cb", "ca"), ("big", "red"), ("p2", "p1")))

    def answers(shop: Shop) -> dict[str, np.ndarray]:
        items, categories = [[shop.row("item", one) for one in ("i5", "i1", "i2")]], [
            [shop.row("category", one) for one in ("ca", "cb")]]
        moments = {history.SHORT_ITEM: items,
                   history.SHORT_CATEGORY: [[int(shop.model.embedding.item_category[item]) for item in items[0]]],
                   history.SHORT_AGE: [[10**6, 9, 3]], history.SHORT_LENGTH: [3],
                   history.CATEGORY: categories, history.CATEGORY_COUNT: [[1, 2]], history.CATEGORY_AGE: [[9, 3]],
                   history.CATEGORY_SPAN: [[0, 10**6]], history.PROFILE: [[shop.row("profile", "p2")]]}
        moments = {name: tf.constant(values, tf.int64) for name, values in moments.items()}
        found = shop.model(moments)
        long = shop.model.long_interests(shop.model.short_interest(moments), moments[history.CATEGORY], {
            history.SUBSEQUENCE_ITEM: tf.constant([[[shop.row("item", "i1"), 0], [shop.row("item", "i5"),
                                                                                 shop.row("item", "i2")]]], tf.int64),
            history.SUBSEQUENCE_AGE: tf.constant([[[9, 0], [10**6, 3]]], tf.int64),
            history.SUBSEQUENCE_LENGTH: tf.constant([[1, 2]], tf.int64)})
        by_id = [shop.row("category", one) for one in ("ca", "cb")]
        candidate = shop.model.embedding.candidate(tf.constant([shop.row("item", one) for one in BEFORE], tf.int64))
        return {"short": found["short_vector"], "category": found["probability"].numpy()[:, by_id],
                "long": long.vector, "gate": long.gate, "attention": long.attention, "candidate": candidate}

    expected, found, other = answers(old), answers(new), answers(before)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
        assert np.abs(np.subtract(other[name], expected[name])).max() > 1e-4, "without the warm start it differs"


def test_new_rows_come_from_content_and_from_means():
    old, new, before = started(AFTER, GROWN_AND_SHRUNK)
    of = {(kind, name): table for kind, table, name in old.tables()}
    made = {(kind, name): table for kind, table, name in new.tables()}
    chance = {(kind, name): table for kind, table, name in before.tables()}

    def mean(name: str, ids: list[str]) -> np.ndarray:
        return np.mean([of["item", name][old.row("item", one)] for one in ids], axis=0)

    everything = list(BEFORE)
    in_cb = ["i5", "i3", "i4"]  # those of the new catalogue: i4 has moved there, i2 is gone
    for name, expected in (("vectors", {"i7": np.zeros(WIDTH), "i8": mean("vectors", in_cb),
                                        "i9": mean("vectors", everything), "i6": mean("vectors", everything)}),
                           *((name, {"i7": mean(name, ["i1"]), "i8": mean(name, in_cb), "i9": mean(name, everything)})
                             for name in ("bias", "shift"))):
        for one, row in expected.items():
            np.testing.assert_allclose(made["item", name][new.row("item", one)], row, rtol=1e-5, atol=1e-6,
                                       err_msg=f"{name} of {one}")
    for name in ("vectors", "PGIN's weights", "PGIN's bias"):
        np.testing.assert_allclose(made["category", name][new.row("category", "cnew")],
                                   of["category", name][1:].mean(axis=0), rtol=1e-5, atol=1e-6, err_msg=name)
    for kind, one in (("content", "new"), ("profile", "p3")):
        np.testing.assert_array_equal(made[kind, "vectors"][new.row(kind, one)],
                                      chance[kind, "vectors"][new.row(kind, one)])


@pytest.mark.parametrize("item_vectors", ["fixed", "started"])
def test_co_purchases_place_new_items_among_the_old_ones(item_vectors):
    """The new SVD is the old one turned: what it says of a new item is turned back."""
    old = Shop(BEFORE, ("ca", "cb"), ("red", "big"), ("p1", "p2"), item_vectors, 0)
    new = Shop(AFTER, *GROWN_AND_SHRUNK, item_vectors, 1)
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(WIDTH, WIDTH)))
    wanted = {"i7": np.array([1.0, 2, 3, 4]), "i8": np.array([0.5, -1, 0, 2])}
    table = np.zeros((len(AFTER) + 1, WIDTH))
    for one in AFTER:
        vector = wanted.get(one)
        if one in BEFORE:
            vector = old.model.embedding.item_table.numpy()[old.row("item", one)]
        if vector is not None:  # nobody bought i9 and i6
            table[new.row("item", one)] = vector @ turn
    new.model.set_item_vectors(table.astype(np.float32))
    warm_start(new.model, old.model, rows(new, old))
    made = new.model.embedding.item_table.numpy()
    for one, vector in wanted.items():
        np.testing.assert_allclose(made[new.row("item", one)], vector, atol=1e-5)
    np.testing.assert_allclose(made[new.row("item", "i9")], old.model.embedding.item_table.numpy()[1:].mean(axis=0),
                               atol=1e-5)


@pytest.mark.parametrize("item_vectors", ["learned", "fixed"])
def test_as_many_buckets_keep_their_rows(item_vectors):
    old = Shop(BEFORE, ("ca", "cb"), ("red", "big"), ("p1", "p2"), item_vectors, 0, buckets=3)
    new = Shop(AFTER, *GROWN_AND_SHRUNK, item_vectors, 1, buckets=3)
    warm_start(new.model, old.model, rows(new, old))
    for (kind, made, name), (_, before, _) in zip(new.tables(), old.tables()):
        if kind == "item":
            assert len(made) == 1 + len(AFTER) + 3
            np.testing.assert_array_equal(made[-3:], before[-3:], err_msg=name)
            np.testing.assert_array_equal(made[new.row("item", "i3")], before[old.row("item", "i3")], err_msg=name)


@pytest.mark.parametrize("before", [0, 2])
def test_another_number_of_buckets_begins_anew(before):
    """An id falls into another bucket then; each has the mean of all old rows."""
    old = Shop(BEFORE, ("ca", "cb"), ("red", "big"), ("p1", "p2"), "learned", 0, buckets=before)
    new = Shop(AFTER, *GROWN_AND_SHRUNK, "learned", 1, buckets=3)
    warm_start(new.model, old.model, rows(new, old))
    for (kind, made, name), (_, earlier, _) in zip(new.tables(), old.tables()):
        if kind == "item":
            np.testing.assert_allclose(made[-3:], [earlier[1:].mean(axis=0)] * 3, rtol=1e-5, err_msg=name)
            np.testing.assert_array_equal(made[new.row("item", "i3")], earlier[old.row("item", "i3")], err_msg=name)


def test_everything_else_is_copied():
    old, new, _ = started(AFTER, GROWN_AND_SHRUNK)
    catalog = {"item_category", "item_content"}
    copied = [(one, other) for one, other in zip(old.model.inference_variables, new.model.inference_variables)
              if one.shape == other.shape and not any(name in one.name for name in catalog)
              and not one.name.startswith(("embedding/item", "embedding/bias"))]
    assert len(copied) > 20
    for one, other in copied:
        np.testing.assert_array_equal(one, other, err_msg=one.name)


def test_differences_are_named():
    one, other = (settings.from_dict(settings.UlimConfig, values) for values in (
        {"model": {"width": 32}, "features": {"item_content": ["brand"]}, "training": {"steps": 9}}, {}))
    assert differences(one, one) == []
    assert differences(one, other) == ["features.item_content () -> ('brand',)", "model.width 64 -> 32"]
