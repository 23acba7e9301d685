"""Runs what `benchmarks.gpu.lower` wrote on the device that JAX has, and says how far from its memory's speed it is.

    python -m benchmarks.gpu.run 1m 10m                         bandwidth measured: a copy of 1 GiB
    python -m benchmarks.gpu.run 1m 10m --bandwidth 3350        as the data sheet has it, GB/s

Columns: microseconds a user (median of rounds, each a call that is waited for); the floor: reading the rows of the
asked categories once for each pair, or all rows once a call, at that bandwidth; how many times the floor it took; the
share of the places that hold TensorFlow's item, and the largest difference of a score from TensorFlow's. A difference
of more than TF32, in which a GPU may multiply, explains ends the run. Vectors that fit a cache are read faster than the
floor says.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from jax.extend.backend import get_backend
from jaxlib import _jax

from benchmarks.ann.catalog import invented
from benchmarks.gpu.case import Case, floor, held, read

_WARM_UP, _ROUNDS = 3, 30
_COPIED = 1 << 30
_TOLERANCE = 0.05  # scores are about 30; TF32 is off by some thousandths


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="that lower wrote")
    parser.add_argument("--bandwidth", type=float, help="of the device's memory, GB/s; else measured")
    given = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    bandwidth = 1e9 * given.bandwidth if given.bandwidth else copied_per_second()
    print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}, {bandwidth / 1e9:,.0f} GB/s "
          f"{'as given' if given.bandwidth else 'measured'}")
    for folder in given.folders:
        measure(folder, bandwidth)


def measure(folder: Path, bandwidth: float) -> None:
    """Prints a row for each case of a folder; bandwidth in bytes a second."""
    items, categories, cases = read(folder)
    catalog = invented(items, categories)
    index = {name: jax.device_put(values) for name, values in held(catalog).items()}
    print(f"\nV = {items:,}, C = {categories:,}")
    print(f"{'':12}{'pairs':>6}{'users':>6}{'k':>5}{'rows':>9}{'us/user':>12}{'floor':>10}{'times':>8}{'alike':>8}"
          f"{'score off':>11}")
    for case in cases:
        given = index | {name: jax.device_put(values) for name, values in case.asked(catalog).items()}
        call = compiled(folder, case, [given[name] for name in case.parameters])
        alike, off = compared(call(), np.load(folder / f"{case.name}.npz"))
        took, least = 1e6 * median(call) / case.users, floor(case.least_bytes(catalog), case.users, bandwidth)
        print(f"{case.search:12}{case.pairs:6}{case.users:6}{case.k:5}{case.rows:9,}{took:12,.1f}{least:10,.1f}"
              f"{took / least:8.1f}{alike:8.4f}{off:11.1e}", flush=True)
        if not off <= _TOLERANCE:
            raise SystemExit(f"{case.name}: scores differ from TensorFlow's.")


def compiled(folder: Path, case: Case, given: Sequence[jax.Array]) -> Callable[[], list[jax.Array]]:
    """A call of the case's module: item int64 and score float32, [P, k], there when it returns."""
    module = _jax.mlir.hlo_to_stablehlo((folder / f"{case.name}.hlo").read_bytes())
    executable = get_backend().compile_and_load(module, jax.devices()[:1])
    return lambda: jax.block_until_ready(executable.execute(given))


def compared(found: Sequence[jax.Array], expected: dict[str, np.ndarray]) -> tuple[float, float]:
    """The share of the expected items that are where they should be, and the largest difference of a score."""
    item, score = map(np.asarray, found)
    real = expected["item"] > 0
    if not np.array_equal(real, item > 0):
        return 0.0, np.inf
    return float((item == expected["item"])[real].mean()), float(np.abs(score[real] - expected["score"][real]).max())


def median(call: Callable[[], object]) -> float:
    """Seconds."""
    seconds = []
    for _ in range(_WARM_UP + _ROUNDS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[_WARM_UP:]))


def copied_per_second() -> float:
    """Bytes that the device's memory reads and writes in a second."""
    step = jax.jit(lambda values: values + 1, donate_argnums=0)  # in place: a CPU's new pages would be timed as well
    values = jax.device_put(np.zeros(_COPIED // 4, np.float32))

    def copy() -> None:
        nonlocal values
        values = step(values).block_until_ready()

    return 2 * _COPIED / median(copy)


if __name__ == "__main__":
    main()
