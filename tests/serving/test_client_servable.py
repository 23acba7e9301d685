"""The client against a servable of a small model in the embedded server: what each method says fits the others."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import shutil

import numpy as np
import pytest

from serving.client import Client, Filters, History
from tests.serving import in_process
from tests.serving.test_answers import CONFIG, ITEMS, exported

USERS = [History([f"item {1 + (7 * user + 3 * place) % ITEMS}" for place in range(5 * user)],
                 [86_400 * place for place in range(5 * user)],
                 event_types=[CONFIG.features.event_types[0]] * 5 * user if CONFIG.features.event_types else None,
                 profile=dict.fromkeys(CONFIG.features.user_profile, "")) for user in range(4)]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    base = tmp_path_factory.mktemp("served")
    shutil.copytree(exported(tmp_path_factory) / "ulim_gpu", base / "1")
    with in_process.serve(base, 60) as target, Client(target, timeout=60) as client:
        yield client


def ids(answer) -> list[str]:
    return [one.item_id for one in answer]


def test_without_filters_retrieve_recommends(client):
    recommended = client.recommend_batch(USERS)
    assert [ids(answer) for answer in client.retrieve_batch(USERS)] == [ids(answer) for answer in recommended]
    assert all(recommended)


def test_filters_of_several_users_hold_for_each(client):
    best = client.recommend_batch(USERS)
    filters = [Filters(limit=2), Filters(exclude_items=ids(best[1])[:2]),
               Filters(allow_categories=[best[2][0].category_id], exclude_seen=True),
               Filters(deny_categories=[best[3][0].category_id, "none such"])]
    limited, excluded, allowed, denied = client.retrieve_batch(USERS, filters)
    assert ids(limited) == ids(best[0])[:2]
    assert excluded and not set(ids(excluded)) & set(ids(best[1])[:2])
    assert {one.category_id for one in allowed} <= {best[2][0].category_id}
    assert not set(ids(allowed)) & set(USERS[2].item_ids)
    assert denied and best[3][0].category_id not in {one.category_id for one in denied}
    for user, own, together in zip(USERS, filters, (limited, excluded, allowed, denied)):
        assert ids(client.retrieve(user, own)) == ids(together)


def test_explanations_are_of_what_is_retrieved_and_add_up_to_the_categories(client):
    for user in USERS:
        why = client.explain(user, Filters(limit=5))
        assert ids(one.recommendation for one in why) == ids(client.retrieve(user, Filters(limit=5)))
        probability = {one.category_id: one.probability for one in client.predict_categories(user)}
        for one in why:
            if one.recommendation.category_id in probability:
                assert one.copied + one.generated == pytest.approx(
                    probability[one.recommendation.category_id], abs=1e-5)
            assert {event.item_id for event in one.events} <= set(user.item_ids)
            assert [event.weight for event in one.events] == sorted((e.weight for e in one.events), reverse=True)


def test_vectors_have_the_widths_of_the_contract(client):
    users, items = client.encode_user_batch(USERS), client.encode_items(["item 1", "item 2", "none such"])
    width = CONFIG.model.width
    for user in users:
        assert user.interest.shape == (width,) and user.short_vector.shape == (width + 1,)
        assert user.long_vectors.shape == (len(user.categories), width + 1)
    assert [(one.known, one.vector.shape) for one in items] == [(True, (width + 1,))] * 2 + [(False, (width + 1,))]
    assert not np.any(items[2].vector) and items[2].category_id == ""
    assert np.all(np.isfinite(np.stack([one.vector for one in items]) @ users[1].short_vector))
