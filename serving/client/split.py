"""Which version a user is served: a split of users over version labels that needs no memory.

A label's share of the users is its weight's share of all weights. Each (salt, label, user) is hashed to a number u in
(0, 1], and the user gets the label with the least -ln(u) / weight (weighted rendezvous hashing). So a changed weight
moves users to or from its own label only, no more of them than the shares ask for.
"""

import hashlib
import math
from collections.abc import Mapping


class LabelSplit:
    """Users divided over version labels, the same in every process.

    Args:
        weights: version label -> weight; only their ratios matter, and a label of weight 0 gets no one.
        salt: names the experiment; users are divided anew, and independently, for each salt.

    Raises:
        ValueError: no label, a weight that is negative or not finite, or all of them 0.
    """

    def __init__(self, weights: Mapping[str, float], salt: str):
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights.values()) or not sum(weights.values()):
            raise ValueError(f"weights must be finite, at least 0 and not all 0, got {dict(weights)}. "
                             "Write for example {'stable': 0.9, 'canary': 0.1}.")
        self._weights = {label: weight for label, weight in weights.items() if weight}
        self._salt = salt

    def label(self, user_id: str) -> str:
        """The label of a user's version."""
        return min(self._weights, key=lambda label: (self._wait(label, user_id), label))

    def _wait(self, label: str, user_id: str) -> float:
        key = b"".join(len(part).to_bytes(8, "big") + part for part in map(str.encode, (self._salt, label, user_id)))
        number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
        return -math.log((number + 1) / 2**64) / self._weights[label]
