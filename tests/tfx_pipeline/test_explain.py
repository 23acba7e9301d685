"""The command on a work directory of three users, and the questions that it asks."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2

from serving.client import CategoryPrediction, Explanation, Filters, History, Recommendation, WeighedEvent
from serving.server.process import NotServed
from tests.serving.test_histories import example
from tests.tfx_pipeline.explained import ANN
from tests.tfx_pipeline.test_evaluate_only import record
from tests.tfx_pipeline.test_explanation import text_of
from tfx_pipeline import explain
from tfx_pipeline.components.event_example_gen.component import EventExampleGen
from tfx_pipeline.explanation import asking, users
from tfx_pipeline.explanation.subject import Event
from ulim_tf.config import FeaturesConfig

# Two categories; rye and rum are of one basket, and rye came before it in the time order.
STORED = {"user_id": ["ann é".encode()], "event_item_id": [b"tea", b"rum", b"rye"],
          "event_timestamp": [40, 60, 60], "event_rank": [0, 2, 1], "event_basket_start": [0, 1, 1],
          "category_id": [b"drinks", b"grain"], "category_length": [2, 1]}
ANN_EVENTS = [Event("tea", "drinks", 40, 0), Event("rye", "grain", 60, 1), Event("rum", "drinks", 60, 1)]
BOB = {"user_id": [b"bob"], "event_item_id": [b"tea"], "event_timestamp": [7], "event_rank": [0],
       "event_basket_start": [0], "category_id": [b"drinks"], "category_length": [1]}
HELD_OUT = {"target_item_id": [b"oat", b"tea"], "target_timestamp": [99]}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    written = {"eval": [STORED | HELD_OUT], "train": [STORED, BOB, BOB | {"user_id": [b"cid/x"]}],
               "catalog": [{"catalog_item_id": [b"tea", b"oat"], "catalog_category_id": [b"drinks", b"grain"],
                            "catalog_title": ["Thé".encode(), b""]}]}
    for split, stored in written.items():
        (folder / "examples" / f"Split-{split}").mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / "examples" / f"Split-{split}" / "data.gz"), "GZIP") as writer:
            for one in stored:
                writer.write(example(**one))
    record(folder, {"EventExampleGen": ({"examples": folder / "examples"}, {
        "custom_config": EventExampleGen("events.csv").exec_properties["custom_config"]})},
        metadata_store_pb2.Execution.COMPLETE)
    for version in ("17", "18"):
        (folder / "serving" / "ulim" / version).mkdir(parents=True)
        (folder / "serving" / "ulim" / version / "saved_model.pb").touch()
    return folder


@pytest.fixture
def asked(monkeypatch):
    """What is asked, instead of a server."""
    calls = []
    monkeypatch.setattr(asking, "ask", lambda *question: calls.append(question) or ANN.answer)
    return calls


@pytest.fixture
def run(workdir, asked, capsys, tmp_path):
    def command(*flags: str) -> tuple[int, str]:
        code = explain.main(["--workdir", str(workdir), "--output", str(tmp_path / "page.html"), *flags])
        return code, capsys.readouterr().err

    return command


def files(workdir: Path, split: str) -> list[str]:
    return [str(workdir / "examples" / f"Split-{split}" / "data.gz")]


# ------------------------------------------------------------------------------------------------------------ the user


def test_a_held_out_user_has_baskets_categories_and_what_came_next(workdir):
    found = users.find("ann é", files(workdir, "eval"), files(workdir, "train"), FeaturesConfig())
    assert found == users.StoredUser(History(["tea", "rye", "rum"], [40, 60, 60], now=99), ANN_EVENTS, ["oat", "tea"])


def test_a_user_without_an_event_is_read():
    assert users.read(example(user_id=[b"eve"], **HELD_OUT), FeaturesConfig()) == users.StoredUser(
        History([], [], now=99), [], ["oat", "tea"])


def test_any_other_user_is_found_among_all(workdir):
    found = users.find("cid/x", files(workdir, "eval"), files(workdir, "train"), FeaturesConfig())
    assert found == users.StoredUser(History(["tea"], [7]), [Event("tea", "drinks", 7, 0)], None)


@pytest.mark.parametrize("name", ["nobody", "tea", ""])
def test_an_unknown_user_is_told_some_that_there_are(workdir, run, name, tmp_path):
    code, told = run("--user", name)
    assert code == 2 and f"got {name!r}. Some that there are: ann é, bob, cid/x.\n" in told
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------------------- the asking


def explanation(item: str, category: str, *events: WeighedEvent) -> Explanation:
    return Explanation(Recommendation(item, category, "long-term", -1.0), 0.1, 0.1, events)


class Scripted:
    """Answers as a client would: of all items one of drinks, and whatever a filter allows."""

    of_drinks, of_grain = WeighedEvent("tea", 40, 0.9), WeighedEvent("rye", 60, 1.0)

    def __init__(self):
        self.filters = []

    def predict_categories(self, history):
        return [CategoryPrediction(name, 0.2, 0.5) for name in ("drinks", "grain", "toys")]

    def explain(self, history, filters=Filters()):
        self.filters.append(filters)
        if filters.allow_categories == ["grain"]:
            return [explanation("oat", "grain", self.of_grain)]
        return [explanation("tea", "drinks", self.of_drinks), explanation("ball", "toys")]


def test_of_a_shown_category_without_an_answered_item_the_attention_is_asked_for():
    client = Scripted()
    answer = asking.ask_client(client, History(["tea", "rye", "rum"], [40, 60, 60]), ANN_EVENTS)
    assert client.filters == [Filters(), Filters(allow_categories=["grain"], limit=1)]  # toys has no event
    assert answer.attention == {"drinks": (Scripted.of_drinks,), "grain": (Scripted.of_grain,)}
    assert [one.recommendation.item_id for one in answer.explanations] == ["tea", "ball"]


# ---------------------------------------------------------------------------------------------------------- the command


def test_the_page_is_written_with_names_of_the_catalogue(run, asked, workdir, tmp_path):
    assert run("--user", "ann é") == (0, "")
    told = text_of((tmp_path / "page.html").read_text())
    assert "Why user ann é is shown these items" in told and "version 18, asked on 1970-01-01 " in told
    assert "☆ oat grain new not ☆ Thé drinks yes not" in told
    [(servable, history, events)] = asked
    assert (servable, events, history.now) == (workdir / "serving" / "ulim" / "18", ANN_EVENTS, 99)


def test_without_an_output_it_goes_into_the_work_directory(workdir, asked):
    assert explain.main(["--workdir", str(workdir), "--user", "cid/x", "--version", "17"]) == 0
    assert asked[0][0].name == "17"
    assert "version 17, asked on 1970-01-01" in text_of((workdir / "explanations" / "cid%2Fx.html").read_text())


@pytest.mark.parametrize(("flags", "message"), [
    (["--version", "16"], "--version must be one of"), (["--servable", "nowhere"], "--servable must be a folder"),
    (["--output", "."], "--output must be a file, got the folder ."),
])
def test_wrong_arguments_are_told(run, asked, flags, message):
    code, told = run("--user", "ann é", *flags)
    assert code == 2 and f"error: {message}" in told and not asked


def test_without_a_work_directory_the_demo_is_taken_if_there_is_one(workdir, asked, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert explain.main(["--user", "bob"]) == 2
    assert "--workdir must be given: without it, .demo/all is looked into, where there is no run" in (
        capsys.readouterr().err)
    (tmp_path / ".demo").mkdir()
    (tmp_path / ".demo" / "all").symlink_to(workdir)
    assert explain.main(["--user", "bob", "--output", "bob.html"]) == 0
    assert (tmp_path / "bob.html").is_file()


class Refused(grpc.RpcError):
    def code(self):
        return grpc.StatusCode.INVALID_ARGUMENT

    def details(self):
        return "no signature explain."


@pytest.mark.parametrize(("error", "message"), [
    (Refused(), "the servable did not answer: INVALID_ARGUMENT: no signature explain."),
    (NotServed("version 18 failed to load: broken"), "error: version 18 failed to load: broken"),
])
def test_a_servable_that_does_not_explain_is_told(run, monkeypatch, tmp_path, error, message):
    def refuse(*_):
        raise error

    monkeypatch.setattr(asking, "ask", refuse)
    code, told = run("--user", "ann é")
    assert code == 1 and message in told and not list(tmp_path.iterdir())
