"""SASRec and HSTU of RecTools, in RecTools' environment.

Histories are cut into sequences of 100 events and the one that follows, so that an epoch sees every event; RecTools by
itself trains on each user's newest sequence only. Every position predicts the next item, by the library's sampled
softmax with uniform negatives of its own. Negatives that a batch shares cost less each, but 256 of 68,509 items a step
are too few to push down: Adam leaves the rare ones, half of which were bought twice or less, on top, and Recall@100 was
.153 after 60 steps and .102 after 120.

Tried on the validation split for one minute and a half each, Recall@100 after 80 and 120 steps: SASRec with a rate of
1e-3 .192 and -, 3e-3 .191 and .203; without categories (1e-3) .189 and .189. HSTU, cosines over .05, 1e-3 .191 and
-, 3e-3 .195 and .194.
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.hstu import HSTUModel

from benchmarks.peers import program
from benchmarks.peers.exchange import Histories, Moments, Vectors

WIDTH = 64  # D
EVENTS = 100  # of a sequence
BATCH = 128
NEGATIVES = 20  # of each position
EVERY = 100  # about an epoch of Complete Journey

_NEVER = -1e9  # score of an item that was never bought, of which the model knows nothing
_USERS_AT_ONCE = 256


class RecToolsModel:
    """Implements `benchmarks.peers.program.PeerModel`.

    Args:
        histories: what to learn from.
        seed: of weights, batches, negatives and dropout.
        kind: RecTools' class.
        **settings: of it, which differ between the two.
    """

    every = EVERY

    def __init__(self, histories: Histories, seed: int, kind: type[SASRecModel] | type[HSTUModel], **settings: object):
        torch.manual_seed(seed)
        torch.set_num_threads(1)  # with two, torch collapses when the other core is busy
        warnings.filterwarnings("ignore", message="You are trying to `self.log")
        self._histories = histories
        self._model = kind(
            n_factors=WIDTH, n_blocks=2, session_max_len=EVENTS, batch_size=BATCH, loss="sampled_softmax",
            n_negatives=NEGATIVES, **settings)
        self._model._build_model_from_dataset(_dataset(histories))
        self._network = self._model.lightning_model
        self._network.on_train_start()
        self._optimizer = self._network.configure_optimizers()
        self._batches = self._endless_batches()

    def step(self) -> float:
        """As `PeerModel`."""
        self._network.train()
        batch = next(self._batches)
        loss = self._network.loss_calculator(self._network.get_batch_logits(batch), batch["y"], batch["yw"])
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.item()

    @torch.no_grad()
    def vectors(self, moments: Moments) -> Vectors:
        """As `PeerModel`: the state after the last event, and the score that training uses."""
        self._network.eval()
        net = self._network.torch_model
        known = self._model.data_preparator.get_known_item_ids().astype(np.int64)
        number = np.zeros(len(self._histories.item_category), np.int64)
        number[known] = self._model.data_preparator.item_id_map.convert_to_internal(known)
        embedded = net.item_model.get_all_embeddings()
        states = [net.encode_sessions(batch, embedded)[:, -1] for batch in self._newest(moments, number)]
        interests = torch.cat(states)
        if net.similarity_module.distance.name == "COSINE":
            interests, embedded = map(net.similarity_module._get_embeddings_norm, (interests, embedded))
        items = np.zeros([len(number), WIDTH + 1], np.float32)
        items[:, :-1] = embedded.numpy()[number]
        items[number == 0, -1] = _NEVER
        one = np.ones([len(interests), 1], np.float32)
        return Vectors(np.concatenate([interests.numpy(), one], axis=1)[:, None], items)

    def weights(self) -> list[np.ndarray]:
        """As `PeerModel`."""
        return [value.numpy().copy() for value in self._network.torch_model.state_dict().values()]

    def load(self, weights: Sequence[np.ndarray]) -> None:
        """As `PeerModel`."""
        names = self._network.torch_model.state_dict()
        self._network.torch_model.load_state_dict(
            {name: torch.from_numpy(value) for name, value in zip(names, weights)})

    def _endless_batches(self) -> Iterator[dict[str, torch.Tensor]]:
        loader = self._model.data_preparator.get_dataloader_train()
        while True:
            yield from loader

    def _newest(self, moments: Moments, number: np.ndarray) -> Iterator[dict[str, torch.Tensor]]:
        """The newest events of users, padded at the left, and their times followed by the time of asking."""
        for start in range(0, len(moments.user), _USERS_AT_ONCE):
            users = moments.user[start:start + _USERS_AT_ONCE]
            begin, end = self._histories.splits[users], self._histories.splits[users + 1]
            place = end[:, None] - EVENTS + np.arange(EVENTS)
            real = place >= begin[:, None]
            place = np.maximum(place, begin[:, None])
            times = np.column_stack([self._histories.timestamp[place], moments.now[start:start + _USERS_AT_ONCE]])
            yield {"x": torch.from_numpy(number[self._histories.item[place]] * real),
                   "unix_ts": torch.from_numpy(times)}


def _dataset(histories: Histories) -> Dataset:
    """RecTools' tables: sequences as its users, and each item's category as its feature."""
    sequence, event = [], []
    for begin, end in zip(histories.splits[:-1], histories.splits[1:]):
        for first in range(begin, end - 1, EVENTS):
            event.append(np.arange(first, min(first + EVENTS + 1, end)))
            sequence.append(np.full(len(event[-1]), len(event)))
    event = np.concatenate(event)
    interactions = pd.DataFrame({
        Columns.User: np.concatenate(sequence), Columns.Item: histories.item[event], Columns.Weight: 1.0,
        Columns.Datetime: pd.to_datetime(histories.timestamp[event], unit="s")})
    bought = np.unique(histories.item)
    features = pd.DataFrame({"id": bought, "feature": "category", "value": histories.item_category[bought]})
    return Dataset.construct(interactions, item_features_df=features, cat_item_features=["category"])


def _sasrec(histories: Histories, seed: int) -> RecToolsModel:
    return RecToolsModel(histories, seed, SASRecModel, lr=3e-3, n_heads=2, dropout_rate=0.2)


def _hstu(histories: Histories, seed: int) -> RecToolsModel:
    return RecToolsModel(histories, seed, HSTUModel, lr=3e-3, n_heads=2, dropout_rate=0.2,
                         lightning_module_kwargs={"logits_t": 0.05})


if __name__ == "__main__":
    program.main({"SASRec": _sasrec, "HSTU": _hstu}, ("rectools", "torch", "pytorch-lightning", "numpy"))
