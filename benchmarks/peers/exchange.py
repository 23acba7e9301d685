"""What the benchmark and a peer's program hand each other: files in a folder, and nothing but NumPy to read them.

The program runs in the peer's own environment, perhaps with another Python, so this module imports nothing of ours.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

_HISTORIES, _MOMENTS, _TARGETS, _VECTORS = "histories.npz", "moments.npz", "targets.npz", "vectors.npz"
_REQUEST, _TRAINED = "request.json", "trained.json"


@dataclasses.dataclass(frozen=True)
class Histories:
    """What was bought before the cut, as `ulim_tf.event_log.EventLog` has it; item and category 0 are the unknown ones.

    Attributes:
        item_category: int64 [V + 1].
        splits: int64 [U + 1], where each user's events begin and end.
        item: int64 [E], each user's in time order.
        timestamp: int64 [E], unix seconds.
        basket_start: int64 [E], rank of the first event of the event's basket among the user's.
    """

    item_category: np.ndarray
    splits: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    basket_start: np.ndarray


@dataclasses.dataclass(frozen=True)
class Moments:
    """n users int64 [n], and when they are asked about: `now` int64 [n], unix seconds."""

    user: np.ndarray
    now: np.ndarray


@dataclasses.dataclass(frozen=True)
class Vectors:
    """A user's score of an item is the largest dot product of any interest [n, K, D] with the item's vector [V + 1, D].

    Whatever else a model adds to a score, such as a bias, is one more of the D numbers.
    """

    interests: np.ndarray
    items: np.ndarray


@dataclasses.dataclass(frozen=True)
class Request:
    """How a peer is to be trained.

    Attributes:
        model: which of the program's models.
        seed: of everything random.
        steps: trains exactly so many; None trains to the best Recall@100 of the validation users.
        quick: only to see whether it runs.
    """

    model: str
    seed: int
    steps: int | None
    quick: bool


@dataclasses.dataclass(frozen=True)
class Training:
    """What a training came to.

    Attributes:
        steps: after which the weights that were kept were reached.
        minutes: of one core to that step, without the scoring.
        history: (step, minutes, Recall@100) of each look at the validation users.
        versions: of the peer's libraries.
    """

    steps: int
    minutes: float
    history: list[tuple[int, float, float]]
    versions: dict[str, str]


def write_histories(folder: Path, histories: Histories) -> None:
    """For `read_histories`."""
    np.savez(folder / _HISTORIES, **_columns(histories))


def read_histories(folder: Path) -> Histories:
    """What `write_histories` wrote."""
    return Histories(**np.load(folder / _HISTORIES))


def write_moments(folder: Path, moments: Moments) -> None:
    """The users that vectors are wanted of."""
    np.savez(folder / _MOMENTS, **_columns(moments))


def read_moments(folder: Path) -> Moments:
    """What `write_moments` wrote."""
    return Moments(**np.load(folder / _MOMENTS))


def write_targets(folder: Path, targets: list[np.ndarray]) -> None:
    """The items that each of the n users of the moments bought next, by which training stops."""
    np.savez(folder / _TARGETS, item=np.concatenate(targets), splits=np.cumsum([0, *map(len, targets)]))


def read_targets(folder: Path) -> list[np.ndarray]:
    """What `write_targets` wrote."""
    stored = np.load(folder / _TARGETS)
    return np.split(stored["item"], stored["splits"][1:-1])


def write_request(folder: Path, request: Request) -> None:
    """For `read_request`."""
    (folder / _REQUEST).write_text(json.dumps(dataclasses.asdict(request)))


def read_request(folder: Path) -> Request:
    """What `write_request` wrote."""
    return Request(**json.loads((folder / _REQUEST).read_text()))


def write_training(folder: Path, training: Training) -> None:
    """For `read_training`."""
    (folder / _TRAINED).write_text(json.dumps(dataclasses.asdict(training)))


def read_training(folder: Path) -> Training:
    """What `write_training` wrote."""
    stored = json.loads((folder / _TRAINED).read_text())
    return Training(**stored | {"history": [tuple(point) for point in stored["history"]]})


def write_vectors(folder: Path, vectors: Vectors) -> None:
    """For `read_vectors`."""
    np.savez(folder / _VECTORS, **_columns(vectors))


def read_vectors(folder: Path, users: int, items: int) -> Vectors:
    """What `write_vectors` wrote.

    Raises:
        ValueError: the vectors are not those of n = `users` users and V = `items` items, or are not finite numbers.
    """
    vectors = Vectors(**np.load(folder / _VECTORS))
    shapes = vectors.interests.shape, vectors.items.shape
    if (len(shapes[0]), len(shapes[1])) != (3, 2) or shapes[0][0] != users or shapes[1] != (items + 1, shapes[0][2]):
        raise ValueError("a peer must answer with interests [n, K, D] and items [V + 1, D], "
                         f"n = {users} and V = {items}, got {list(shapes[0])} and {list(shapes[1])} in "
                         f"{folder / _VECTORS}. "
                         "Its program must give a vector for every user and item it was sent.")
    if not (np.isfinite(vectors.interests).all() and np.isfinite(vectors.items).all()):
        raise ValueError(f"a peer must answer with finite numbers, got others in {folder / _VECTORS}. "
                         "Lower its learning rate.")
    return vectors


def _columns(record: Any) -> dict[str, np.ndarray]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
