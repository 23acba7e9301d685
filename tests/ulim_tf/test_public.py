"""What `import ulim_tf` gives: every public name, without importing TensorFlow before one needs it."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import ulim_tf

INIT = ast.parse(Path(ulim_tf.__file__).read_text())


def after(code: str) -> object:
    """What `print(json.dumps(...))` at the end of a program says, run in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_what_type_checkers_see_is_what_is_public():
    seen = {alias.name: node.module for node in ast.walk(INIT) if isinstance(node, ast.ImportFrom)
            and node.module.startswith("ulim_tf") for alias in node.names}
    assert seen.keys() == set(ulim_tf.__all__)
    for name, module in seen.items():
        given, wanted = getattr(ulim_tf, name), getattr(importlib.import_module(module), name)
        assert given is wanted, name


def test_the_list_is_in_order_and_has_no_name_twice():
    assert ulim_tf.__all__ == sorted(set(ulim_tf.__all__))


def test_every_public_name_is_listed_by_dir():
    assert set(ulim_tf.__all__) <= set(dir(ulim_tf))


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="module 'ulim_tf' has no attribute 'UlimModle'"):
        _ = ulim_tf.UlimModle


def test_tensorflow_is_imported_with_the_first_name_that_needs_it_and_as_keras_2():
    assert after("""
import json, os, sys
import ulim_tf as ulim
seen = ["tensorflow" in sys.modules]
ulim.UlimConfig(), ulim.config.to_dict, ulim.split_by_time, ulim.evaluate.recall_at, ulim.features.EVENT_ITEM
seen.append("tensorflow" in sys.modules)
model = ulim.UlimModel
import tensorflow
print(json.dumps([*seen, "tensorflow" in sys.modules, issubclass(model, tensorflow.keras.Model),
                  tensorflow.keras.Model.__module__.partition(".")[0]]))
""") == [False, False, True, True, "tf_keras"]
