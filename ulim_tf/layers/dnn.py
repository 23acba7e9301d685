"""The small network that every part of the model uses."""

import tf_keras as keras


def dnn(name: str, hidden: int, width: int) -> keras.Sequential:
    """[..., any] -> [..., width], through one hidden layer of rectified units."""
    return keras.Sequential([keras.layers.Dense(hidden, "relu", name="hidden"),
                             keras.layers.Dense(width, name="output")], name=name)
