"""The three servables of one export: which signatures, which ops, the same answers, and what lies beside the graph."""

import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow.core.protobuf import saved_model_pb2

import ulim_tf
from serving import model_card, warmup
from serving.export import export_servable
from tests.serving.servables import only, write_vocabularies
from tests.serving.test_answers import (
    CATEGORIES,
    CONFIG,
    ITEMS,
    Asked,
    events,
    exported,
    number,
    numpy,
    request,
    shaken_model,
)
from tests.ulim_tf.retrieval.test_blocked_index import ops_of
from ulim_tf import config as settings

ALL = ["serving_default", "retrieve", "explain", "predict_category", "encode_user", "encode_item"]
SIGNATURES = {"ulim": ALL, "ulim_gpu": ALL, "ulim_encoder": ["predict_category", "encode_user", "encode_item"]}
USERS = [Asked(events(seed, seed), exclude=[f"item {one}" for one in range(seed % 7)],
               deny=["category 2"] * (seed % 2), seen=seed % 3 == 0) for seed in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return exported(tmp_path_factory)


def test_items_are_embedded_once(folder):
    told = json.loads((folder / "told.json").read_text())
    assert [line for line in told if "embedding" in line] == ["embedding 40 items"]
    assert [line for line in told if "building" in line] == [
        "building the index, scann", "building the index, blocked"]


@pytest.mark.parametrize("name", SIGNATURES)
def test_each_has_its_signatures_and_a_warm_up_of_each(folder, name):
    graph = saved_model_pb2.SavedModel.FromString((folder / name / "saved_model.pb").read_bytes()).meta_graphs[0]
    assert {key for key in graph.signature_def if not key.startswith("__")} == set(SIGNATURES[name])
    asked = [one.model_spec.signature_name for one in warmup.read(str(folder / name))]
    assert sorted(set(asked)) == sorted(SIGNATURES[name]) and len(asked) == 3 * len(SIGNATURES[name])
    ops = ops_of(graph.graph_def)
    assert bool([op for op in ops if ">" in op]) == (name == "ulim")
    assert "BatchMatMulV2" in ops or name != "ulim_gpu", "the search of the blocked index"


def plain(array: np.ndarray) -> list:
    """For JSON."""
    return (array.astype("U") if array.dtype == object else array).tolist()


def test_the_others_answer_as_ulim_does_where_scann_cannot_be_imported(folder):
    """In a fresh process with nothing of this project. Items in another order would be ties."""
    filtered, unfiltered = request(USERS), request(USERS, filtered=False)
    asked = {"retrieve": filtered, "explain": filtered, "serving_default": unfiltered,
             "predict_category": unfiltered, "encode_user": unfiltered,
             "encode_item": {"item_id": tf.constant(["item 3", "??", "item 40"])}}
    program = textwrap.dedent("""
        import json, sys
        sys.modules["scann"] = None
        import numpy as np
        import tensorflow as tf
        folder, asked = json.loads(sys.stdin.read())

        def plain(array):
            return (array.astype("U") if array.dtype == object else array).tolist()

        answers = {}
        for name in ("ulim_gpu", "ulim_encoder"):
            loaded = tf.saved_model.load(f"{folder}/{name}")
            answers[name] = {
                signature: {alias: plain(value.numpy()) for alias, value in answer(**{
                    alias: tf.constant(values, answer.structured_input_signature[1][alias].dtype, shape)
                    for alias, (values, shape) in asked[signature].items()}).items()}
                for signature, answer in loaded.signatures.items()}
        assert not [name for name in sys.modules if name.split(".")[0] in (
            "ulim_tf", "serving", "tfx_pipeline", "scann_ops")]
        print(json.dumps(answers))
    """)
    sent = {signature: {alias: (plain(values.numpy()), values.shape.as_list()) for alias, values in inputs.items()}
            for signature, inputs in asked.items()}
    output = subprocess.run([sys.executable, "-I", "-c", program], input=json.dumps([str(folder), sent]), check=True,
                            capture_output=True, text=True).stdout
    answers = json.loads(output.splitlines()[-1])
    loaded = tf.saved_model.load(str(folder / "ulim"))
    for name, signatures in answers.items():
        assert sorted(signatures) == sorted(SIGNATURES[name])
        for signature, answer in signatures.items():
            here = numpy(loaded.signatures[signature](**asked[signature]))
            for alias, values in answer.items():
                if here[alias].dtype == np.float32:
                    np.testing.assert_allclose(values, here[alias], rtol=1e-3, atol=1e-5, err_msg=alias)
                else:
                    assert values == plain(here[alias])


def test_batching_parameters_are_those_of_tensorflow_serving(folder):
    for name in SIGNATURES:
        text = (folder / name / "batching_params.pbtxt").read_text()
        read = text_format.Parse(text, _batching_parameters())
        assert read.pad_variable_length_inputs  # the first bug anyone would have
        assert read.max_batch_size.value >= 1 and read.num_batch_threads.value >= 1
        assert read.batch_timeout_micros.value < 10_000 and read.max_enqueued_batches.value >= 1


def _batching_parameters():
    """An empty message; field numbers as of tensorflow_serving/servables/tensorflow/session_bundle_config.proto."""
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="tensorflow.serving", syntax="proto3",
                                              dependency=["google/protobuf/wrappers.proto"])
    message, field = file.message_type.add(name="BatchingParameters"), descriptor_pb2.FieldDescriptorProto
    for place, name in enumerate(("max_batch_size", "batch_timeout_micros", "max_enqueued_batches",
                                  "num_batch_threads"), 1):
        message.field.add(name=name, number=place, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL,
                          type_name=".google.protobuf.Int64Value")
    message.field.add(name="pad_variable_length_inputs", number=7, type=field.TYPE_BOOL, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.MessageFactory(pool).GetPrototype(
        pool.FindMessageTypeByName("tensorflow.serving.BatchingParameters"))()


def test_the_model_card_tells_what_it_is(folder):
    card = {name: (folder / name / "assets.extra" / "model_card.md").read_text() for name in SIGNATURES}
    for name, text in card.items():
        assert text.startswith(f"# {name}\n") and f"Signatures: {', '.join(SIGNATURES[name])}." in text
        assert "| Items that can be answered | 40 |" in text and "| Log | of 1999 \\| and 2000 |" in text
        assert f"| ulim-tf | {ulim_tf.__version__} |" in text and "| scann | 1.3.2 |" in text
        written = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
        assert settings.from_dict(settings.UlimConfig, written) == CONFIG
    assert "| Kind | scann |" in card["ulim"] and "| Kind | blocked |" in card["ulim_gpu"]
    assert "finds | 1.0000 |" in card["ulim_gpu"] and "answers no items" in card["ulim_encoder"]


def test_metrics_are_put_into_a_card_that_has_none(folder, tmp_path):
    shutil.copytree(folder / "ulim" / "assets.extra", tmp_path / "assets.extra")
    before = (tmp_path / "assets.extra" / "model_card.md").read_text()
    assert "## Held-out metrics\n\nNone. A run of the pipeline measures" in before
    model_card.add_metrics(str(tmp_path), {"recall@20": "0.2500", "users": "1,234"})
    card = (tmp_path / "assets.extra" / "model_card.md").read_text()
    assert ("## Held-out metrics\n\nMeans over the held-out users, who asked this servable.\n\n| | |\n|---|---|\n"
            "| recall@20 | 0.2500 |\n| users | 1,234 |\n\n## Versions\n" in card)
    assert card.partition("## Held-out")[0] == before.partition("## Held-out")[0]
    assert card.partition("## Versions")[2] == before.partition("## Versions")[2]


def test_what_is_encoded_finds_what_the_index_finds(folder, tmp_path):
    """A vector store of one's own: the best of all items for the short-term vector, by dot product."""
    encoder = tf.saved_model.load(str(folder / "ulim_encoder")).signatures
    items = numpy(encoder["encode_item"](item_id=tf.constant([f"item {one}" for one in range(1, ITEMS + 1)])))
    users = [Asked(events(20, 3))]
    user = numpy(encoder["encode_user"](**request(users, filtered=False)))
    # Where the short-term channel has all of the answer, the answer is its search.
    model = shaken_model(settings.from_dict(settings.UlimConfig, {
        **settings.to_dict(CONFIG), "retrieval": {**settings.to_dict(CONFIG)["retrieval"], "short_share": 1.0}}))
    short = model.settings.retrieval.short_term
    with only("serving_default"):
        export_servable(model, *write_vocabularies(tmp_path, ITEMS, CATEGORIES), str(tmp_path / "short"))
    answer = numpy(tf.saved_model.load(str(tmp_path / "short")).signatures["serving_default"](
        **request(users, filtered=False)))
    best = np.argsort(-items["vector"] @ user["short_vector"][0])[:short] + 1
    assert [number(one) for one in answer["item_id"][0, :short]] == best.tolist()
