"""Weights of an earlier model for a model of another vocabulary: what both know by id keeps its row, bit by bit [I].

Buckets, which items without a row share, keep their rows where there are as many as before: an id's hash then still
falls into the same one.

A new item has no row to take. Where co-purchases place items (`model.item_vectors`), they place it too, turned to where
the earlier model's items stand: the directions of two SVDs differ by a rotation, which the items of both give
(orthogonal Procrustes, Schoenemann 1966). Otherwise its content describes it, or it gets the mean of its category.
A bucket without a row to take is in no category: it gets the mean of all items.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from typing import NamedTuple

import numpy as np

from ulim_tf import config as settings
from ulim_tf.model import UlimModel


class EarlierRows(NamedTuple):
    """For each row of the new model's tables the row of the earlier model's, 0 for what that did not know."""

    item: np.ndarray  # int64 [V + 1], without the buckets
    category: np.ndarray  # int64 [C + 1]
    content: np.ndarray | None = None  # int64 [A + 1]; None without content
    profile: np.ndarray | None = None  # int64 [tokens + 1]; None without profiles


def earlier_rows(ids: list[bytes], earlier: list[bytes]) -> np.ndarray:
    """Where each id stands in an earlier vocabulary.

    Args:
        ids: n distinct ids, those of rows 1..n.
        earlier: the same of the earlier model.

    Returns:
        int64 [n + 1], 0 for an id that is not in `earlier`, and for row 0.
    """
    row = {one: 1 + place for place, one in enumerate(earlier)}
    return np.array([0, *(row.get(one, 0) for one in ids)], np.int64)


def differences(config: settings.UlimConfig, earlier: settings.UlimConfig) -> list[str]:
    """Settings, as "section.field old -> new", that keep the weights of one model from fitting the other."""
    return [f"{section}.{name} {old[name]!r} -> {new[name]!r}"
            for section in ("features", "model")
            for old, new in [(settings.to_dict(one)[section] for one in (earlier, config))]
            for name in new if old[name] != new[name]]


def warm_start(model: UlimModel, earlier: UlimModel, rows: EarlierRows) -> None:
    """Gives a model the weights of an earlier one.

    A new category has the mean of all categories, and a new token of content or of profiles stays where chance put it.
    Everything that is not of an item, a category or a token is copied.

    Args:
        model: with its catalogue set, and its item vectors unless they are learned.
        earlier: of the same features and shapes: `differences` of the two is empty.
        rows: which of its rows are whose.
    """
    mine, its = model.embedding, earlier.embedding
    buckets = earlier.items + 1 + np.arange(model.buckets)
    rows = rows._replace(item=np.append(rows.item, buckets if model.buckets == earlier.buckets else 0 * buckets))
    described = None if rows.content is None else (rows.content[mine.item_content.numpy()] > 0).any(axis=1)
    item_category = mine.item_category.numpy()
    new_vectors = _by_category(its.item_table.numpy(), rows.item, item_category)
    if described is not None:
        new_vectors[described] = 0.0  # the rows of its tokens are the whole of its vector
    if model.settings.model.item_vectors != "learned":
        placed = mine.item_table.numpy()
        bought = placed.any(axis=1)
        new_vectors[bought] = _turned(placed, its.item_table.numpy(), rows.item)[bought]
    by_row: dict[int, np.ndarray] = {
        id(mine.item_table): _kept(its.item_table.numpy(), rows.item, new_vectors),
        id(mine.category_table): _with_mean(its.category_table.numpy(), rows.category),
        **{id(table): _kept(old.numpy(), rows.item, _by_category(old.numpy(), rows.item, item_category))
           for table, old in ((mine.bias_table, its.bias_table), (model.popularity_shift, earlier.popularity_shift))},
        **{id(table): _with_mean(old.numpy().T, rows.category).T
           for table, old in zip(model.pointer_generator.category_outputs, earlier.pointer_generator.category_outputs)},
    }
    if rows.content is not None:
        by_row[id(mine.content_table)] = _kept(its.content_table.numpy(), rows.content, mine.content_table.numpy())
    if rows.profile is not None and model.user_profile and earlier.user_profile:
        by_row[id(model.user_profile.table)] = _kept(
            earlier.user_profile.table.numpy(), rows.profile, model.user_profile.table.numpy())
    catalog = {id(mine.item_category), id(mine.item_content) if model.content else 0}
    for variable, old in zip([*model.inference_variables, model.popularity_shift],
                             [*earlier.inference_variables, earlier.popularity_shift], strict=True):
        if id(variable) not in catalog:
            variable.assign(by_row.get(id(variable), old))


def _kept(old: np.ndarray, rows: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Old rows where there are any; the unknown one, row 0, always is."""
    known = (rows > 0) | (np.arange(len(rows)) == 0)
    return np.where(known.reshape([-1] + [1] * (old.ndim - 1)), old[rows], new)


def _with_mean(old: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return _kept(old, rows, np.broadcast_to(old[1:].mean(axis=0), old[rows].shape))


def _by_category(old: np.ndarray, rows: np.ndarray, item_category: np.ndarray) -> np.ndarray:
    """For each item the mean of the old rows of its category's items; of all old items' if there are none."""
    shared = np.flatnonzero(rows)
    of_category, count = np.zeros((item_category.max() + 1, *old.shape[1:])), np.bincount(
        item_category[shared], minlength=item_category.max() + 1)
    np.add.at(of_category, item_category[shared], old[rows[shared]])
    count = count.reshape([-1] + [1] * (old.ndim - 1))
    mean = np.where(count > 0, of_category / np.maximum(count, 1), old[1:].mean(axis=0))
    return mean[item_category].astype(old.dtype)


def _turned(new: np.ndarray, old: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """New vectors [V + 1, D], turned so that those of shared items lie as near to the old ones as a rotation brings."""
    left, _, right = np.linalg.svd(new[rows > 0].T.astype(np.float64) @ old[rows[rows > 0]])
    return (new @ (left @ right)).astype(new.dtype)
