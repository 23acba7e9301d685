"""What TFX gives to the Trainer's run_fn, made by hand: transformed examples and vocabularies."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from tests.ulim_tf.examples import item_categories, write_users


class Inputs(NamedTuple):
    """Folders, as the pipeline's Transform leaves them."""

    train: Path
    catalog: Path
    vocabularies: Path


def write(folder: Path, baskets: list[list[list[int]]], items: int, categories: int,
          content: Mapping[int, Sequence[int]] | None = None) -> Inputs:
    """Writes users and a catalogue of two examples; item i is called "item i", and so on.

    Args:
        folder: where to.
        baskets: of each user, as `write_users` takes them.
        items: V.
        categories: C.
        content: the tokens of each item.
    """
    inputs = Inputs(*(folder / name for name in Inputs._fields))
    for one in inputs:
        one.mkdir(parents=True)
    item_category = item_categories(items, categories)
    write_users(inputs.train / "users.gz", baskets, item_category)
    half = items // 2
    with tf.io.TFRecordWriter(str(inputs.catalog / "items.gz"), "GZIP") as writer:
        for some in ([items, *range(1, half)], range(half, items)):
            tokens = [content[item] for item in some] if content else []
            writer.write(tf.train.Example(features=tf.train.Features(feature={
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=values)) for name, values in (
                    ("catalog_item_id", some), ("catalog_category_id", [item_category[item] for item in some]),
                    ("catalog_content", [token for row in tokens for token in row]),
                    ("catalog_content_length", list(map(len, tokens))))
            })).SerializeToString())
    sizes = {"item_id": items, "category_id": categories,
             "content": max((token for row in (content or {}).values() for token in row), default=0)}
    for name, size in sizes.items():
        (inputs.vocabularies / name).write_text("".join(f"{name} {number}\n" for number in range(1, size + 1)))
    return inputs


def number_by(replace: Callable[[Any, str, Any], None]) -> None:
    """Makes TFT read the vocabularies' text files, without the rest of what its folder holds.

    Args:
        replace: setattr, or one that takes it back.
    """
    replace(tft.TFTransformOutput, "vocabulary_file_by_name", lambda self, name: f"{self._transform_output_dir}/{name}")
    replace(tft.TFTransformOutput, "vocabulary_by_name", lambda self, name: [
        line.encode() for line in Path(self.vocabulary_file_by_name(name)).read_text().splitlines()])
    replace(tft.TFTransformOutput, "vocabulary_size_by_name", lambda self, name: len(self.vocabulary_by_name(name)))


def fn_args(inputs: Inputs, step: Path, execution: int, config: Mapping[str, Any], steps: int) -> FnArgs:
    """The arguments of an execution of the Trainer, whose outputs go to <step>/<output>/<execution>."""
    return FnArgs(
        custom_config=config, train_files=[str(inputs.train / "*"), str(inputs.catalog / "*")], train_steps=steps,
        transform_output=str(inputs.vocabularies), model_run_dir=str(step / "model_run" / str(execution)),
        serving_model_dir=str(step / "model" / str(execution)))
