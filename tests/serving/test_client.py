"""The client against a servicer that records what it is sent and answers by the contract."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.client import CategoryPrediction, Client, History, Recommendation
from serving.client.__main__ import main

ANSWERS = {
    "serving_default": {
        "item_id": tf.make_tensor_proto([["tea", "käse", ""], ["milk", "", ""]]),
        "score": tf.make_tensor_proto([[-0.5, -1.25, 0.0], [-2.0, 0.0, 0.0]]),
        "category_id": tf.make_tensor_proto([["drinks", "dairy", ""], ["dairy", "", ""]]),
        "channel": tf.make_tensor_proto([[0, 1, 0], [2, 0, 0]]),
        "count": tf.make_tensor_proto([2, 1]),
    },
    "predict_category": {
        "category_id": tf.make_tensor_proto([["dairy", "drinks"], ["", ""]]),
        "probability": tf.make_tensor_proto([[0.75, 0.25], [0.0, 0.0]]),
        "copy_share": tf.make_tensor_proto([[0.5, 0.0], [0.0, 0.0]]),
    },
}


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Knows the model "ulim"; answers two users whatever is asked."""

    def __init__(self):
        self.requests = []

    def Predict(self, request, context):
        self.requests.append(request)
        if request.model_spec.name != "ulim":
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for\nrequest")
        return predict_pb2.PredictResponse(outputs=ANSWERS[request.model_spec.signature_name])


@pytest.fixture(scope="module")
def served():
    servicer = Servicer()
    server = grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    servicer.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    server.stop(None)


@pytest.fixture
def client(served):
    with Client(served.target) as client:
        yield client


def sent(served) -> dict:
    return {name: tf.make_ndarray(tensor).tolist() for name, tensor in served.requests[-1].inputs.items()}


def test_recommend_reads_what_is_real(client):
    assert client.recommend(History(["a"], [1])) == [
        Recommendation("tea", "drinks", "long-term", -0.5), Recommendation("käse", "dairy", "short-term", -1.25)]


def test_a_batch_pads_shorter_histories_and_answers_each(client, served):
    answers = client.recommend_batch([History(["a", "bé"], [3, 2], now=9), History()])
    assert [[r.item_id for r in answer] for answer in answers] == [["tea", "käse"], ["milk"]]
    assert answers[1][0].channel == "backfill"
    assert sent(served) == {"item_id": [[b"a", "bé".encode()], [b"", b""]], "timestamp": [[3, 2], [0, 0]],
                            "length": [2, 0], "now": [9, 0]}
    assert {name: tf.as_dtype(tensor.dtype).name for name, tensor in served.requests[-1].inputs.items()} == {
        "item_id": "string", "timestamp": "int64", "length": "int32", "now": "int64"}


def test_an_empty_history_is_sent_with_a_column_that_is_not_real(client, served):
    client.recommend(History())
    assert sent(served) == {"item_id": [[b""]], "timestamp": [[0]], "length": [0], "now": [0]}


def test_no_histories_are_answered_without_a_request(client, served):
    before = len(served.requests)
    assert client.recommend_batch([]) == []
    assert len(served.requests) == before


def test_predict_categories(client, served):
    assert client.predict_categories(History(["a"], [1])) == [
        CategoryPrediction("dairy", 0.75, 0.5), CategoryPrediction("drinks", 0.25, 0.0)]
    assert served.requests[-1].model_spec.signature_name == "predict_category"


def test_the_servers_refusal_comes_through(served):
    with Client(served.target, model_name="other") as client, pytest.raises(grpc.RpcError) as error:
        client.recommend(History())
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_history_needs_as_many_items_as_timestamps():
    with pytest.raises(ValueError, match="must be as many, got 2 item_ids and 1 timestamps"):
        History(["a", "b"], [1])


# The command --------------------------------------------------------------------------------------------------------

TWO_USERS = "user_id,item_id,price,timestamp\nu1,a,3,10\nu2,b,4,11\nu1,c,5,12\n"


def run(served, tmp_path, text, *flags, target=None) -> int:
    if isinstance(text, str):
        text = text.encode()
    (tmp_path / "events.csv").write_bytes(text)
    return main(["--server", target or served.target, "--history", str(tmp_path / "events.csv"), *flags])


