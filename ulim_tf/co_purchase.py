"""Where co-purchases put items: those that the same users bought lie close together [I].

Training moves the vector of a rare item a few times, from where chance put it. From the directions that explain best
who bought what, it stands beside its like from the first step on. Directions come from a truncated SVD of users by
items, as in latent semantic analysis (Deerwester et al. 1990).
"""

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import svds

_LENGTH = 0.5  # of an item's vector; validation: .25, .5 and 1.5 differ little
_RARE_USERS = 5.0  # added to an item's users, so that an item of one user does not outweigh all others


def count(batches: Iterable[tuple[np.ndarray, np.ndarray]], items: int) -> sparse.csr_matrix:
    """How often each user bought each item.

    Args:
        batches: users one after the other, none in two batches: events of each int64 [U'], and their items int64 [n].
        items: V + O; O is 0 without buckets.

    Returns:
        float64 [U, V + O + 1].
    """
    parts = [sparse.csr_matrix((np.ones(len(item)), (np.repeat(np.arange(len(events)), events), item)),
                               shape=(len(events), items + 1)) for events, item in batches]
    return sparse.vstack(parts, format="csr")


def item_vectors(purchases: sparse.csr_matrix, width: int, seed: int) -> np.ndarray:
    """Vectors of one length, in the directions that the SVD gives: each of its dimensions weighs the same.

    Entries are log(1 + events); a user's row is scaled to length 1 or less, an item's column by 1 / sqrt(its users).

    Args:
        purchases: [U, V + O + 1], as `count` gives them; column 0, the unknown item, is left out.
        width: D. Where there are fewer users or items than that, the last dimensions are 0.
        seed: of the SVD's start.

    Returns:
        float32 [V + O + 1, D], 0 for an item without events.
    """
    bought = purchases.log1p().multiply(np.arange(purchases.shape[1]) > 0).tocsr()
    users = np.bincount(bought.indices[bought.data > 0], minlength=bought.shape[1])
    length = np.sqrt(bought.multiply(bought).sum(axis=1).A1)
    scaled = sparse.diags(1.0 / np.maximum(length, 1.0)) @ bought @ sparse.diags(1.0 / np.sqrt(users + _RARE_USERS))
    rank = min(width, min(bought.shape) - 1)
    vectors = np.zeros([bought.shape[1], width])
    if rank > 0 and users.any():
        _, _, direction = svds(scaled.tocsc(), k=rank, random_state=seed)
        vectors[:, :rank] = direction.T
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= np.where(norm > 1e-9, _LENGTH / np.maximum(norm, 1e-9), 0.0)
    vectors[users == 0] = 0.0
    return vectors.astype(np.float32)
