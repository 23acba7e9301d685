"""The server's choice of kernels is made before TensorFlow is imported, and can be overruled."""

import os
import subprocess
import sys

import pytest

CODE = """
import sys, serving.server.kernels
assert "tensorflow" not in sys.modules
import serving.server.__main__
from tensorflow.python.framework import test_util
print(test_util.IsMklEnabled())
"""


@pytest.mark.parametrize(("chosen", "with_onednn"), [(None, "False"), ("1", "True")])
def test_onednn_is_off_unless_it_is_asked_for(chosen, with_onednn):
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    if chosen:
        environment["TF_ENABLE_ONEDNN_OPTS"] = chosen
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == with_onednn
