"""Time from left to right, in percent of the width, so that a page may be as wide as it likes."""

import time
from typing import NamedTuple

import numpy as np

from ulim_tf.sequences import DAY_SECONDS

_INSET = 2.0  # percent kept free at each end, for the half of a dot
_MOST_MARKS = 8
_STEPS = (("D", 1), ("D", 2), ("D", 7), ("M", 1), ("M", 2), ("M", 3), ("M", 6), ("Y", 1), ("Y", 2), ("Y", 5),
          ("Y", 10), ("Y", 20))


class Mark(NamedTuple):
    """A labelled place: percent from the left, and its date."""

    x: float
    text: str


class TimeAxis(NamedTuple):
    """From one moment to another, unix seconds.

    Attributes:
        first, last: of the axis; at least a day apart, so that a single moment has a place too.
    """

    first: int
    last: int

    @classmethod
    def over(cls, first: int, last: int) -> "TimeAxis":
        """An axis that holds both moments."""
        return cls(min(first, last - DAY_SECONDS), last)

    def x(self, timestamp: int) -> float:
        """Percent from the left; what is beyond an end stands there."""
        part = (timestamp - self.first) / (self.last - self.first)
        return round(_INSET + (100 - 2 * _INSET) * min(max(part, 0.0), 1.0), 2)

    def marks(self) -> list[Mark]:
        """Days, months or years at even distances, eight at most; the year is told at the first and in January."""
        for unit, step in _STEPS:
            low, high = (int(np.datetime64(end, "s").astype(f"datetime64[{unit}]").astype(np.int64))
                         for end in (self.first, self.last))
            places = range(-(-low // step) * step, high + 1, step)
            seconds = [int(np.datetime64(place, unit).astype("datetime64[s]").astype(np.int64)) for place in places]
            seconds = [one for one in seconds if self.first <= one <= self.last]
            if len(seconds) <= _MOST_MARKS:
                break
        return [Mark(self.x(one), _label(one, unit, with_year=place == 0)) for place, one in enumerate(seconds)]


def _label(timestamp: int, unit: str, with_year: bool) -> str:
    moment = time.gmtime(timestamp)
    if unit == "Y":
        return str(moment.tm_year)
    text = time.strftime("%b", moment)
    if unit == "D":
        text = f"{moment.tm_mday} {text}"
    return f"{text} {moment.tm_year}" if with_year or moment.tm_yday == 1 else text
