"""How good recommendations are, by the protocol: held-out baskets, full ranking, means over users."""

from collections.abc import Sequence

import numpy as np


def recall_at(ranked: Sequence[Sequence[str]], targets: Sequence[Sequence[str]], at: int) -> float:
    """Share of a user's held-out items among the first `at` recommendations, mean over users.

    Args:
        ranked: of each user, item ids best first.
        targets: of each user, distinct item ids; at least one.
        at: R.

    Raises:
        ValueError: no users, a different number of both, or a user without targets.
    """
    if not targets or len(ranked) != len(targets) or not all(targets):
        raise ValueError(f"recall needs as many rankings as users with targets, got {len(ranked)} rankings and "
                         f"{len(targets)} users, {sum(not wanted for wanted in targets)} of them without targets.")
    return float(np.mean([len(set(found[:at]) & set(wanted)) / len(wanted) for found, wanted in zip(ranked, targets)]))
