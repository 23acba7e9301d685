"""Ids as a program has them."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def listed(values: Sequence[Any]) -> Sequence[Any]:
    """Lists and tuples as they are, NumPy arrays and pandas Series as lists."""
    return values if isinstance(values, list | tuple) else np.asarray(values).tolist()


def as_texts(name: str, values: Sequence[str]) -> Sequence[str]:
    """The ids, `listed`.

    Raises:
        TypeError: something else than texts, or one text alone; the message begins with the name.
    """
    if isinstance(values, str):
        raise TypeError(f"{name} must be a sequence of texts, got the text {values!r}: write [{values!r}]")
    values = listed(values)
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{name} must be texts as in the event log, got {value!r} ({type(value).__name__}): "
                            "convert them, as with .astype(str)")
    return values
