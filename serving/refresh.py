"""A trained model and a new catalogue -> a new servable, without training: what is answered changes, weights do not.

An item is known by its number: its line of the vocabulary. The new servable's vocabulary is the trained one, so that
histories are read as before, and the new items after it. Candidates are the items of the new catalogue. So an item that
is gone still tells what a user likes, but is in no index, fills up no answer and is not copied from a history.

    an item that was trained        keeps its row and its bias, in the category and with the content of the catalogue
    one that is new                 is its category and its content, as `UlimModel.with_catalog` places it
    one that was rare in training   stays so (`vocabulary.least_events`): it is read in histories at most
    a category that was not trained cannot be placed: its items are skipped, and too many of them refused
    a token that was not trained    is left out, as in training
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import functools
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from serving.cascade import Cascade
from serving.client import History
from serving.export import build, check_vocabularies, furnish
from serving.signatures import Servable
from ulim_tf import features
from ulim_tf.model import UlimModel

_MOST_SKIPPED = 0.05  # of the items
_NAMED = 3
_LINE = re.compile(rb"[^\r\n]+")


class Vocabularies(NamedTuple):
    """Text files of a trained model, line i (from 1) the id of number i; None for what the model does not read."""

    item: str
    category: str
    content: str | None = None
    profile: str | None = None
    rare: str | None = None  # `features.RARE_VOCABULARY`; None where every item has a row


class Catalog(NamedTuple):
    """E rows of a catalogue, of which the last of each item counts."""

    item_id: np.ndarray  # bytes (object) [E]
    category_id: np.ndarray  # bytes (object) [E]
    content: np.ndarray | None = None  # bytes (object) [E], tokens as `features.split_tokens` takes them apart


class Refreshed(NamedTuple):
    """What became of a catalogue and of the model's items."""

    candidates: int  # items that can be answered
    new: int  # of them, those that were not trained
    moved: int  # of them, those that were trained in another category
    removed: int  # trained items that are no candidates any more
    rare: int  # items of the catalogue that have no row of their own
    repeated: int  # rows that a later row of the same item overruled
    skipped: dict[str, str]  # items that could not be placed, and why
    unknown_tokens: int  # content that was left out, over all candidates
    sha256: str  # of the weights, equal before and after


def refresh_servables(model: UlimModel, vocabularies: Vocabularies, catalog: Catalog, directories: Mapping[str, str],
                      progress: Callable[[str], None] = lambda _: None,
                      warmup_histories: Sequence[History] = ()) -> Refreshed:
    """Embeds the items of a new catalogue, builds their indices and exports servables with the model's weights.

    Args:
        model: as training left it.
        vocabularies: that it was trained with.
        catalog: the items to answer with; with content if the model reads it.
        directories: as of `export_servables`; none may exist.
        progress: is told what begins.
        warmup_histories: as of `export_servables`.

    Raises:
        ValueError: a directory exists, the catalogue is empty or has no content where the model reads some, more than
            5 % of its items cannot be placed, or as `export_servables`.
        RuntimeError: the weights in a written servable are not the model's. As after any error, nothing is left in the
            directories.
    """
    there = [directory for directory in directories.values() if tf.io.gfile.exists(directory)]
    if there:
        raise ValueError(f"directory must not exist yet, got {there[0]!r}. Name a new one: what is served stays as it "
                         "is.")
    check_vocabularies(model, vocabularies.item, vocabularies.category, vocabularies.profile)
    progress("placing the items of the catalogue")
    before = _sha256(model, lambda place: model.inference_variables[place].numpy())
    placed = _place(model, vocabularies, catalog)
    item, category, content = placed.candidates, placed.item_category, placed.item_content
    bias = model.biases(category)
    # From the trained tables: the new model, with its own, is made once the index needs no more room to build.
    other = None
    try:
        for name, directory, built in build(
                model, directories, item, category[item], lambda some: model.embedding.candidate_elsewhere(
                    some, bias[some], category[some], None if content is None else content[some]), progress):
            progress(f"saving {name}")
            other = other or model.with_catalog(category, content)
            cascade = built and Cascade(other, built.index, built.normalizer, item)
            with tempfile.TemporaryDirectory() as folder:
                items = os.path.join(folder, os.path.basename(vocabularies.item))
                _append(vocabularies.item, placed.new_ids, items)
                Servable(other, cascade, items, vocabularies.category, vocabularies.profile,
                         vocabularies.rare).save(directory)
            furnish(directory, name, other, vocabularies.item, len(item), built and built.quality, warmup_histories,
                    {"Catalogue": f"of {time.strftime('%Y-%m-%d')}, after training"})
            progress("checking the weights that were written")
            written = tf.train.load_checkpoint(os.path.join(directory, "variables", "variables"))
            after = _sha256(model, functools.partial(_weights, written))
            if after != before:
                raise RuntimeError(f"the weights in the new servable must be those of the model, sha256 {before}, but "
                                   f"are {after}. It was removed; this is a fault of the program, please report it.")
    except BaseException:
        for directory in filter(tf.io.gfile.exists, directories.values()):
            tf.io.gfile.rmtree(directory)
        raise
    return placed.report._replace(sha256=before)


