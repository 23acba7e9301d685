"""Begins a training with the weights of an earlier model: `training.warm_start`."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Mapping

import numpy as np

from tfx_pipeline import trained
from ulim_tf import features
from ulim_tf.model import UlimModel
from ulim_tf.warm_start import EarlierRows, differences, earlier_rows, warm_start


def begin_with(model: UlimModel, servable: str, vocabularies: Mapping[str, list[bytes]]) -> str | None:
    """Gives the model the weights of what was trained for an earlier servable, row by row of the same id.

    Args:
        model: with its catalogue, and its item vectors unless they are learned.
        servable: the folder of the earlier SavedModel.
        vocabularies: ids of the model's rows 1.., by the name of the vocabulary.

    Returns:
        Why the model stays as it is; None if it has the weights.
    """
    base = trained.read(servable)
    if base is None:
        return f"there is nothing at {trained.folder_of(servable)}"
    changed = differences(model.settings, base.model.settings)
    if changed:
        return f"its settings differ: {', '.join(changed)}"
    if bool(model.content) != bool(base.model.content) or bool(model.profile) != bool(base.model.profile):
        return "one of the two has no content or no profiles"
    rows = EarlierRows(**{field: earlier_rows(vocabularies[name], base.vocabularies[name])
                          for field, name in (("item", features.ITEM_VOCABULARY),
                                              ("category", features.CATEGORY_VOCABULARY),
                                              ("content", features.CONTENT_VOCABULARY),
                                              ("profile", features.PROFILE_VOCABULARY)) if name in vocabularies})
    warm_start(model, base.model, rows)
    kept = np.count_nonzero(rows.item)
    print(f"    begins with the weights of {servable}: {kept:,} items keep their rows, "
          f"{model.items - kept:,} are new, {base.model.items - kept:,} are gone", flush=True)
    return None
