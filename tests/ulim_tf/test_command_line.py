"""What a command prints where, and the code it ends with."""

import json
import subprocess
import sys

from ulim_tf import command_line


def interrupted() -> int:
    raise KeyboardInterrupt


def test_ctrl_c_is_a_line_and_130(capsys):
    assert command_line.interruptible(interrupted) == 130
    assert capsys.readouterr() == ("", "interrupted\n")
    assert command_line.interruptible(lambda: 3) == 3


def test_a_failure_is_a_line_and_for_machines_an_object(capsys):
    assert command_line.fail(ValueError("no log"), 2, False) == 2
    assert capsys.readouterr() == ("", "error: no log\n")
    assert command_line.fail(ValueError("no log"), 1, True) == 1
    told = capsys.readouterr()
    assert told.err == "error: no log\n" and json.loads(told.out) == {"error": "no log"}


def test_only_the_object_is_on_stdout_whatever_children_print():
    program = """if True:
        import subprocess, sys
        from ulim_tf.command_line import nothing_on_stdout
        for as_json in (True, False):
            with nothing_on_stdout(as_json):
                print("printed", as_json)
                subprocess.run([sys.executable, "-c", f"print('by a child', {as_json})"], check=True)
            print("the object", as_json)
    """
    done = subprocess.run([sys.executable, "-u", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "the object True\nprinted False\nby a child False\nthe object False\n"
    assert done.stderr == "printed True\nby a child True\n"