class _Placed(NamedTuple):
    report: Refreshed
    item_category: np.ndarray  # int64 [V' + 1]
    item_content: np.ndarray | None  # int64 [V' + 1, P']
    candidates: np.ndarray  # int64 [n], ascending
    new_ids: list[bytes]  # of the items V + 1.. V'


def _place(model: UlimModel, vocabularies: Vocabularies, catalog: Catalog) -> _Placed:
    if not len(catalog.item_id):
        raise ValueError("catalog must have at least one row, got none: nothing could be answered. "
                         "Give the items that are on offer.")
    if model.content and catalog.content is None:
        raise ValueError(f"catalog must have content, got none: the model reads {model.content} tokens of items. Give "
                         f"the columns of features.item_content: {', '.join(model.settings.features.item_content)}.")
    row = np.fromiter({item: row for row, item in enumerate(catalog.item_id)}.values(), np.int64)
    item_id = catalog.item_id[row]
    repeated = len(catalog.item_id) - len(row)
    category = _numbers(vocabularies.category, catalog.category_id[row])
    is_line = np.fromiter((bool(_LINE.fullmatch(item)) for item in item_id), bool, len(row))
    skipped = {
        _text(item): "an id must be one line of text" if not line else f"unknown category {_text(of)!r}"
        for item, line, of in zip(*(values[(category == 0) | ~is_line]
                                    for values in (item_id, is_line, catalog.category_id[row])))}
    if len(skipped) > _MOST_SKIPPED * len(row):
        named = "; ".join(f"{item!r}: {why}" for item, why in list(skipped.items())[:_NAMED])
        raise ValueError(f"at most {_MOST_SKIPPED:.0%} of the catalogue's items may be skipped, got {len(skipped):,} "
                         f"of {len(row):,}: {named}. Train the model anew with this catalogue; if it knows the "
                         "categories, check the catalogue's columns.")
    is_rare = _among(item_id, vocabularies.rare)
    good = (category > 0) & is_line & ~is_rare
    row, item_id, category = row[good], item_id[good], category[good]

    number = _numbers(vocabularies.item, item_id)
    new = number == 0
    number[new] = 1 + model.items + np.arange(np.count_nonzero(new))
    trained = model.embedding.item_category.numpy()[:model.items + 1]
    item_category = np.append(trained, np.zeros(np.count_nonzero(new), np.int64))
    item_category[number] = category
    item_content, unknown_tokens = None, 0
    if model.content and catalog.content is not None:
        item_content, unknown_tokens = _content(model, vocabularies.content, len(item_category), number,
                                                catalog.content[row])
    report = Refreshed(
        candidates=len(number), new=int(np.count_nonzero(new)),
        moved=int(np.count_nonzero(trained[number[~new]] != category[~new])),
        removed=model.items - int(np.count_nonzero(~new)), rare=int(np.count_nonzero(is_rare)), repeated=repeated,
        skipped=skipped,
        unknown_tokens=unknown_tokens, sha256="")
    return _Placed(report, item_category, item_content, np.sort(number), item_id[new].tolist())


