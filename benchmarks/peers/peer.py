"""A retrieval model of another library, as the benchmark sees it: trained elsewhere, ranked here like all others."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.baselines.exact_ranking import best_items
from benchmarks.peers import environment, exchange
from benchmarks.peers.environment import Environment
from benchmarks.peers.exchange import Histories, Moments, Request, Vectors
from benchmarks.training_loop import Trained
from ulim_tf.event_log import EventLog, HeldOut

_CODE = Path(__file__).resolve().parents[2]
_USERS_AT_ONCE = 128
_LINES_SHOWN = 15


class PeerError(RuntimeError):
    """A peer's program failed."""


class Peer:
    """Implements `benchmarks.candidate.Candidate`.

    The peer's program trains on one core, as `benchmarks.peers.program` says, and answers with vectors of users and
    items; which items are best is found by the same code as for the baselines.

    Args:
        name: of the row in the table.
        python: gives the interpreter that has the library.
        program: module that it runs.
        model: which of the program's models.
        folder: what is exchanged.

    Attributes:
        versions: of the libraries, once fitted.
    """

    def __init__(self, name: str, python: Callable[[], Path], program: str, model: str, folder: Path):
        self.name, self._python, self._program, self._model, self._folder = name, python, program, model, folder
        self.versions: dict[str, str] = {}
        self._answered: tuple[HeldOut, Vectors] | None = None

    def fit(self, log: EventLog, *, validation: HeldOut | None, steps: int | None, seed: int, quick: bool) -> Trained:
        """As `Candidate`.

        Raises:
            SetupError: the peer's environment cannot be made.
            PeerError: its program failed.
        """
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._answered = None
        exchange.write_histories(self._folder, Histories(
            log.item_category, log.splits, log.item, log.timestamp, log.basket_start))
        exchange.write_request(self._folder, Request(self._model, seed, steps, quick))
        if validation is not None:
            exchange.write_moments(self._folder, Moments(validation.user, validation.now))
            exchange.write_targets(self._folder, validation.target)
        self._run("train")
        training = exchange.read_training(self._folder)
        self.versions = training.versions
        return Trained(training.steps, training.minutes, training.history)

    def rank(self, log: EventLog, held: HeldOut, count: int, exclude_seen: bool) -> np.ndarray:
        """As `Candidate`, exactly.

        Raises:
            PeerError: the peer's program failed.
            ValueError: it answered with something else than a vector for every user and item.
        """
        vectors = self._vectors(log, held)
        items = tf.constant(vectors.items, tf.float32)
        found = []
        for start in range(0, len(held.user), _USERS_AT_ONCE):
            part = slice(start, start + _USERS_AT_ONCE)
            seen = [log.item[log.history(user)] for user in held.user[part]] if exclude_seen else None
            found.append(best_items(tf.constant(vectors.interests[part], tf.float32), items, count, seen))
        return np.concatenate(found)

    def _vectors(self, log: EventLog, held: HeldOut) -> Vectors:
        """Asked for once, as both rankings of a split are made of them."""
        if self._answered is None or self._answered[0] is not held:
            exchange.write_moments(self._folder, Moments(held.user, held.now))
            self._run("vectors")
            self._answered = held, exchange.read_vectors(self._folder, len(held.user), log.items)
        return self._answered[1]

    def _run(self, action: str) -> None:
        """Runs the program, showing its steps; the rest of what it says goes to a file."""
        said = self._folder / f"{action}.log"
        settings = {"PYTHONPATH": str(_CODE), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1",
                    "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2",
                    "TF_USE_LEGACY_KERAS": "1"}  # deepmatch is written for Keras 2
        command = [self._python(), "-m", self._program, action, self._folder.absolute()]
        with said.open("w") as rest, subprocess.Popen(list(map(str, command)), env=os.environ | settings, text=True,
                                                      stdout=subprocess.PIPE, stderr=rest) as process:
            for line in process.stdout:
                if line.startswith("step"):
                    print(f"    {self.name}: {line.rstrip()}", flush=True)
        if process.returncode:
            last = "\n".join(said.read_text().splitlines()[-_LINES_SHOWN:])
            raise PeerError(f"{self._program} {action} failed for {self.name} with exit code {process.returncode}; "
                            f"all it said is in {said}. "
                            f"To make its environment anew, remove {environment.ROOT}.\n\n{last}")


def peers() -> list[Peer]:
    """Every peer from PyPI: of RecTools and of deepmatch, each library in an environment of its own."""
    requirements = Path(__file__).parent
    found = []
    for library, version, title, models in (("rectools", "3.11", "RecTools", ("SASRec", "HSTU")),
                                            ("deepmatch", "3.10", "deepmatch", ("SDM", "MIND", "ComiRec"))):
        its = Environment(library, version, requirements / f"{library}.txt")
        found += [Peer(f"{model} ({title})", its.python, f"benchmarks.peers.{library}_models", model,
                       environment.ROOT / "runs" / f"{library}-{model.lower()}") for model in models]
    return found
