"""Items of the catalogue that have too few events for a row of their own: `vocabulary.least_events`."""

import tensorflow as tf
import tensorflow_transform as tft

from ulim_tf import features


def rare_vocabulary(transform: tft.TFTransformOutput) -> str | None:
    """The text file that lists them, as `features.RARE_VOCABULARY`; None where there are none.

    Args:
        transform: what Transform wrote.
    """
    file = transform.vocabulary_file_by_name(features.RARE_VOCABULARY)
    if file is None:
        return None
    with tf.io.gfile.GFile(file) as lines:
        listed = features.BETWEEN_TOKENS in lines.readline()  # TFT fills an empty vocabulary with a line of its own
    return file if listed else None


def count(vocabulary: str | None) -> int:
    """How many there are."""
    if vocabulary is None:
        return 0
    with tf.io.gfile.GFile(vocabulary, "rb") as lines:
        return sum(1 for _ in lines)
