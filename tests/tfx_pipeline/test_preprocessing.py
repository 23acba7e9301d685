"""Vocabularies of a small log, worked out by hand."""

import functools
from collections.abc import Callable

import pytest

from tests.tfx_pipeline import transform_runs
from tfx_pipeline import rare_items
from ulim_tf import features

# Events: milk 4, rye 3, bun 2, tea 1, gum 0.
CATEGORY_OF = {"milk": "dairy", "rye": "bakery", "bun": "bakery", "tea": "drinks", "gum": "sweets"}
USERS = [
    transform_runs.user([("milk", 1), ("rye", 1), ("milk", 2), ("tea", 3)], CATEGORY_OF),
    transform_runs.user([("milk", 1), ("rye", 2), ("bun", 2), ("milk", 3), ("rye", 4), ("bun", 5)], CATEGORY_OF),
]
ROWS = [*USERS, transform_runs.catalog(CATEGORY_OF)]
HELD_OUT = transform_runs.user([("tea", 1), ("tea", 2), ("tea", 3), ("kiwi", 4), ("milk", 5)],
                               {**CATEGORY_OF, "kiwi": "fruit"}, target=["gum", "rye"])


def ids(file: str) -> list[str]:
    with open(file) as lines:
        return lines.read().splitlines()


def test_by_default_every_item_of_the_catalogue_has_a_number(tmp_path):
    output, (first, _, catalog, held_out) = transform_runs.transform(tmp_path, ROWS, [HELD_OUT])
    assert ids(output.vocabulary_file_by_name("item_id")) == ["milk", "rye", "bun", "tea", "gum"]
    assert output.vocabulary_file_by_name(features.RARE_VOCABULARY) is None
    assert rare_items.rare_vocabulary(output) is None and rare_items.count(None) == 0
    assert catalog["catalog_item_id"] == [1, 2, 3, 4, 5]
    assert first["event_item_id"] == [2, 1, 1, 4]  # by category: bakery, dairy, drinks
    assert held_out["event_item_id"] == [1, 4, 4, 4, 0] and held_out["target_item_id"] == [5, 2]


@pytest.fixture(scope="module")
def with_buckets(tmp_path_factory) -> transform_runs.Transformed:
    """Numbers for items of three events or more, and buckets for the others."""
    return transform_runs.transform(tmp_path_factory.mktemp("run"), ROWS, [HELD_OUT], least_events=3, oov_buckets=50)


def test_categories_are_counted_by_user_and_by_item(with_buckets):
    """bakery 2 users and 2 items, dairy 2 and 1, drinks 1 and 1, sweets 0 and 1."""
    output, rows = with_buckets
    assert ids(output.vocabulary_file_by_name("category_id")) == ["bakery", "dairy", "drinks", "sweets"]
    assert rows[0]["category_id"] == [1, 2, 3] and rows[2]["catalog_category_id"] == [2, 1, 1, 3, 4]


# Of no event, and with the separator of the lines of rare items in its id.
SEPARATED = {"a\x1fb": "bakery"}


@pytest.fixture(scope="module")
def of_least_events(tmp_path_factory) -> Callable[[int], transform_runs.Transformed]:
    """The log with `SEPARATED` in the catalogue, transformed once for each least number of events."""
    rows = [*USERS, transform_runs.catalog({**CATEGORY_OF, **SEPARATED})]
    return functools.cache(lambda least: transform_runs.transform(
        tmp_path_factory.mktemp("run"), rows, least_events=least))


@pytest.mark.parametrize(("least", "own", "rare"), [
    (1, ["milk", "rye", "bun", "tea"], {"gum\x1f4"}),
    (2, ["milk", "rye", "bun"], {"gum\x1f4", "tea\x1f3"}),
    (4, ["milk"], {"gum\x1f4", "tea\x1f3", "bun\x1f1", "rye\x1f1"}),
])
def test_items_with_fewer_events_have_no_number(of_least_events, least, own, rare):
    output, (first, _, catalog) = of_least_events(least)
    assert ids(output.vocabulary_file_by_name("item_id")) == own
    file = rare_items.rare_vocabulary(output)
    assert set(ids(file)) == rare and rare_items.count(file) == len(rare)
    number = {name: 1 + place for place, name in enumerate(own)}
    assert catalog["catalog_item_id"] == [number.get(name, 0) for name in (*CATEGORY_OF, *SEPARATED)]
    assert first["event_item_id"] == [number.get(name, 0) for name in ("rye", "milk", "milk", "tea")]


def test_buckets_follow_the_items(with_buckets):
    """Whatever has no number of its own: in histories, targets and the catalogue the same for the same id."""
    output, (first, _, catalog, held_out) = with_buckets
    assert ids(output.vocabulary_file_by_name("item_id")) == ["milk", "rye"]
    milk, rye, bun, tea, gum = catalog["catalog_item_id"]
    assert (milk, rye) == (1, 2) and all(3 <= one <= 52 for one in (bun, tea, gum)) and len({bun, tea, gum}) == 3
    assert first["event_item_id"] == [rye, milk, milk, tea]
    (*known, kiwi) = held_out["event_item_id"]
    assert known == [milk, tea, tea, tea] and 3 <= kiwi <= 52 and held_out["target_item_id"] == [gum, rye]
    assert rare_items.count(rare_items.rare_vocabulary(output)) == 3


def test_an_id_that_holds_the_separator_is_not_listed(of_least_events):
    output, (_, _, catalog) = of_least_events(4)
    assert catalog["catalog_item_id"] == [1, 0, 0, 0, 0, 0]
    category = [1 + ids(output.vocabulary_file_by_name("category_id")).index(CATEGORY_OF[item])
                for item in ("rye", "bun", "tea", "gum")]
    assert sorted(ids(rare_items.rare_vocabulary(output))) == sorted(
        f"{item}\x1f{number}" for item, number in zip(("rye", "bun", "tea", "gum"), category))


def test_where_no_item_is_rare_none_is_listed(tmp_path):
    category_of = {"milk": "dairy"}
    output = transform_runs.analyse(
        tmp_path, [transform_runs.user([("milk", 1), ("milk", 2)], category_of), transform_runs.catalog(category_of)],
        least_events=2, oov_buckets=2)
    assert rare_items.rare_vocabulary(output) is None
