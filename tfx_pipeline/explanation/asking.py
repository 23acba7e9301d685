"""A servable is asked about one user, by a server and a client as in production."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from serving.client import Client, Explanation, Filters, History, WeighedEvent
from serving.server.process import serve
from tfx_pipeline.explanation.lanes import shown
from tfx_pipeline.explanation.subject import Answer, Event

_START_SECONDS = 120
_TIMEOUT = 60.0  # seconds; the first request of each signature is slower than all others


def ask(servable: Path, history: History, events: Sequence[Event]) -> Answer:
    """Serves a version on a free port for as long as it takes to ask it.

    Args:
        servable: version folder.
        history: what is sent.
        events: the same, for the categories that are to be shown.

    Raises:
        NotServed: the server did not come to serve it.
        grpc.RpcError: the servable does not explain, or not this history.
    """
    with tempfile.TemporaryDirectory() as base:
        # Of several versions in a base path, a server takes the newest.
        (Path(base) / (servable.name if servable.name.isdecimal() else "1")).symlink_to(servable)
        with serve(base, _START_SECONDS, subprocess.DEVNULL) as target, Client(target, timeout=_TIMEOUT) as client:
            return ask_client(client, history, events)


def ask_client(client: Client, history: History, events: Sequence[Event]) -> Answer:
    """Asks a server that is there already; arguments as of `ask`."""
    predictions, explanations = client.predict_categories(history), client.explain(history)
    attention = _attention(explanations)
    # The weights of a category come with its items: where none was answered, one is asked for.
    there = {event.category_id for event in events}
    for category in shown(predictions, events):
        if category in there and category not in attention:
            attention |= _attention(client.explain(history, Filters(allow_categories=[category], limit=1)))
    return Answer(predictions, explanations, attention)


def _attention(explanations: Sequence[Explanation]) -> dict[str, Sequence[WeighedEvent]]:
    """All items of a category have the same events."""
    return {one.recommendation.category_id: one.events for one in explanations if one.events}
