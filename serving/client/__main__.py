"""The command: `python -m serving.client --help`."""

import argparse
import csv
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from serving import contract
from serving.client import Client, History, Recommendation

_EVENT_COLUMNS = ("user_id", "item_id", "timestamp")
_EVENT_TYPE = "event_type"
_EXAMPLE = """example:
  %(prog)s --server 127.0.0.1:8500 --history events.csv --user 42
"""
_INTERRUPTED = 130


class _UserError(Exception):
    """Something the user of the command can put right."""


def main(argv: Sequence[str] | None = None) -> int:
    """`command`, of a command line."""
    return command(parser().parse_args(argv))


def command(flags: argparse.Namespace) -> int:
    """Prints recommendations for a history in a CSV file. Returns 0; after one line that says what is wrong, 1 if the
    server refused or did not answer, 2 if an argument is wrong."""
    try:
        history = _read_history(flags.history, flags.user, _columns(flags.columns))
        history = dataclasses.replace(history, now=flags.now, profile=_profile(flags.profile))
        with Client(flags.server, flags.model_name, flags.timeout, credentials=_credentials(flags),
                    label=flags.version_label) as client:
            recommendations = client.recommend(history)
    except _UserError as error:
        return _fail(str(error), 2, flags.json)
    except grpc.RpcError as error:
        return _fail(_explain(error, flags.server), 1, flags.json)
    first = recommendations[:flags.top]
    print(json.dumps({"recommendations": [dataclasses.asdict(one) for one in first]}) if flags.json else _table(first))
    return 0


def _fail(message: str, code: int, as_json: bool) -> int:
    print(f"error: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": message}))
    return code


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser("python -m serving.client", epilog=_EXAMPLE,
                                   description="Prints recommendations for a history in a CSV file.",
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--server", default="127.0.0.1:8500", help="HOST:PORT of the gRPC interface")
    made.add_argument("--history", required=True, metavar="FILE",
                      help="CSV file with user_id, item_id and timestamp (unix seconds)")
    made.add_argument("--user", help="whose events to take; may be left out if the file has one user")
    made.add_argument("--columns", default="", help="names in the file: user_id=..,item_id=..,timestamp=..; "
                                                    "event_type=.. is sent only where it is named")
    made.add_argument("--profile", default="", metavar="COLUMN=VALUE,..",
                      help="what is known of the user, for a servable that reads profiles; COLUMN= for not known")
    made.add_argument("--now", type=int, default=0, help="request time, unix seconds; 0: the newest event's")
    made.add_argument("--top", type=int, default=20, help="how many to print")
    made.add_argument("--model_name", default=contract.MODEL_NAME)
    made.add_argument("--version_label", help="of the version that is asked; the newest if absent")
    made.add_argument("--timeout", type=float, default=10.0, help="seconds")
    made.add_argument("--tls", action="store_true",
                      help="encrypt; the usual authorities are trusted, or those of --tls_ca")
    made.add_argument("--tls_ca", type=Path, metavar="FILE", help="PEM certificates of the authorities to trust")
    made.add_argument("--tls_cert", type=Path, metavar="FILE", help="PEM certificate to show to the server")
    made.add_argument("--tls_key", type=Path, metavar="FILE", help="PEM key of --tls_cert")
    made.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return made


def _credentials(flags: argparse.Namespace) -> grpc.ChannelCredentials | None:
    files = (flags.tls_ca, flags.tls_key, flags.tls_cert)
    if not flags.tls:
        if any(files):
            raise _UserError("--tls_ca, --tls_cert and --tls_key need --tls")
        return None
    if bool(flags.tls_cert) != bool(flags.tls_key):
        raise _UserError("--tls_cert and --tls_key go together")
    try:
        return grpc.ssl_channel_credentials(*(file and file.read_bytes() for file in files))
    except OSError as error:
        raise _UserError(f"cannot read {error.filename}: {error.strerror}") from error


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
    for user_id, item_id, seconds, event_type in _read_events(file, columns):
        events.setdefault(user_id, []).append((item_id, seconds, event_type))
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
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
