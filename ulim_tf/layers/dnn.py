"""The small network that every part of the model uses.

In mixed precision, the hidden layers of these networks and the short-term self-attention compute in half precision; all
else (embeddings, scores, softmaxes, losses, what a network hands on) stays in float32.
"""

import tensorflow as tf
import tf_keras as keras


def dnn(name: str, hidden: int, width: int) -> keras.Sequential:
    """[..., any] -> [..., width], through one hidden layer of rectified units."""
    return keras.Sequential([keras.layers.Dense(hidden, "relu", name="hidden"),
                             keras.layers.Dense(width, name="output", dtype="float32")], name=name)


def of_rows(layer: keras.layers.Layer, values: tf.Tensor) -> tf.Tensor:
    """[..., any] -> [..., width] through a layer. Keras makes a dozen ops of a product with more than two axes."""
    result = layer(tf.reshape(values, [-1, values.shape[-1]]))
    return tf.reshape(result, tf.concat([tf.shape(values)[:-1], [result.shape[-1]]], axis=0))
