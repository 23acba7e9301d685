"""How the blocking and the asyncio client call: deadline, retries, hedging, TLS, metadata, labels, batches."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import asyncio
import inspect
import itertools
import time

import grpc
import pytest

from serving.client import AsyncClient, Client, History, LabelSplit, Retry
from serving.client.__main__ import main
from tests.serving import scripted_server
from tests.serving.certificates import Authority

UNAVAILABLE, INTERNAL = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL
# One row: what is asked is answered one user at a time.
ANSWERS = {"serving_default": {"item_id": [["tea"]], "score": [[-0.5]], "category_id": [["drinks"]], "channel": [[0]],
                               "count": [1]}}
# Each user's own item, so that a mix-up shows.
ECHO = {"serving_default": lambda inputs: {
    "item_id": inputs["item_id"], "category_id": inputs["item_id"], "score": [[0.0]] * len(inputs["length"]),
    "channel": [[0]] * len(inputs["length"]), "count": [1] * len(inputs["length"])}}
FAST = Retry(attempts=3, first_wait=0.02, longest_wait=0.05)


class Awaited:
    """AsyncClient with the interface of Client, so that one test body serves both."""

    def __init__(self, *args, **kwargs):
        self._loop = asyncio.new_event_loop()
        self._client = self._run(self._make(args, kwargs))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._run(self._client.close())
        self._loop.close()

    def __getattr__(self, name):
        method = getattr(self._client, name)
        if inspect.isasyncgenfunction(method):
            return lambda *args, **kwargs: iter(self._run(collect(method(*args, **kwargs))))
        return lambda *args, **kwargs: self._run(method(*args, **kwargs))

    def _run(self, coroutine):
        return self._loop.run_until_complete(coroutine)

    @staticmethod
    async def _make(args, kwargs):
        return AsyncClient(*args, **kwargs)


async def collect(answers) -> list:
    return [answer async for answer in answers]


@pytest.fixture(params=[Client, Awaited], ids=["blocking", "asyncio"])
def make(request):
    return request.param


@pytest.fixture
def server():
    with scripted_server.serve(ANSWERS) as scripted:
        yield scripted


def refused(client, **kwargs) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        client.recommend(History(), **kwargs)
    return error.value.code(), error.value.details()


# Retries ------------------------------------------------------------------------------------------------------------


def test_a_server_that_is_away_twice_is_asked_three_times(make, server):
    server.refusals = [UNAVAILABLE, UNAVAILABLE]
    with make(server.target, retry=FAST) as client:
        assert [item.item_id for item in client.recommend(History())] == ["tea"]
    assert len(server.requests) == 3


def test_the_last_refusal_comes_through(make, server):
    server.refusals = [UNAVAILABLE] * 3
    with make(server.target, retry=FAST) as client:
        assert refused(client) == (UNAVAILABLE, "refused: UNAVAILABLE")
    assert len(server.requests) == 3


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode
                                  if code not in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)])
def test_nothing_else_is_asked_again(server, code):
    server.refusals = [code]
    with Client(server.target, retry=FAST) as client:
        assert refused(client)[0] == code
    assert len(server.requests) == 1


def test_one_attempt_is_no_retry(make, server):
    server.refusals = [UNAVAILABLE]
    with make(server.target, retry=Retry(attempts=1)) as client:
        assert refused(client)[0] == UNAVAILABLE
    assert len(server.requests) == 1


def test_a_server_that_comes_back_is_found_as_soon_as_the_longest_wait_is_over(make):
    with scripted_server.serve(ANSWERS) as first:
        port = first.target
        client = make(port, retry=FAST)
        client.recommend(History())
    with client, scripted_server.serve(ANSWERS, port=int(port.rpartition(":")[2])):
        time.sleep(0.5)  # ten times FAST's
        assert client.recommend(History())[0].item_id == "tea"


def test_requests_go_to_each_server_in_turn_and_a_retry_to_another(make, server):
    with (scripted_server.serve(ANSWERS) as other,
          make(f"ipv4:{server.target},{other.target}", retry=FAST) as client):
        for _ in range(20):
            client.recommend(History())
        # The second connection may come a moment after the first.
        assert min(len(server.requests), len(other.requests)) >= 5
        server.refusals = [UNAVAILABLE] * 3
        for _ in range(4):
            assert client.recommend(History())[0].item_id == "tea"


@pytest.mark.parametrize(("settings", "message"), [
    ({"attempts": 0}, "attempts must be 1 to 5, the most that gRPC makes, got 0"),
    ({"attempts": 6}, "got 6"),
    ({"first_wait": 0.0}, "first_wait must be above 0 and at most longest_wait, got 0.0 and 1.0"),
    ({"first_wait": 2.0}, "got 2.0 and 1.0"),
])
def test_a_retry_that_grpc_would_not_make_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Retry(**settings)


# Deadline -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hedge_after", [None, 0.1])
def test_the_deadline_ends_a_call_and_a_method_may_have_its_own(make, server, hedge_after):
    server.held = 4
    with make(server.target, timeout=0.3, hedge_after=hedge_after) as client:
        start = time.monotonic()
        assert refused(client)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        assert 0.25 < time.monotonic() - start < 5
        server.held = 0
        server.release.set()
        assert client.recommend(History(), timeout=20)[0].item_id == "tea"


def test_retries_end_with_the_deadline(make, server):
    server.refusals = [UNAVAILABLE] * 5
    with make(server.target, timeout=0.5, retry=Retry(attempts=5, first_wait=5, longest_wait=5)) as client:
        start = time.monotonic()
        assert refused(client)[0] in (UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        assert time.monotonic() - start < 4


@pytest.mark.parametrize(("settings", "message"), [
    ({"timeout": 0.0}, "timeout must be above 0 seconds, got 0.0"),
    ({"hedge_after": 0.0}, r"hedge_after must be above 0 and below timeout \(10.0 seconds\), got 0.0"),
    ({"hedge_after": 10.0}, "got 10.0"),
])
def test_times_must_make_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        Client("127.0.0.1:1", **settings)


# Hedging ------------------------------------------------------------------------------------------------------------


def test_without_hedging_a_slow_server_is_waited_for(make, server):
    server.held = 1
    with make(server.target, timeout=0.5) as client:
        assert refused(client)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(server.requests) == 1


def test_a_slow_request_is_sent_again_and_the_first_answer_counts(make, server):
    server.held = 1
    with make(server.target, hedge_after=0.05) as client:
        start = time.monotonic()
        assert client.recommend(History())[0].item_id == "tea"
        assert time.monotonic() - start < 5
    assert len(server.requests) == 2


def test_a_fast_request_is_sent_once(make, server):
    with make(server.target, hedge_after=5) as client:
        client.recommend(History())
        server.refusals = [INTERNAL]
        assert refused(client)[0] == INTERNAL
    assert len(server.requests) == 2


def test_of_a_hedged_request_only_the_lack_of_a_server_leaves_it_to_the_other(make, server):
    with make(server.target, hedge_after=0.05, retry=Retry(attempts=1)) as client:
        server.held, server.refusals = 1, [grpc.StatusCode.OK, INTERNAL]
        assert refused(client)[0] == INTERNAL
        server.held, server.refusals = 2, [UNAVAILABLE, UNAVAILABLE]
        server.release.set()
        assert refused(client)[0] == UNAVAILABLE


# TLS and metadata ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def mutual(authority):
    """A server that shows a certificate and asks for one."""
    key, cert = authority.issue("server")
    credentials = grpc.ssl_server_credentials([(key, cert)], authority.certificate, True)
    with scripted_server.serve(ANSWERS, credentials) as scripted:
        yield scripted


def test_mutual_tls(make, authority, mutual):
    key, cert = authority.issue("client")
    with make(mutual.target, credentials=grpc.ssl_channel_credentials(authority.certificate, key, cert)) as client:
        assert client.recommend(History())[0].item_id == "tea"
    for credentials in (None, grpc.ssl_channel_credentials(authority.certificate),
                        grpc.ssl_channel_credentials(Authority().certificate, key, cert)):
        with make(mutual.target, credentials=credentials, retry=FAST) as client:
            assert refused(client)[0] == UNAVAILABLE


def test_the_command_takes_the_files_of_tls(authority, mutual, tmp_path, capsys):
    key, cert = authority.issue("client")
    (tmp_path / "events.csv").write_text("user_id,item_id,timestamp\nu,milk,5\n")
    for name, content in (("ca", authority.certificate), ("key", key), ("cert", cert)):
        (tmp_path / name).write_bytes(content)
    command = ["--server", mutual.target, "--history", f"{tmp_path}/events.csv"]
    files = [f"--tls_ca={tmp_path}/ca", f"--tls_key={tmp_path}/key", f"--tls_cert={tmp_path}/cert"]
    assert main([*command, "--tls", *files]) == 0
    assert "tea" in capsys.readouterr().out
    for flags, message in ((files, "--tls_ca, --tls_cert and --tls_key need --tls"),
                           (["--tls", files[1]], "--tls_cert and --tls_key go together"),
                           (["--tls", "--tls_ca=none.pem"], "cannot read none.pem: No such file or directory")):
        assert main([*command, *flags]) == 2
        assert capsys.readouterr().err == f"error: {message}\n"


def test_metadata_of_the_client_and_of_the_call_go_along(make, server):
    with make(server.target, metadata=[("tenant", "shop")]) as client:
        client.recommend(History(), metadata=[("trace", "17")])
        client.recommend(History())
    assert [(one.get("tenant"), one.get("trace")) for one in server.metadata] == [("shop", "17"), ("shop", None)]


# Labels and batches -------------------------------------------------------------------------------------------------


def test_a_label_is_asked_for(make, server):
    with make(server.target, label="canary") as client:
        client.recommend(History())
    with make(server.target) as client:
        client.recommend(History())
    assert [one.model_spec.version_label for one in server.requests] == ["canary", ""]
    assert not server.requests[1].model_spec.HasField("version_choice")


def test_a_split_asks_each_label_about_its_own_users(make, server):
    users = [f"user {number}" for number in range(40)]
    split = LabelSplit({"stable": 1, "canary": 1}, salt="june")
    server.answers = ECHO
    with make(server.target, label=split) as client:
        answers = client.recommend_batch([History([user], [1], user_id=user) for user in users])
        with pytest.raises(ValueError, match=r"a history must have a user_id where a LabelSplit chooses the version"):
            client.recommend(History())
        with pytest.raises(ValueError, match=r"items are encoded by one version.* Make a client of one label"):
            client.encode_items(["tea"])
    assert [answer[0].item_id for answer in answers] == users
    assert len(server.requests) == 2
    for place, request in enumerate(server.requests):
        label = request.model_spec.version_label
        assert [item.decode() for [item] in server.sent(place)["item_id"]] == [
            user for user in users if split.label(user) == label]


def test_any_number_of_users_is_asked_about_in_order_and_as_answers_are_read(server):
    server.answers = ECHO
    taken = []

    def users():
        for number in itertools.count():
            taken.append(number)
            yield History([f"{number}"], [1])

    with Client(server.target) as client:
        answers = client.recommend_all(users(), batch=5, in_flight=2)
        assert [next(answers)[0].item_id for _ in range(12)] == [f"{number}" for number in range(12)]
        assert len(taken) <= 25
        answers.close()


def test_the_last_batch_may_be_short(make, server):
    server.answers = ECHO
    with make(server.target) as client:
        answers = list(client.recommend_all((History([f"{number}"], [1]) for number in range(7)), batch=3))
        assert list(client.recommend_all([])) == []
    assert [answer[0].item_id for answer in answers] == [f"{number}" for number in range(7)]
    assert sorted(len(server.sent(place)["length"]) for place in range(3)) == [1, 3, 3]


def test_both_clients_have_the_same_methods_and_arguments():
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_") or name == "__init__":
            assert inspect.signature(getattr(AsyncClient, name)).parameters == inspect.signature(method).parameters