def test_the_command_prints_a_table_for_the_user(served, tmp_path, capsys):
    assert run(served, tmp_path, TWO_USERS, "--user", "u1") == 0
    assert capsys.readouterr().out.splitlines() == [
        "rank  item  category  channel       score",
        "   1  tea   drinks    long-term   -0.5000",
        "   2  käse  dairy     short-term  -1.2500",
    ]
    assert sent(served) == {"item_id": [[b"a", b"c"]], "timestamp": [[10, 12]], "length": [2], "now": [0]}


def test_one_user_needs_no_flag_and_columns_may_have_other_names(served, tmp_path, capsys):
    text = "\ufeffwho,what,when\nu1,a,-5\n"
    assert run(served, tmp_path, text, "--columns", "user_id=who,item_id=what,timestamp=when", "--top", "1",
               "--now", "7") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert sent(served) == {"item_id": [[b"a"]], "timestamp": [[-5]], "length": [1], "now": [7]}


def test_the_command_sends_what_is_known_of_the_user(served, tmp_path):
    assert run(served, tmp_path, TWO_USERS, "--user", "u1", "--profile", "country=nl,age=") == 0
    assert {name: value for name, value in sent(served).items() if name.startswith("profile_")} == {
        "profile_country": [b"nl"], "profile_age": [b""]}


@pytest.mark.parametrize(("text", "flags", "message"), [
    (TWO_USERS, (), "has 2 users (u1, u2): choose one with --user"),
    ("user_id,item_id,timestamp\n" + "".join(f"u{n},a,1\n" for n in range(7)), (),
     "has 7 users (u0, u1, u2, u3, u4, ..): choose one with --user"),
    (TWO_USERS, ("--user", "u9"), "has no user 'u9'; it has u1, u2"),
    ("user_id,item,timestamp\nu1,a,1\n", (),
     "has no column item_id; it has user_id, item, timestamp. Name yours with --columns"),
    ("", (), "has no column user_id, item_id, timestamp; it has none."),
    ("user_id,item_id,timestamp\n", (), "has no events"),
    ("user_id,item_id,timestamp\nu1,a,1\nu1,b,yesterday\n", (),
     "events.csv, line 3: timestamp must be a whole number of unix seconds, got 'yesterday'"),
    ("user_id,item_id,timestamp\nu1,a\n", (), "line 2: timestamp must be a whole number of unix seconds, got ''"),
    ("user_id,item_id,timestamp\nu1,a,99999999999999999999\n", (), "got '99999999999999999999'"),
    (b"user_id,item_id,timestamp\nu1,\xff,1\n", (), "cannot read"),
    (TWO_USERS, ("--columns", "item=product"), "--columns takes pairs such as item_id=product, for user_id, item_id, "
                                               "timestamp and event_type; got 'item=product'"),
    (TWO_USERS, ("--user", "u1", "--profile", "nl"), "--profile takes pairs such as country=nl, got 'nl'"),
])
def test_the_command_says_in_one_line_what_is_wrong(served, tmp_path, capsys, text, flags, message):
    assert run(served, tmp_path, text, *flags) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_the_command_says_what_the_server_refused(served, tmp_path, capsys):
    assert run(served, tmp_path, TWO_USERS, "--user", "u1", "--model_name", "other", "--json") == 1
    told = capsys.readouterr()
    message = f"{served.target} answered NOT_FOUND: Servable not found for request"
    assert told.err == f"error: {message}\n"
    assert json.loads(told.out) == {"error": message}


def test_the_command_prints_json_for_machines(served, tmp_path, capsys):
    assert run(served, tmp_path, TWO_USERS, "--user", "u1", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"recommendations": [
        {"item_id": "tea", "category_id": "drinks", "channel": "long-term", "score": -0.5},
        {"item_id": "käse", "category_id": "dairy", "channel": "short-term", "score": -1.25}]}


def test_the_command_names_a_file_that_is_not_there(served, tmp_path, capsys):
    assert main(["--server", served.target, "--history", str(tmp_path / "none.csv")]) == 2
    assert capsys.readouterr().err == f"error: cannot read {tmp_path}/none.csv: No such file or directory\n"


def test_the_command_says_how_to_start_a_server_that_does_not_answer(served, tmp_path, capsys):
    # Port 1 is reserved and never listened at.
    assert run(served, tmp_path, TWO_USERS, "--user", "u1", target="127.0.0.1:1") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no server answers at 127.0.0.1:1. Start one: python -m serving.server ")
