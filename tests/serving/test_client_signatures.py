"""What the client sends to each signature with filters or vectors, and reads of it; NumPy and pandas in."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import asyncio

import numpy as np
import pandas as pd
import pytest

from serving import contract
from serving.client import (
    AsyncClient,
    Client,
    Explanation,
    Filters,
    History,
    Recommendation,
    WeighedEvent,
    histories_from_frame,
)
from tests.serving import scripted_server

ITEMS = {"item_id": [["tea", "milk", ""], ["rum", "", ""]], "score": [[-0.5, -1.25, 0.0], [-2.0, 0.0, 0.0]],
         "category_id": [["drinks", "dairy", ""], ["drinks", "", ""]], "channel": [[0, 1, 0], [2, 0, 0]],
         "count": [2, 1]}
WHY = {"copied": np.float32([[0.5, 0.25, 0], [0, 0, 0]]), "generated": np.float32([[0.125, 0.0, 0], [0.5, 0, 0]]),
       "event_item_id": [[["chai", "tea"], ["milk", ""], ["", ""]], [["", ""]] * 3],
       "event_timestamp": np.int64([[[20, 10], [30, 0], [0, 0]], [[0, 0]] * 3]),
       "event_weight": np.float32([[[0.75, 0.25], [1, 0], [0, 0]], [[0, 0]] * 3])}
ANSWERS = {
    "retrieve": ITEMS,
    "explain": ITEMS | WHY,
    "encode_user": {"interest": np.float32([[1, 2]]), "short_vector": np.float32([[3, 4, 5]]),
                    "category_id": [["drinks", "dairy"]], "probability": np.float32([[0.75, 0.25]]),
                    "long_vector": np.float32([[[1, 0, 1], [0, 1, 1]]])},
    "encode_item": {"vector": np.float32([[1, 2, 0.5], [0, 0, 0]]), "category_id": ["drinks", ""],
                    "known": [True, False]},
}
TEA, MILK = Recommendation("tea", "drinks", "long-term", -0.5), Recommendation("milk", "dairy", "short-term", -1.25)


@pytest.fixture(scope="module")
def server():
    with scripted_server.serve(ANSWERS) as scripted:
        yield scripted


@pytest.fixture
def client(server):
    with Client(server.target) as client:
        yield client


def dtypes(server) -> dict[str, str]:
    numbers = {1: "float32", 3: "int32", 7: "string", 9: "int64", 10: "bool"}
    return {name: numbers[tensor.dtype] for name, tensor in server.requests[-1].inputs.items()}


def test_retrieve_sends_each_users_filters(client, server):
    filters = [Filters(exclude_items=["rum", "käse"], deny_categories=["pets"], exclude_seen=True, limit=3),
               Filters(allow_categories=["drinks"])]
    answers = client.retrieve_batch([History(["tea"], [1]), History()], filters)
    assert answers == [[TEA, MILK], [Recommendation("rum", "drinks", "backfill", -2.0)]]
    assert server.requests[-1].model_spec.signature_name == "retrieve"
    assert server.sent() == {
        "item_id": [[b"tea"], [b""]], "timestamp": [[1], [0]], "length": [1, 0], "now": [0, 0],
        "exclude_item_id": [[b"rum", "käse".encode()], [b"", b""]], "exclude_item_id_length": [2, 0],
        "allow_category_id": [[b""], [b"drinks"]], "allow_category_id_length": [0, 1],
        "deny_category_id": [[b"pets"], [b""]], "deny_category_id_length": [1, 0],
        "exclude_seen": [True, False], "limit": [3, 0]}


@pytest.mark.parametrize("signature", ["retrieve", "explain"])
def test_inputs_and_dtypes_are_those_of_the_contract(client, server, signature):
    getattr(client, signature)(History(["tea"], [1], event_types=["buy"], profile={"country": "nl"}))
    assert dtypes(server) == {
        name: tensor.dtype for name, tensor in contract.inputs(signature, True, ["country"]).items()}


def test_one_set_of_filters_holds_for_all_users(client, server):
    client.retrieve_batch([History(), History()], Filters(limit=2))
    assert server.sent()["limit"] == [2, 2]
    with pytest.raises(ValueError, match=r"filters must be one for all, or as many as the histories \(2\), got 1"):
        client.retrieve_batch([History(), History()], [Filters()])


def test_explain_tells_the_events_that_are_there(client):
    assert client.explain(History(["tea"], [1])) == [
        Explanation(TEA, 0.5, 0.125, (WeighedEvent("chai", 20, 0.75), WeighedEvent("tea", 10, 0.25))),
        Explanation(MILK, 0.25, 0.0, (WeighedEvent("milk", 30, 1.0),))]


def test_encode_user(client):
    encoding = client.encode_user(History(["tea"], [1]))
    assert encoding.categories == ("drinks", "dairy")
    for array, expected in ((encoding.interest, [1, 2]), (encoding.short_vector, [3, 4, 5]),
                            (encoding.probabilities, [0.75, 0.25]), (encoding.long_vectors, [[1, 0, 1], [0, 1, 1]])):
        assert array.dtype == np.float32 and array.tolist() == expected


def test_encode_items(client, server):
    tea, unknown = client.encode_items(["tea", "ökö"])
    assert server.sent() == {"item_id": [b"tea", "ökö".encode()]}
    assert (tea.item_id, tea.known, tea.category_id, tea.vector.tolist()) == ("tea", True, "drinks", [1, 2, 0.5])
    assert (unknown.item_id, unknown.known, unknown.category_id) == ("ökö", False, "")
    asked = len(server.requests)
    assert client.encode_items([]) == [] and client.encode_user_batch([]) == [] and len(server.requests) == asked


def test_the_asyncio_client_reads_the_same(server):
    async def ask():
        async with AsyncClient(server.target) as client:
            history = History(["tea"], [1])
            return (await client.retrieve(history, Filters(limit=2)), await client.explain(history),
                    (await client.encode_user(history)).interest.tolist(),
                    [item.known for item in await client.encode_items(["tea", "?"])])

    items, why, interest, known = asyncio.run(ask())
    assert items == [TEA, MILK] and [one.recommendation for one in why] == items
    assert interest == [1, 2] and known == [True, False]
    assert server.requests[-4].model_spec.signature_name == "retrieve"


@pytest.mark.parametrize(("settings", "error", "message"), [
    ({"limit": -1}, ValueError, "limit must be at least 0, got -1"),
    ({"exclude_items": "tea"}, TypeError, r"exclude_items must be a sequence of texts, got the text 'tea': "),
    ({"deny_categories": [3]}, TypeError, r"deny_categories must be texts as in the event log, got 3 \(int\)"),
])
def test_filters_that_make_no_sense_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Filters(**settings)


# NumPy and pandas in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("history", [
    History(np.array(["tea", "rum"]), np.array([1_700_000_000, 1_700_000_060], np.uint32),
            event_types=np.array(["v", "b"])),
    History(pd.Series(["tea", "rum"], index=[7, 3]), pd.Series([1_700_000_000, 1_700_000_060]), event_types=["v", "b"]),
    History(["tea", "rum"], pd.to_datetime(["2023-11-14 22:13:20", "2023-11-14 22:14:20"]), event_types=["v", "b"]),
    History(["tea", "rum"], pd.Series(pd.to_datetime(["2023-11-14 23:13:20+01:00", "2023-11-14 23:14:20+01:00"])),
            event_types=["v", "b"]),
])
def test_arrays_and_series_are_taken(history):
    assert history == History(["tea", "rum"], [1_700_000_000, 1_700_000_060], event_types=["v", "b"])


def test_empty_arrays_are_an_empty_history():
    frame = pd.DataFrame({"item_id": [], "timestamp": []})
    assert History(frame.item_id, frame.timestamp) == History([], [])


@pytest.mark.parametrize(("settings", "error", "message"), [
    ({"item_ids": np.array([7]), "timestamps": [1]}, TypeError,
     r"item_ids must be texts as in the event log, got 7 \(int\): convert them, as with .astype\(str\)"),
    ({"item_ids": [None], "timestamps": [1]}, TypeError, "got None"),
    ({"item_ids": "t", "timestamps": [1]}, TypeError, "item_ids must be a sequence of texts, got the text 't'"),
    ({"item_ids": ["t"], "timestamps": np.array([1.5])}, ValueError, "must be whole unix seconds or datetimes, got f"),
    ({"item_ids": ["t"], "timestamps": pd.Series([pd.NaT])}, ValueError, "timestamps must all be known, got NaT"),
    ({"item_ids": ["t"], "timestamps": [1], "event_types": [1]}, TypeError, "event_types must be texts"),
    ({"item_ids": ["t"], "timestamps": [1], "event_types": []}, ValueError, "got 1 item_ids and 0 event_types"),
])
def test_histories_that_make_no_sense_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        History(**settings)


def test_a_log_becomes_a_history_for_each_user():
    log = pd.DataFrame({"user_id": ["u2", "u1", "u2"], "item_id": ["a", "b", "c"], "timestamp": [5, 6, 4]})
    assert histories_from_frame(log, now=9) == {
        "u2": History(["a", "c"], [5, 4], 9, user_id="u2"), "u1": History(["b"], [6], 9, user_id="u1")}
    typed = histories_from_frame(log.assign(event_type=["x", "y", "z"]))
    assert typed["u2"].event_types == ["x", "z"] and list(typed) == ["u2", "u1"]
    with pytest.raises(ValueError, match=r"must have the columns .*, but has no item_id; it has user_id, item, "):
        histories_from_frame(log.rename(columns={"item_id": "item"}))
