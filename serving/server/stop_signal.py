"""SIGTERM and SIGINT as what a server waits for."""

import contextlib
import functools
import signal
import socket
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def awaited() -> Iterator[Callable[[], object]]:
    """Yields a function that returns once a signal has come, be it before the call. While entered, a signal does
    nothing else. For the main thread.

    A `threading.Event` that a handler sets would not do: handlers run in the main thread, which may hold the event's
    lock, and only when it goes on, which it does not where the system gives the signal to another thread. What
    Python's own C handler writes to a socket wakes its reader in any case.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    handlers = [(number, signal.signal(number, lambda *_: None)) for number in _SIGNALS]
    wakeup_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    with reader, writer:
        try:
            yield functools.partial(reader.recv, 1)
        finally:
            signal.set_wakeup_fd(wakeup_fd)
            for number, handler in handlers:
                signal.signal(number, handler)