def _content(model: UlimModel, vocabulary: str | None, rows: int, number: np.ndarray,
             content: np.ndarray) -> tuple[np.ndarray, int]:
    """Content tokens int64 [rows, P'] with those of int64 [n] from bytes (object) [n], and how many were unknown."""
    if vocabulary is None:
        raise ValueError("vocabularies must have content, got None: the model reads content tokens of items. Name the "
                         "text file that training numbered them by.")
    tokens = [features.split_tokens(joined) for joined in content]
    length = np.fromiter(map(len, tokens), np.int64, len(tokens))
    known = _numbers(vocabulary, [token for of_item in tokens for token in of_item])
    table = np.zeros([rows, max(model.tokens, length.max())], np.int64)
    table[:model.items + 1, :model.tokens] = model.embedding.item_content.numpy()[:model.items + 1]
    place = np.arange(table.shape[1]) < length[:, None]
    of_item = np.zeros(place.shape, np.int64)
    of_item[place] = known
    table[number] = of_item
    return table, int(np.count_nonzero(known == 0))


def _numbers(vocabulary: str, ids: np.ndarray | list[bytes]) -> np.ndarray:
    """The number of each id, int64 [n] from 1; 0 for one that is not in the vocabulary."""
    with tf.io.gfile.GFile(vocabulary, "rb") as lines:
        number = {line.rstrip(b"\r\n"): place for place, line in enumerate(lines, 1)}
    return np.fromiter((number.get(one, 0) for one in ids), np.int64, len(ids))


def _among(ids: np.ndarray, rare: str | None) -> np.ndarray:
    """Which ids [n] are listed as rare: bool [n]."""
    if rare is None:
        return np.zeros(len(ids), bool)
    with tf.io.gfile.GFile(rare, "rb") as lines:
        listed = {line.split(features.BETWEEN_TOKENS.encode())[0] for line in lines}
    return np.fromiter((one in listed for one in ids), bool, len(ids))


def _append(vocabulary: str, ids: list[bytes], to: str) -> None:
    with tf.io.gfile.GFile(vocabulary, "rb") as lines, open(to, "wb") as file:
        file.writelines(line.rstrip(b"\r\n") + b"\n" for line in lines)
        file.writelines(one + b"\n" for one in ids)


def _text(one: bytes) -> str:
    return one.decode("utf-8", "backslashreplace")


def _weights(written: Any, place: int) -> np.ndarray:
    return written.get_tensor(f"weights/{place}/.ATTRIBUTES/VARIABLE_VALUE")


def _sha256(model: UlimModel, read: Callable[[int], np.ndarray]) -> str:
    """Over all that training learned: of a table with a row for each item, over the items that were trained.

    Args:
        model: says which variables these are, and how many rows each has.
        read: gives the value of an inference variable by its place.
    """
    digest, embedding = hashlib.sha256(), model.embedding
    catalog = (embedding.item_category, embedding.item_content if model.content else None)
    for place, variable in enumerate(model.inference_variables):
        if not any(variable is one for one in catalog):
            value = np.asarray(read(place))
            new = model.items + 1 + np.arange(len(value) - variable.shape[0])  # before the buckets
            trained = np.delete(value, new, axis=0)
            digest.update(f"{trained.dtype} {trained.shape}".encode())
            digest.update(np.ascontiguousarray(trained).ravel().data)
    return digest.hexdigest()
