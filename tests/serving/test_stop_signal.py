import signal
import subprocess
import sys

import pytest

from serving.server import stop_signal

SERVER = """
import signal, sys, threading, time
from serving.server import stop_signal

def other_thread():
    time.sleep(.3)  # the main thread waits by then
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

with stop_signal.awaited() as wait:
    if sys.argv[1] == "to another thread":
        threading.Thread(target=other_thread, daemon=True).start()
    elif sys.argv[1] == "before the wait":
        signal.raise_signal(signal.SIGINT)
    else:
        print("waiting", flush=True)
    wait()
print("stopped")
"""


@pytest.mark.parametrize("which", ["to another thread", "before the wait"])
def test_a_signal_ends_the_wait_whichever_thread_gets_it_and_when(which):
    ended = subprocess.run([sys.executable, "-c", SERVER, which], timeout=60, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "stopped\n"), ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_of_another_process_ends_the_wait(number):
    with subprocess.Popen([sys.executable, "-c", SERVER, "from outside"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "waiting\n"
        server.send_signal(number)
        assert server.communicate(timeout=60)[0] == "stopped\n"
        assert server.returncode == 0


def test_handlers_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_signal.awaited():
        assert signal.getsignal(signal.SIGINT) is not before[1]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert signal.set_wakeup_fd(-1) == -1
