"""What the servable makes of items that nobody bought yet and of users without a history."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from serving.export import export_servable
from tests.serving.servables import only
from ulim_tf import config as settings
from ulim_tf import data
from ulim_tf.event_log import split_by_time
from ulim_tf.model import UlimModel
from ulim_tf.sequences import DAY_SECONDS

BRANDS = ["plain", "plain", "fancy", "green"]  # half of the users buy plain things only, a quarter each the others
CATEGORY_SHARE = {"food": 0.6, "toys": 0.3, "pets": 0.1}
SOLD = 5  # items of a brand in a category; one more of each was never sold
CONFIG = settings.from_dict(settings.UlimConfig, {
    "features": {"item_content": ["brand"]}, "history": {"short": 10, "subsequence": 10},
    "model": {"width": 16, "hidden": 32}, "training": {"learning_rate": 1e-2, "steps": 150, "moments": 64},
    "retrieval": {"categories": 3, "per_category": 18, "short_term": 54, "results": 54}})


@pytest.fixture(scope="module")
def recommend(tmp_path_factory):
    """The signatures of a servable of users who are each true to one brand."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(80):
        for day in range(12):
            for _ in range(3):
                category = rng.choice(list(CATEGORY_SHARE), p=list(CATEGORY_SHARE.values()))
                brand = BRANDS[user % len(BRANDS)]
                rows.append((user, f"{category} {brand} {rng.integers(SOLD)}", category, 30 * DAY_SECONDS * day, day))
    listed = [(f"{category} {brand} {number}", category, brand)
              for category in CATEGORY_SHARE for brand in set(BRANDS) for number in range(SOLD + 1)]
    log, _ = split_by_time(
        dict(zip(("user_id", "item_id", "category_id", "timestamp", "group_id"), map(np.array, zip(*rows)))),
        dict(zip(("item_id", "category_id", "brand"), zip(*listed))), content=("brand",))
    keras.utils.set_random_seed(3)
    model = UlimModel(CONFIG, log.items, log.categories, content=len(log.content_id) - 1, tokens=1)
    model.set_catalog(log.item_category, log.item_content)
    model.set_popularity(data.popularity([(log.item, log.timestamp)], log.items, 56).ever)
    model.compile()
    model.fit(data.training_dataset_in_memory(log, CONFIG.history, CONFIG.training), steps_per_epoch=150, verbose=0)
    folder = tmp_path_factory.mktemp("cold")
    for name, ids in (("items", log.item_id), ("categories", log.category_id)):
        (folder / name).write_text("".join(f"{one}\n" for one in ids[1:]))
    with only("serving_default", "predict_category"):
        export_servable(model, str(folder / "items"), str(folder / "categories"), str(folder / "1"))
    servable = tf.saved_model.load(str(folder / "1"))

    def ask(signature: str, items: list[str]) -> dict[str, list]:
        answer = servable.signatures[signature](
            item_id=tf.constant([items], tf.string, shape=[1, len(items)]),
            timestamp=tf.range(1, len(items) + 1, dtype=tf.int64)[None] * 30 * DAY_SECONDS,
            length=tf.constant([len(items)]), now=tf.constant([360 * DAY_SECONDS], tf.int64))
        return {name: [one.decode() if isinstance(one, bytes) else one for one in value[0].numpy().tolist()]
                for name, value in answer.items() if value.shape.rank == 2}

    yield ask


@pytest.mark.parametrize("brand", sorted(set(BRANDS)))
def test_an_item_that_was_never_sold_stands_with_what_resembles_it(recommend, brand):
    ranked = recommend("serving_default", [f"food {brand} {number}" for number in (0, 1, 2, 0, 3)])["item_id"]
    place = {other: ranked.index(f"food {other} {SOLD}") for other in set(BRANDS)}
    assert min(place, key=place.get) == brand


def test_a_user_without_a_history_gets_what_most_buy(recommend):
    categories = recommend("predict_category", [])
    assert dict(zip(categories["category_id"], categories["probability"])) == pytest.approx(CATEGORY_SHARE, abs=0.12)
    assert categories["copy_share"] == [0.0] * 3
    assert all(item.startswith("food plain") for item in recommend("serving_default", [])["item_id"][:SOLD])
