"""What a command's own process and those that it starts print of Google's notes on versions."""

import os
import subprocess
import sys

WARN = "import warnings; warnings.warn_explicit('told', FutureWarning, 'file', 1, module={!r})"


def printed(module: str) -> tuple[str, str]:
    """By a process that imports `ulim_tf.quiet`, and by one that it starts."""
    own = f"import ulim_tf.quiet; {WARN.format(module)}"
    started = f"import ulim_tf.quiet, subprocess, sys; subprocess.run([sys.executable, '-c', {WARN.format(module)!r}])"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    return tuple(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                                env=environment).stderr for code in (own, started))


def test_google_is_not_heard_here_or_in_workers():
    for module in ("google.api_core._python_version_support", "google.auth.transport.grpc"):
        assert printed(module) == ("", "")


def test_others_are():
    assert [text.endswith("FutureWarning: told\n") for text in printed("pandas.core")] == [True, True]
