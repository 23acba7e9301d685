"""Each check of the doctor, made to fail by what it looks at: what the report says, and the exit code."""

import importlib.metadata
import os
import socket
import subprocess
import sys

import pytest

from ulim_tf import doctor

CPU_WITH_BOTH = "processor\t: 0\nflags\t\t: fpu sse4_2 avx avx2 fma\n"


@pytest.fixture
def healthy(monkeypatch, tmp_path):
    """A machine on which every check passes, without starting TensorFlow; returns the versions it has installed."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPU_WITH_BOTH)
    lock = tmp_path / "constraints.txt"
    lock.write_text("# a comment\nnumpy==1.26.4\nscann==1.3.2\ntensorflow==2.16.2\ntfx==1.16.0\n")
    installed = {"numpy": "1.26.4", "scann": "1.3.2", "tensorflow": "2.16.2", "tfx": "1.16.0"}

    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    monkeypatch.setattr(doctor, "CPUINFO", cpuinfo)
    monkeypatch.setattr(doctor, "LOCK", lock)
    monkeypatch.setattr(doctor, "WANTED_DISTRIBUTIONS", ("tensorflow", "scann", "numpy"))
    monkeypatch.setattr(doctor, "OPTIONAL_DISTRIBUTIONS", {"tfx": "pipeline"})
    monkeypatch.setattr(doctor, "KERAS_PROBE", "print('tf_keras')")
    monkeypatch.setattr(doctor, "SCANN_PROBE", "print(3)")
    monkeypatch.setattr(importlib.metadata, "version", version)
    return installed


def row_of(output: str, check: str) -> list[str]:
    """The words of the table's line for `check`, after its name."""
    return next(line.removeprefix(check).split() for line in output.splitlines() if line.startswith(f"{check} "))


def test_a_healthy_machine_passes(healthy, capsys):
    assert doctor.main([]) == 0
    output = capsys.readouterr().out
    assert row_of(output, "tensorflow") == ["2.16.2", "2.16.2", "yes"]
    assert row_of(output, "ScaNN search") == ["item", "3", "item", "3", "yes"]
    assert output.splitlines()[-1].startswith("loopback port"), "no remedies where nothing failed"


def test_another_python_fails(healthy, monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 12, 1, "final", 0))
    assert doctor.main([]) == 1
    output = capsys.readouterr().out
    assert row_of(output, "Python")[-2:] == ["3.10", "NO"]
    assert "run with Python 3.10" in output


@pytest.mark.parametrize("missing", ["avx2", "fma"])
def test_a_missing_cpu_flag_fails(healthy, missing, capsys):
    doctor.CPUINFO.write_text(CPU_WITH_BOTH.replace(f" {missing}", ""))
    assert doctor.main([]) == 1
    output = capsys.readouterr().out
    assert row_of(output, f"CPU flag {missing}") == ["absent", "present", "NO"]
    assert "use a Linux x86-64 machine with AVX2 and FMA" in output


def test_no_cpuinfo_at_all_fails(healthy, capsys):
    doctor.CPUINFO.unlink()
    assert doctor.main([]) == 1
    assert row_of(capsys.readouterr().out, "CPU flag avx2") == ["absent", "present", "NO"]


@pytest.mark.parametrize("name, wanted", [("scann", "1.3.2"), ("tfx", "1.16.0")])
def test_a_wrong_version_fails_even_where_optional(healthy, name, wanted, capsys):
    healthy[name] = "9.9"
    assert doctor.main([]) == 1
    output = capsys.readouterr().out
    assert row_of(output, name) == ["9.9", wanted, "NO"]
    assert f"pip install {name}=={wanted}" in output


def test_a_missing_requirement_fails(healthy, capsys):
    del healthy["scann"]
    assert doctor.main([]) == 1
    output = capsys.readouterr().out
    assert row_of(output, "scann") == ["not", "installed", "1.3.2", "NO"]
    assert "pip install scann==1.3.2" in output


