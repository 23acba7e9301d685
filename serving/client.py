"""Asks a server for recommendations: `Client` in Python, and a command that reads a history from a CSV file.

    python -m serving.client --server 127.0.0.1:8500 --history events.csv --user 42
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before the stubs import TensorFlow

import argparse
import csv
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving import contract

_ANY_SIZE = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_VALUE_FIELD = {
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_FLOAT: "float_val",
}
_EVENT_COLUMNS = ("user_id", "item_id", "timestamp")
_EVENT_TYPE = "event_type"


@dataclasses.dataclass(frozen=True)
class History:
    """A user's events in any order; among equal timestamps, in the order they happened. May be empty.

    Attributes:
        item_ids: one an event.
        timestamps: unix seconds, one an event.
        now: the moment that is asked about, unix seconds; 0 means the time of the newest event.
        event_types: one an event, for a servable that tells them apart; None for one that does not.
        profile: column -> what is known of the user, for a servable that reads profiles.
    """

    item_ids: Sequence[str] = ()
    timestamps: Sequence[int] = ()
    now: int = 0
    event_types: Sequence[str] | None = None
    profile: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if len(self.item_ids) != len(self.timestamps):
            raise ValueError(f"item_ids and timestamps must be as many, got {len(self.item_ids)} item_ids "
                             f"and {len(self.timestamps)} timestamps")
        if self.event_types is not None and len(self.event_types) != len(self.item_ids):
            raise ValueError(f"item_ids and event_types must be as many, got {len(self.item_ids)} item_ids "
                             f"and {len(self.event_types)} event_types")


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """One item to show.

    Attributes:
        item_id: as in the catalogue.
        category_id: the item's category.
        channel: one of `contract.CHANNELS`.
        score: log-probability, comparable inside one answer.
    """

    item_id: str
    category_id: str
    channel: str
    score: float


@dataclasses.dataclass(frozen=True)
class CategoryPrediction:
    """One category that the user may turn to next.

    Attributes:
        category_id: as in the catalogue.
        probability: of this category.
        copy_share: the part of the probability that was copied from the history, 0 to 1.
    """

    category_id: str
    probability: float
    copy_share: float


class Client:
    """A connection to a server, usable from many threads; close it, or use it in a `with`.

    Args:
        target: "host:port" of the gRPC interface.
        model_name: as the server names it.
        timeout: seconds to wait for one answer.
        credentials: for a server with TLS, as `grpc.ssl_channel_credentials` makes them; None for one without.

    Every method raises grpc.RpcError as gRPC made it, with the server's code and message.
    """

    def __init__(self, target: str, model_name: str = contract.MODEL_NAME, timeout: float = 10.0,
                 credentials: grpc.ChannelCredentials | None = None):
        self._channel = (grpc.secure_channel(target, credentials, options=_ANY_SIZE) if credentials
                         else grpc.insecure_channel(target, options=_ANY_SIZE))
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._model_name = model_name
        self._timeout = timeout

    def recommend(self, history: History) -> list[Recommendation]:
        """Items to show a user, best first."""
        return self.recommend_batch([history])[0]

    def recommend_batch(self, histories: Sequence[History]) -> list[list[Recommendation]]:
        """Items to show each of some users, in one request."""
        answers = self._predict(contract.SIGNATURE_RECOMMEND, histories)
        return [
            [Recommendation(item.decode(), category.decode(), contract.CHANNELS[channel], score)
             for item, category, channel, score in zip(
                 answer[contract.ITEM_ID][:answer[contract.COUNT]], answer[contract.CATEGORY_ID],
                 answer[contract.CHANNEL], answer[contract.SCORE])]
            for answer in answers
        ]

    def predict_categories(self, history: History) -> list[CategoryPrediction]:
        """Categories that the user may turn to next, most probable first."""
        [answer] = self._predict(contract.SIGNATURE_PREDICT_CATEGORY, [history])
        return [CategoryPrediction(category.decode(), probability, copy_share) for category, probability, copy_share
                in zip(answer[contract.CATEGORY_ID], answer[contract.PROBABILITY], answer[contract.COPY_SHARE])]

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _predict(self, signature: str, histories: Sequence[History]) -> list[dict[str, Any]]:
        """The outputs, one dict a history."""
        if not histories:
            return []
        request = predict_request(histories, signature, self._model_name)
        outputs = self._stub.Predict(request, timeout=self._timeout).outputs
        rows = {name: _to_rows(tensor) for name, tensor in outputs.items()}
        return [{name: row[place] for name, row in rows.items()} for place in range(len(histories))]


def predict_request(histories: Sequence[History], signature: str,
                    model_name: str = contract.MODEL_NAME) -> predict_pb2.PredictRequest:
    """The request that asks a signature about B histories: [B, L] with L the longest, but 1 at least, shorter ones
    padded behind.

    Args:
        histories: at least one.
        signature: its name in the contract.
        model_name: as the server names it.
    """
    # TF Serving pads merged requests with their own first value; without one, it fails all of them.
    length = max(1, *(len(history.item_ids) for history in histories))
    items, times, types = [], [], []
    for history in histories:
        padding = length - len(history.item_ids)
        items += [item.encode() for item in history.item_ids] + [b""] * padding
        times += [*history.timestamps] + [0] * padding
        types += [one.encode() for one in history.event_types or [""] * len(history.item_ids)] + [b""] * padding
    batch = len(histories)
    inputs = [
        (contract.ITEM_ID, types_pb2.DT_STRING, (batch, length), items),
        (contract.TIMESTAMP, types_pb2.DT_INT64, (batch, length), times),
        (contract.LENGTH, types_pb2.DT_INT32, (batch,), [len(history.item_ids) for history in histories]),
        (contract.NOW, types_pb2.DT_INT64, (batch,), [history.now for history in histories])]
    if any(history.event_types is not None for history in histories):
        inputs.append((contract.EVENT_TYPE, types_pb2.DT_STRING, (batch, length), types))
    for column in sorted({column for history in histories for column in history.profile}):
        inputs.append((contract.PROFILE + column, types_pb2.DT_STRING, (batch,),
                       [history.profile.get(column, "").encode() for history in histories]))
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model_name, signature
    for name, dtype, shape, values in inputs:
        tensor = request.inputs[name]
        tensor.dtype = dtype
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        getattr(tensor, _VALUE_FIELD[dtype]).extend(values)
    return request


def _to_rows(tensor: TensorProto) -> list[Any]:
    """A tensor as nested lists, whether its values are in the typed field or in tensor_content."""
    if tensor.tensor_content:
        dtype = {types_pb2.DT_INT32: "<i4", types_pb2.DT_INT64: "<i8", types_pb2.DT_FLOAT: "<f4"}[tensor.dtype]
        values = np.frombuffer(tensor.tensor_content, dtype)
    else:
        values = np.array(getattr(tensor, _VALUE_FIELD[tensor.dtype]), object)
    return values.reshape([dim.size for dim in tensor.tensor_shape.dim]).tolist()


# The command --------------------------------------------------------------------------------------------------------


class _UserError(Exception):
    """Something the user of the command can put right."""


def main(argv: Sequence[str] | None = None) -> int:
    """Prints recommendations for a history in a CSV file. Returns 0, or 2 after one line that says what is wrong."""
    flags = _flags().parse_args(argv)
    try:
        history = _read_history(flags.history, flags.user, _columns(flags.columns))
        history = dataclasses.replace(history, now=flags.now, profile=_profile(flags.profile))
        with Client(flags.server, flags.model_name, flags.timeout) as client:
            recommendations = client.recommend(history)
    except _UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except grpc.RpcError as error:
        print(f"error: {_explain(error, flags.server)}", file=sys.stderr)
        return 2
    print(_table(recommendations[:flags.top]))
    return 0


def _flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving.client", description=main.__doc__)
    parser.add_argument("--server", default="127.0.0.1:8500", help="HOST:PORT of the gRPC interface")
    parser.add_argument("--history", required=True, help="CSV file with user_id, item_id and timestamp (unix seconds)")
    parser.add_argument("--user", help="whose events to take; may be left out if the file has one user")
    parser.add_argument("--columns", default="", help="names in the file: user_id=..,item_id=..,timestamp=..; "
                                                      "event_type=.. is sent only where it is named")
    parser.add_argument("--profile", default="", metavar="COLUMN=VALUE,..",
                        help="what is known of the user, for a servable that reads profiles; COLUMN= for not known")
    parser.add_argument("--now", type=int, default=0, help="request time, unix seconds; 0: the newest event's")
    parser.add_argument("--top", type=int, default=20, help="how many to print")
    parser.add_argument("--model_name", default=contract.MODEL_NAME)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds")
    return parser


def _columns(mapping: str) -> dict[str, str]:
    """Standard name -> name in the file."""
    columns = {name: name for name in _EVENT_COLUMNS}
    for pair in filter(None, mapping.split(",")):
        name, _, in_file = pair.partition("=")
        if name not in (*_EVENT_COLUMNS, _EVENT_TYPE) or not in_file:
            raise _UserError(f"--columns takes pairs such as item_id=product, for {', '.join(_EVENT_COLUMNS)} and "
                             f"{_EVENT_TYPE}; got {pair!r}")
        columns[name] = in_file
    return columns


def _profile(mapping: str) -> dict[str, str]:
    """Column -> value."""
    pairs = [pair.partition("=") for pair in filter(None, mapping.split(","))]
    for column, separator, value in pairs:
        if not column or not separator:
            raise _UserError(f"--profile takes pairs such as country=nl, got {column + separator + value!r}")
    return {column: value for column, _, value in pairs}


def _read_history(file: str, user: str | None, columns: Mapping[str, str]) -> History:
    events: dict[str, list[tuple[str, int, str]]] = {}
    for user_id, *event in _read_events(file, columns):
        events.setdefault(user_id, []).append(event)
    if not events:
        raise _UserError(f"{file} has no events")
    if user is None and len(events) > 1:
        raise _UserError(f"{file} has {len(events)} users ({_some(events)}): choose one with --user")
    if user is not None and user not in events:
        raise _UserError(f"{file} has no user {user!r}; it has {_some(events)}")
    [chosen] = [user] if user is not None else events
    items, times, types = zip(*events[chosen])
    return History(items, times, event_types=types if _EVENT_TYPE in columns else None)


def _read_events(file: str, columns: Mapping[str, str]) -> Iterator[tuple[str, str, int, str]]:
    try:
        with open(file, newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines, restval="")
            missing = [name for name in columns.values() if name not in (rows.fieldnames or ())]
            if missing:
                raise _UserError(f"{file} has no column {', '.join(missing)}; it has "
                                 f"{', '.join(rows.fieldnames or ()) or 'none'}. Name yours with --columns")
            for row in rows:
                user_id, item_id, timestamp = (row[columns[name]] for name in _EVENT_COLUMNS)
                seconds = _unix_seconds(timestamp, f"{file}, line {rows.line_num}")
                yield user_id, item_id, seconds, row.get(columns.get(_EVENT_TYPE), "")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error


def _unix_seconds(text: str, place: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise _UserError(f"{place}: timestamp must be a whole number of unix seconds, got {text!r}")
    return int(text)


def _some(users: Mapping[str, Any]) -> str:
    first = list(users)[:5]
    return ", ".join(first) + (", .." if len(users) > len(first) else "")


def _explain(error: grpc.RpcError, target: str) -> str:
    if error.code() == grpc.StatusCode.UNAVAILABLE:
        return (f"no server answers at {target}. Start one: "
                "python -m serving.server --model_base_path=DIR --port=PORT; or name another with --server")
    return f"{target} answered {error.code().name}: {' '.join(error.details().split())}"


def _table(recommendations: Sequence[Recommendation]) -> str:
    rows = [("rank", "item", "category", "channel", "score")]
    rows += [(str(rank), r.item_id, r.category_id, r.channel, f"{r.score:.4f}")
             for rank, r in enumerate(recommendations, 1)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join((
        rank.rjust(widths[0]), item.ljust(widths[1]), category.ljust(widths[2]), channel.ljust(widths[3]),
        score.rjust(widths[4]))) for rank, item, category, channel, score in rows)


if __name__ == "__main__":
    sys.exit(main())
