"""What users of a log would ask: histories of one length, as arrays for a graph and as protos for a server."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import numpy as np
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from serving import contract
from serving.client import History, predict_request
from ulim_tf.event_log import EventLog
from ulim_tf.sequences import DAY_SECONDS

_CONSIDERED = 256  # users, those with most events


def histories(log: EventLog, count: int, length: int, seed: int = 23) -> list[History]:
    """Histories of `length` events: newest ones of the users with most, again and again where they have fewer.

    Args:
        log: whose users.
        count: how many histories.
        length: events of each.
        seed: of everything random.
    """
    random = np.random.default_rng(seed)
    events = np.diff(log.splits)
    chosen = random.choice(np.argsort(-events, kind="stable")[:_CONSIDERED], count)
    asked = []
    for user in chosen:
        item = log.item[log.history(user)][-length:]
        item = np.append(random.choice(item, length - len(item)), item)
        time = np.sort(log.timestamp.max() - random.integers(0, 700 * DAY_SECONDS, length))
        asked.append(History(log.item_id[item].tolist(), time.tolist(), now=int(log.timestamp.max()) + DAY_SECONDS))
    return asked


def arrays(asked: list[History]) -> dict[str, np.ndarray]:
    """One call's inputs, of histories of one length."""
    return {contract.ITEM_ID: np.array([[one.encode() for one in history.item_ids] for history in asked], object),
            contract.TIMESTAMP: np.array([history.timestamps for history in asked], np.int64),
            contract.LENGTH: np.array([len(history.item_ids) for history in asked], np.int32),
            contract.NOW: np.array([history.now for history in asked], np.int64)}


def proto(asked: list[History]) -> PredictRequest:
    """The same as a client sends them, as TensorFlow Serving's own message, which can go to another process."""
    return PredictRequest.FromString(predict_request(asked, contract.SIGNATURE_RECOMMEND).SerializeToString())