def test_a_missing_extra_is_named_and_passes(healthy, capsys):
    del healthy["tfx"]
    assert doctor.main([]) == 0
    output = capsys.readouterr().out
    assert row_of(output, "tfx") == ["not", "installed", "1.16.0", "optional"]
    assert "pip install 'ulim-tf[pipeline]'" in output


def test_outside_a_checkout_the_pins_are_the_distribution_s(healthy, monkeypatch, capsys):
    doctor.LOCK.unlink()
    requires = ["tensorflow==2.17.0", "scann==1.3.2", "numpy==1.26.4", "pyyaml<7,>=6", 'tfx==1.16.0; extra == "demo"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: requires if name == "ulim-tf" else None)
    assert doctor.main([]) == 1
    output = capsys.readouterr().out
    assert row_of(output, "tensorflow") == ["2.16.2", "2.17.0", "NO"]
    assert row_of(output, "tfx") == ["1.16.0", "1.16.0", "yes"]


def test_neither_a_lock_nor_a_distribution_is_a_finding(healthy, monkeypatch, capsys):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    doctor.LOCK.unlink()
    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert doctor.main([]) == 1
    output = capsys.readouterr().out
    assert row_of(output, "numpy") == ["1.26.4", "unknown", "NO"]
    assert "run in a checkout, which has constraints.txt, or install ulim-tf itself" in output


def test_keras_3_fails(healthy, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "KERAS_PROBE", "print('keras')")
    assert doctor.main([]) == 1
    output = capsys.readouterr().out
    assert row_of(output, "tf.keras") == ["keras", "tf_keras", "NO"]
    assert "set TF_USE_LEGACY_KERAS=1 before TensorFlow is first imported" in output


def test_a_tensorflow_that_does_not_import_is_a_finding(healthy, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "KERAS_PROBE", "raise ImportError('libtensorflow_cc.so.2: not found')")
    assert doctor.main([]) == 1
    output = capsys.readouterr().out
    assert row_of(output, "tf.keras")[-1] == "NO"
    assert "tf.keras: ImportError: libtensorflow_cc.so.2: not found; wanted: tf_keras" in output
    assert row_of(output, "loopback port")[-1] == "yes", "the checks after it still run"


def test_a_library_that_kills_its_process_is_a_finding(healthy, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "SCANN_PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    assert doctor.main([]) == 1
    output = capsys.readouterr().out
    assert "ScaNN search: killed by signal 4; wanted: item 3" in output
    assert "install the tensorflow and scann versions named above together" in output


def test_a_probe_that_says_nothing_is_a_finding(healthy, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "SCANN_PROBE", "raise SystemExit(7)")
    assert doctor.main([]) == 1
    assert "ScaNN search: nothing (exit code 7); wanted: item 3" in capsys.readouterr().out


def test_no_loopback_port_fails(healthy, monkeypatch, capsys):
    def bind(self, address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", type("Socket", (socket.socket,), {"bind": bind}))
    assert doctor.main([]) == 1
    output = capsys.readouterr().out
    assert "loopback port: [Errno 13] Permission denied; wanted: free" in output
    assert "allow this process to bind ports on 127.0.0.1" in output


def on_a_terminal(**environment: str) -> str:
    """What a failing doctor prints there."""
    program = """if True:
        from ulim_tf import doctor
        doctor.CHECKS = (lambda: iter([doctor.Finding("numpy", "9.9", "1.26.4", False, "pip install")]),)
        doctor.main([])
    """
    terminal, its_end = os.openpty()
    with open(terminal, "rb", buffering=0) as read:
        subprocess.run([sys.executable, "-c", program], stdout=its_end, check=True,
                       env={**os.environ, "TERM": "xterm", **environment})
        os.close(its_end)
        return read.read(4096).decode()


def test_colours_are_for_terminals_that_want_them(monkeypatch, capsys):
    for name in ("NO_COLOR", "FORCE_COLOR", "ANSI_COLORS_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    assert "1.26.4  \x1b[31mNO\x1b[0m" in on_a_terminal()
    assert "\x1b" not in on_a_terminal(NO_COLOR="1")
    monkeypatch.setattr(doctor, "CHECKS", (doctor.check_python,))
    doctor.main([])
    assert "\x1b" not in capsys.readouterr().out
