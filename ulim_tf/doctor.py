"""Checks that this machine can run the project: `python -m ulim_tf.doctor`.

Prints one line a check and a remedy for each failure; exits 0 when nothing failed, else 1. TensorFlow and ScaNN are
tried in processes of their own, so a library that cannot be loaded, or that kills its process, is one more finding.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from termcolor import colored

from ulim_tf import __version__, command_line

DISTRIBUTION = "ulim-tf"
NOT_INSTALLED = "not installed"
LOCK = Path(__file__).resolve().parent.parent / "constraints.txt"
CPUINFO = Path("/proc/cpuinfo")

WANTED_PYTHON = (3, 10)
WANTED_CPU_FLAGS = ("avx2", "fma")
WANTED_DISTRIBUTIONS = ("tensorflow", "tf-keras", "tensorflow-recommenders", "scann", "protobuf", "numpy", "grpcio")
OPTIONAL_DISTRIBUTIONS = {
    "tfx": "pipeline",
    "tfx-bsl": "pipeline",
    "tensorflow-transform": "pipeline",
    "apache-beam": "pipeline",
    "pyarrow": "pipeline",
    "tensorflow-serving-api": "serving",
}

KERAS_PROBE = "import tensorflow as tf; print(tf.keras.Model.__module__.partition('.')[0])"
SCANN_PROBE = """
import numpy as np
from scann import scann_ops
items = np.eye(8, dtype=np.float32)
searcher = scann_ops.builder(items, 1, "dot_product").score_brute_force().build()
print(int(searcher.search(items[3])[0][0]))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report, and what to do if it is not a plain yes."""

    check: str
    found: str
    wanted: str
    ok: bool
    remedy: str

    @property
    def verdict(self) -> str:
        """What the report's last column says."""
        return "NO" if not self.ok else "optional" if self.found == NOT_INSTALLED else "yes"


def check_python() -> Iterator[Finding]:
    """The interpreter: the only one that every pinned wheel exists for."""
    yield Finding(
        check="Python",
        found=platform.python_version(),
        wanted=".".join(map(str, WANTED_PYTHON)),
        ok=sys.version_info[:2] == WANTED_PYTHON,
        remedy="run with Python 3.10: `make setup` finds one, or says how to get it",
    )


def check_cpu() -> Iterator[Finding]:
    """The instructions that the TensorFlow and ScaNN binaries are compiled to use."""
    text = CPUINFO.read_text() if CPUINFO.exists() else ""
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    present = flags[1].split() if flags else []
    for flag in WANTED_CPU_FLAGS:
        yield Finding(
            check=f"CPU flag {flag}",
            found="present" if flag in present else "absent",
            wanted="present",
            ok=flag in present,
            remedy="use a Linux x86-64 machine with AVX2 and FMA; in a virtual machine, pass the host's CPU model on",
        )


def check_versions() -> Iterator[Finding]:
    """The installed distributions against the pins; one that only an extra needs may be absent, but not wrong."""
    pins = _pins()
    for name in (*WANTED_DISTRIBUTIONS, *OPTIONAL_DISTRIBUTIONS):
        wanted = pins.get(name, "unknown")
        extra = OPTIONAL_DISTRIBUTIONS.get(name)
        try:
            found = importlib.metadata.version(name)
            remedy = f"pip install {name}=={wanted}"
        except importlib.metadata.PackageNotFoundError:
            found = NOT_INSTALLED
            remedy = f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {name}=={wanted}"
        if wanted == "unknown":
            remedy = f"run in a checkout, which has {LOCK.name}, or install {DISTRIBUTION} itself"
        ok = found == wanted or (found == NOT_INSTALLED and extra is not None)
        yield Finding(name, found, wanted, ok, remedy)


def check_keras() -> Iterator[Finding]:
    """tf.keras must be Keras 2, which TensorFlow Recommenders, TFT and TFMA need."""
    package = _output_of(KERAS_PROBE)
    yield Finding(
        check="tf.keras",
        found=package,
        wanted="tf_keras",
        ok=package == "tf_keras",
        remedy="set TF_USE_LEGACY_KERAS=1 before TensorFlow is first imported, with the tf-keras version named above",
    )


def check_scann() -> Iterator[Finding]:
    """ScaNN's op library loads into this TensorFlow, and finds the nearest of a few items."""
    nearest = _output_of(SCANN_PROBE)
    yield Finding(
        check="ScaNN search",
        found="item 3" if nearest == "3" else nearest,
        wanted="item 3",
        ok=nearest == "3",
        remedy="ScaNN's ops fit one TensorFlow only: install the tensorflow and scann versions named above together",
    )


def check_loopback() -> Iterator[Finding]:
    """The embedded server and Beam's workers talk over 127.0.0.1."""
    try:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
        found = "free"
    except OSError as error:
        found = str(error)
    yield Finding(
        check="loopback port",
        found=found,
        wanted="free",
        ok=found == "free",
        remedy="allow this process to bind ports on 127.0.0.1 (container network, sandbox or firewall settings)",
    )


COLORS = {"yes": "green", "optional": "yellow", "NO": "red"}

CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_cpu,
    check_versions,
    check_keras,
    check_scann,
    check_loopback,
)


def report(findings: list[Finding]) -> str:
    """The findings as a table, and under it what to do about each that is not a plain yes."""
    rows = [("check", "found", "wanted", "ok")]
    rows += [(f.check, textwrap.shorten(f.found, 40, placeholder="..."), f.wanted, f.verdict) for f in findings]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join([*map(str.ljust, cells, widths), colored(verdict, COLORS[verdict]) if number else verdict])
             for number, (*cells, verdict) in enumerate(rows)]
    for f in findings:
        if f.verdict != "yes":
            lines += ["", f"{f.check}: {f.found}; wanted: {f.wanted}", f"    {f.remedy}"]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser("python -m ulim_tf.doctor", epilog="example:\n  %(prog)s --json",
                                   description="Checks that this machine can run the project.",
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    return made


def main(argv: list[str] | None = None) -> int:
    """`command`, of a command line."""
    return command(parser().parse_args(argv))


def command(args: argparse.Namespace) -> int:
    """Runs every check and prints the report; returns its exit code: 0 nothing failed, 1 something did."""
    findings = [finding for check in CHECKS for finding in check()]
    ok = all(finding.ok for finding in findings)
    if args.json:
        print(json.dumps({"ok": ok, "version": __version__, "findings": [asdict(finding) for finding in findings]}))
    else:
        print(report(findings))
    return 0 if ok else 1


def _pins() -> dict[str, str]:
    """{distribution: version}: the lock's in a checkout, else what the installed package itself requires."""
    try:
        lines = LOCK.read_text().splitlines() if LOCK.exists() else importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    matches = [re.match(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    return {match[1]: match[2] for match in matches if match}


def _output_of(code: str) -> str:
    """What `code` prints in a fresh interpreter, or how it ended."""
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, "-c", code], env=quiet, capture_output=True, text=True)
    if done.returncode < 0:
        return f"killed by signal {-done.returncode}"
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return lines[-1] if lines else f"nothing (exit code {done.returncode})"


if __name__ == "__main__":
    sys.exit(command_line.interruptible(main))
