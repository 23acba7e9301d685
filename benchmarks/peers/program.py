"""What the programs of all peers share: they run in a peer's environment, train by one protocol, and give vectors.

    python -m benchmarks.peers.<library>_models train FOLDER
    python -m benchmarks.peers.<library>_models vectors FOLDER

`train` reads the histories and the request in FOLDER and leaves weights there; `vectors` answers for FOLDER's moments.
All peers have the same five minutes of one core, four times what ULIM needs to its best, counted in the process's own
time: it is the wall-clock of a core that nothing else uses, and a busy one takes nothing from a peer's budget.
"""

import importlib.metadata
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.peers import exchange
from benchmarks.peers.exchange import Histories, Moments, Request, Training, Vectors

BUDGET_MINUTES = 5.0  # of training, for each peer; the scoring on top
PATIENCE = 2  # looks without a new best after which training stops
QUICK_STEPS, QUICK_EVERY = 20, 10

_WEIGHTS = "weights.npz"
_RECALL_AT = 100
_USERS_AT_ONCE = 256


class PeerModel(Protocol):
    """A library's model as the shared loop drives it.

    Attributes:
        every: steps between two looks at the validation users.
    """

    every: int

    def step(self) -> float:
        """Takes one step of the optimizer; the loss."""

    def vectors(self, moments: Moments) -> Vectors:
        """Of users, from their whole histories as the model reads them, and of all items."""

    def weights(self) -> list[np.ndarray]:
        """All of them, for `load`."""

    def load(self, weights: Sequence[np.ndarray]) -> None:
        """Takes back what `weights` gave."""


def main(models: Mapping[str, Callable[[Histories, int], PeerModel]], libraries: Sequence[str]) -> None:
    """The command of a peer's program.

    Args:
        models: by name, what builds one from histories and a seed.
        libraries: whose versions are told.
    """
    action, folder = sys.argv[1], Path(sys.argv[2])
    request, histories = exchange.read_request(folder), exchange.read_histories(folder)
    model = models[request.model](histories, request.seed)
    if action == "train":
        training = train(model, request, folder, {name: importlib.metadata.version(name) for name in libraries})
        np.savez(folder / _WEIGHTS, *model.weights())
        exchange.write_training(folder, training)
    else:
        stored = np.load(folder / _WEIGHTS)
        model.load([stored[name] for name in stored.files])
        exchange.write_vectors(folder, model.vectors(exchange.read_moments(folder)))


def train(model: PeerModel, request: Request, folder: Path, versions: dict[str, str]) -> Training:
    """Trains for so many steps, or to the best Recall@100 of the folder's targets within the budget."""
    if request.steps is not None:
        seconds = _steps(model, 0, request.steps)
        return Training(request.steps, seconds / 60, [], versions)
    moments, targets = exchange.read_moments(folder), exchange.read_targets(folder)
    every, most = (QUICK_EVERY, QUICK_STEPS) if request.quick else (model.every, sys.maxsize)
    history, kept, seconds, step = [], None, 0.0, 0
    while step < most and seconds < 60 * BUDGET_MINUTES and not _is_over(history):
        seconds += _steps(model, step, every)
        step += every
        score = mean_recall(model.vectors(moments), targets)
        print(f"step {step:,}, {seconds:.0f} s, validation {score:.4f}", flush=True)
        if kept is None or score > max(past for _, _, past in history):
            kept = model.weights()
        history.append((step, seconds / 60, score))
    model.load(kept)
    best = _best(history)
    return Training(history[best][0], history[best][1], history, versions)


def mean_recall(vectors: Vectors, targets: Sequence[np.ndarray]) -> float:
    """Share of each user's targets [n arrays] among their best 100 items, mean over users."""
    found = []
    for start in range(0, len(targets), _USERS_AT_ONCE):
        score = (vectors.interests[start:start + _USERS_AT_ONCE] @ vectors.items.T).max(axis=1)
        score[:, 0] = -np.inf
        best = np.argpartition(score, -min(_RECALL_AT, score.shape[1]), axis=1)[:, -_RECALL_AT:]
        found += [np.isin(target, row).mean() for target, row in zip(targets[start:start + _USERS_AT_ONCE], best)]
    return float(np.mean(found))


def _steps(model: PeerModel, done: int, count: int) -> float:
    """Takes steps and prints their mean loss; the seconds they took."""
    start = time.process_time()
    losses = [model.step() for _ in range(count)]
    seconds = time.process_time() - start
    if not np.isfinite(losses).all():
        raise RuntimeError(f"the loss is not a number between the steps {done} and {done + count}. "
                           "Lower the model's learning rate.")
    print(f"steps {done:,} to {done + count:,}: {seconds:.0f} s, mean loss {np.mean(losses):.4f}", flush=True)
    return seconds


def _best(history: Sequence[tuple[int, float, float]]) -> int:
    return int(np.argmax([score for _, _, score in history]))


def _is_over(history: Sequence[tuple[int, float, float]]) -> bool:
    return bool(history) and len(history) - 1 - _best(history) >= PATIENCE
