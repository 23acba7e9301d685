"""The model card inside a servable: what it is, of which data and settings, and how much it and its index find."""

import ulim_tf  # isort: skip  selects Keras 2 before TensorFlow is imported

import datetime
import os
from collections.abc import Mapping
from importlib import metadata

import tensorflow as tf
import yaml

from serving import contract
from ulim_tf import config as settings
from ulim_tf.model import UlimModel
from ulim_tf.retrieval.quality import Quality

FILE = "assets.extra/model_card.md"

NOT_MEASURED = """None. A run of the pipeline measures the servable before it is pushed, and writes them here then; a
refresh of the catalogue does not.
"""
_PACKAGES = ("tensorflow", "tf-keras", "tensorflow-recommenders", "scann", "numpy")


def write(directory: str, name: str, model: UlimModel, items: int, quality: Quality | None,
          data: Mapping[str, str]) -> None:
    """Writes FILE into the folder of a SavedModel.

    Args:
        directory: of the SavedModel.
        name: of the servable.
        model: that it is of.
        items: that can be answered.
        quality: of its index; None without one.
        data: what is known of the data, for people: what -> value.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    index = {"Kind": model.settings.retrieval.index if name == contract.MODEL_NAME else "blocked",
             "Of the best items of a category, it finds": f"{quality.in_category:.4f}",
             "Of the best items of the whole pool, it finds": f"{quality.pool:.4f}"} if quality else {}
    versions = {"ulim-tf": ulim_tf.__version__} | {one: metadata.version(one) for one in _PACKAGES}
    card = f"""# {name}

Candidate retrieval from a user's whole history, by category (ULIM, arXiv 2507.10097). Made {now:%Y-%m-%d %H:%M} UTC.

Signatures: {", ".join(contract.SERVABLES[name])}.

## Data

{_table({"Items that can be answered": f"{items:,}", "Items read in histories": f"{model.items:,}",
         "Categories": f"{model.categories:,}", **data})}

## Index

{_table(index) if index else "None: this servable answers no items."}

## Held-out metrics

{NOT_MEASURED}
## Versions

{_table(versions)}

## Settings

```yaml
{yaml.safe_dump(settings.to_dict(model.settings), sort_keys=False).strip()}
```
"""
    with tf.io.gfile.GFile(os.path.join(directory, FILE), "w") as file:
        file.write(card)


def add_metrics(directory: str, metrics: Mapping[str, str]) -> None:
    """Puts what was measured on held-out users into the card of a servable that has none yet.

    Args:
        directory: of the SavedModel.
        metrics: name -> value, for people.
    """
    file = os.path.join(directory, FILE)
    with tf.io.gfile.GFile(file) as text:
        card = text.read()
    told = f"Means over the held-out users, who asked this servable.\n\n{_table(metrics)}\n"
    with tf.io.gfile.GFile(file, "w") as text:
        text.write(card.replace(NOT_MEASURED, told))


def _table(rows: Mapping[str, str]) -> str:
    def cell(text: str) -> str:
        return " ".join(text.split()).replace("|", "\\|")

    return "\n".join(["| | |", "|---|---|", *(f"| {cell(what)} | {cell(value)} |" for what, value in rows.items())])
