"""What an answer costs: inside the graph and over gRPC, by length of history, size of the pool, batch and clients.

    python -m benchmarks.serving --json serving.json                    every scenario, on 2 cores
    python -m benchmarks.serving --json serving.json --scenario NAME    one of them; the file keeps the others' rows
    python -m benchmarks.serving --json serving.json --quick            K = 10 and the two towers, alone and in turns

Servables are made once and kept in .bench/serving (`benchmarks/served/servables.py`). Every scenario's graph and server
are measured in fresh processes. "graph" calls a session, as the embedded server loads it, with arrays; one call after
the other. "grpc" asks the embedded server with the stock stub and ready-made requests; clients are threads of one other
process, each of which asks again as soon as it has its answer, and what that process takes of the same cores counts.
"in_turns" asks several servables, one twenty times after the other, again and again, from one process, so that a slow
spell of the machine is in all of their times, and most calls find the processor's caches as they left them: ratios and
differences are made of these. In their graphs, and one both in its graph and over gRPC. What made a scenario's rows
(machine, versions, seed) is written to NAME_runs.json beside NAME.json. Fields of a row:

    scenario                  ULIM with K searched categories, or TFRS's two towers with its ScaNN layer, which read the
                              newest 100 events; "batched": the server merges requests (--enable_batching);
                              "in turns": with others, as above; "in turns with gRPC": one servable both ways
    path                      graph or grpc
    items, history            V, L
    batch, clients            users of a request, requests at once
    p50_ms, p95_ms, p99_ms    of a request
    calls                     that were timed
    requests_per_s            answered; in the graph, of one caller
    peak_mib                  most resident memory of the process that answers, loading included, up to the end of the
                              row (graph) or of the scenario (grpc)
    parts_ms                  (graph, one user) what a call's time goes to, by parts: see `benchmarks/served/parts.py`
    start_s                   (grpc) from the server's start until its version is AVAILABLE
"""

import serving.server.kernels  # noqa: F401  isort: skip  here and in the processes it starts, as in the server's
import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import concurrent.futures
import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks import machine
from benchmarks.baselines.sequence_model import EVENTS
from benchmarks.served import in_graph, in_turns, over_grpc, parts, plot, requests, servables
from benchmarks.served.servables import Servable
from serving.client import History

Row = dict[str, Any]
Result = TypeVar("Result")

CACHE = Path(".bench/serving")
MILLION = {"items": 1_000_000, "categories": 10_000}
REAL = {"items": 0, "categories": 0}
TWO_TOWERS = "two towers"
HISTORIES = (100, 1000, 5000)
BATCHES = (1, 32)
CLIENTS = (1, 4, 16, 64)

MOST_P50_MS, MOST_P99_MS = 8.0, 15.0
MOST_GRPC_MS = 3.0
LEAST_PER_S, MOST_LOADED_P99_MS = 250.0, 100.0
MOST_100_TO_10, MOST_LONG_TO_SHORT, MOST_TO_TWO_TOWERS = 1.8, 1.5, 2.5
MOST_START_S = 20.0

_LONG, _SHORT = 5000, 1000  # histories that goals compare
_DIFFERENT, _LEAST_DIFFERENT = 64, 4  # users, but requests, that are asked in turn
_CALLS, _MOST_SECONDS = 300, 10.0
_LOAD_SECONDS, _WARM_UP_SECONDS = 8.0, 1.5


def _ulim(searched: int, batched: bool = False) -> str:
    return f"ULIM, K = {searched}" + ", batched" * batched


SCENARIOS = {
    "ulim_10": (_ulim(10), Servable(**MILLION, searched=10), ()),
    "ulim_10_batched": (_ulim(10, batched=True), Servable(**MILLION, searched=10), ("--enable_batching",)),
    "ulim_100": (_ulim(100), Servable(**MILLION, searched=100), ()),
    "two_towers": (TWO_TOWERS, Servable(**MILLION, searched=0), ()),
    "real_ulim_10": (_ulim(10), Servable(**REAL, searched=10), ()),
    "real_ulim_200": (_ulim(200), Servable(**REAL, searched=200), ()),
    "real_two_towers": (TWO_TOWERS, Servable(**REAL, searched=0), ()),
}
QUICK = ("ulim_10", "two_towers")
IN_TURNS = "in_turns"
_TURNS = ("ulim_10", "ulim_100", "two_towers")  # that goals compare
_TURN = 20  # calls

_PACKAGES = ("tensorflow", "tf-keras", "scann", "tensorflow-serving-api", "grpcio", "numpy")


def measure(name: str, servable: Servable, flags: Sequence[str], cache: Path, calls: int = _CALLS,
            seconds: float = _LOAD_SECONDS) -> list[Row]:
    """The rows of one scenario; with flags of the server, those over gRPC of the load that goals are about.

    Args:
        name: of the scenario.
        servable: that is asked.
        flags: of the server, beside what it needs.
        cache: folder of all servables.
        calls: that are timed in the graph.
        seconds: that a load over gRPC is timed.
    """
    base = _alone(servables.ready, servable, cache)
    log = servables.event_log(servable)
    lengths = HISTORIES if servable.searched else (EVENTS,)
    asked = {(length, batch): [requests.histories(log, batch, length, seed)
                               for seed in range(max(_DIFFERENT // batch, _LEAST_DIFFERENT))]
             for length in lengths for batch in BATCHES}
    goal = (min(_SHORT, lengths[-1]), 1)
    if flags:
        asked = {goal: asked[goal]}
    rows = [] if flags else _in_graph(str(base / "1"), asked, bool(servable.searched), calls)
    loads = {(*key, clients): over_grpc.Load([requests.proto(one) for one in of_shape], clients)
             for key, of_shape in asked.items() for clients in CLIENTS if clients == 1 or key == goal}
    served = _alone(over_grpc.ask, base, list(loads.values()), seconds, min(seconds, _WARM_UP_SECONDS), flags)
    shape = {"scenario": name, "items": log.items}
    return [shape | row for row in rows] + [
        {**shape, "path": "grpc", "history": length, "batch": batch, "clients": clients,
         **_figures(answers.ms, answers.seconds), "peak_mib": served.peak_mib, "start_s": served.start_seconds}
        for (length, batch, clients), answers in zip(loads, served.answers)]


def _in_graph(directory: str, asked: Mapping[tuple[int, int], Sequence[Sequence[History]]], in_parts: bool,
              calls: int) -> list[Row]:
    """Rows without their scenario.

    Args:
        directory: holds saved_model.pb.
        asked: by history and batch, the users of each request.
        in_parts: whether single users' calls are divided into their parts.
        calls: that are timed.
    """
    inputs = {key: [requests.arrays(one) for one in of_shape] for key, of_shape in asked.items()}
    timings = _alone(in_graph.time_calls, directory, list(inputs.values()), calls, _MOST_SECONDS)
    rows = {(length, batch): {"path": "graph", "history": length, "batch": batch, "clients": 1,
                              **_figures(timing.ms, sum(timing.ms) / 1000), "peak_mib": timing.peak_mib}
            for (length, batch), timing in zip(inputs, timings)}
    if in_parts:
        single = [key for key in inputs if key[1] == 1]
        for key, share in zip(single, _alone(parts.shares, directory, [inputs[key] for key in single])):
            rows[key]["parts_ms"] = {part: value * rows[key]["p50_ms"] for part, value in share.items()}
    return list(rows.values())


def measure_in_turns(scenarios: Sequence[str], cache: Path, calls: int = _CALLS) -> list[Row]:
    """The rows of one user's calls of several scenarios' servables, of one pool, in turns; the first over gRPC too.

    Args:
        scenarios: names in `SCENARIOS`.
        cache: folder of all servables.
        calls: of each that are timed.
    """
    log = servables.event_log(SCENARIOS[scenarios[0]][1])
    bases = {scenario: _alone(servables.ready, SCENARIOS[scenario][1], cache) for scenario in scenarios}

    def rows(named: Callable[[str], str], chosen: Sequence[tuple[str, str, int]]) -> list[Row]:
        asked = [in_turns.Asked(path, bases[scenario], [
            one for seed in range(_DIFFERENT) for one in requests.histories(log, 1, length, seed)])
            for scenario, path, length in chosen]
        timings = _alone(in_turns.time_calls, asked, calls, _TURN)
        return [{"scenario": named(SCENARIOS[scenario][0]), "items": log.items, "path": path, "history": length,
                 "batch": 1, "clients": 1, **_figures(timing.ms, sum(timing.ms) / 1000), "peak_mib": timing.peak_mib}
                for (scenario, path, length), timing in zip(chosen, timings)]

    graphs = [(scenario, in_turns.GRAPH, length) for scenario in scenarios
              for length in (HISTORIES if SCENARIOS[scenario][1].searched else (EVENTS,))]
    both = [(scenarios[0], path, min(_SHORT, HISTORIES[-1])) for path in (in_turns.GRAPH, in_turns.GRPC)]
    return rows(_in_turns, graphs) + rows(_with_grpc, both)


def _in_turns(scenario: str) -> str:
    return f"{scenario}, in turns"


def _with_grpc(scenario: str) -> str:
    return f"{scenario}, in turns with gRPC"


def _figures(ms: Sequence[float], seconds: float) -> Row:
    p50, p95, p99 = np.percentile(ms, [50, 95, 99]).tolist()
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "calls": len(ms), "requests_per_s": len(ms) / seconds}


def _alone(work: Callable[..., Result], *given: Any) -> Result:
    """In a fresh process, for its peak memory and its children."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *given).result()


def goals(rows: Sequence[Row]) -> list[tuple[str, float, str, float]]:
    """What is asked of the pool with most items, where it was measured; ratios and differences are of what took turns.

    Returns:
        the goal, the measured value, "at least" or "at most", and the bound.
    """
    items = max(row["items"] for row in rows)
    of = {(row["scenario"], row["path"], row["history"], row["batch"], row["clients"]): row
          for row in rows if row["items"] == items}

    def graph(scenario: str, history: int) -> Row | None:
        return of.get((scenario, "graph", history, 1, 1))

    judged = []
    ten = graph(_ulim(10), _SHORT)
    if ten:
        judged += [("p50 in the graph, ms", ten["p50_ms"], "at most", MOST_P50_MS),
                   ("p99 in the graph, ms", ten["p99_ms"], "at most", MOST_P99_MS)]
        judged.append(("seconds to AVAILABLE", of[_ulim(10), "grpc", _SHORT, 1, 1]["start_s"], "at most", MOST_START_S))
    both = [of.get((_with_grpc(_ulim(10)), path, _SHORT, 1, 1)) for path in (in_turns.GRPC, in_turns.GRAPH)]
    if both[0] and both[1]:
        judged.append(("p50 that gRPC adds, ms", both[0]["p50_ms"] - both[1]["p50_ms"], "at most", MOST_GRPC_MS))
    batched = [row for key, row in of.items() if key[0] == _ulim(10, batched=True)]
    if batched:
        within = [row["requests_per_s"] for row in batched if row["p99_ms"] <= MOST_LOADED_P99_MS]
        judged.append((f"requests a second, batched, at p99 <= {MOST_LOADED_P99_MS:g} ms", max(within, default=0.0),
                       "at least", LEAST_PER_S))
    ten = graph(_in_turns(_ulim(10)), _SHORT)
    for told, one, other, most in (
            (f"p50 of {_LONG:,} events over {_SHORT:,}", graph(_in_turns(_ulim(10)), _LONG), ten, MOST_LONG_TO_SHORT),
            ("p50 of K = 100 over K = 10", graph(_in_turns(_ulim(100)), _SHORT), ten, MOST_100_TO_10),
            ("p50 over two towers'", ten, graph(_in_turns(TWO_TOWERS), EVENTS), MOST_TO_TWO_TOWERS)):
        if one and other:
            judged.append((told, one["p50_ms"] / other["p50_ms"], "at most", most))
    return judged


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write the rows to")
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument("--scenario", choices=[*SCENARIOS, IN_TURNS], help="one scenario; all by default")
    wanted.add_argument("--quick", action="store_true", help=f"{' and '.join(QUICK)} only, also in turns")
    given = parser.parse_args(arguments)
    given.json.parent.mkdir(parents=True, exist_ok=True)  # now, and not when all is measured

    rows: list[Row] = machine.read(given.json) if given.scenario else []
    scenarios = [given.scenario] if given.scenario else [*(QUICK if given.quick else SCENARIOS), IN_TURNS]
    for scenario in scenarios:
        if scenario == IN_TURNS:
            measured = measure_in_turns([one for one in _TURNS if one in scenarios] or _TURNS, CACHE)
        else:
            measured = measure(*SCENARIOS[scenario], CACHE)
        again = {(row["scenario"], row["items"]) for row in measured}
        rows = [row for row in rows if (row["scenario"], row["items"]) not in again] + measured
        for row in measured:
            print("  ".join(f"{field} {value:,.4g}" if isinstance(value, float) else f"{field} {value}"
                            for field, value in row.items() if field != "parts_ms"), flush=True)
            if "parts_ms" in row:
                print("    " + "  ".join(f"{part} {value:.2f}" for part, value in row["parts_ms"].items()), flush=True)
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
        machine.write_run(given.json, machine.made_by(_PACKAGES, servables.SEED),
                          {"scenario": "in turns" if scenario == IN_TURNS else measured[0]["scenario"],
                           "items": measured[0]["items"]})
    drawn = {name for name, *_ in SCENARIOS.values()}
    plot.draw([row for row in rows if row["scenario"] in drawn], given.json.with_suffix(".png"))
    print()
    for goal, value, side, bound in goals(rows):
        met = value >= bound if side == "at least" else value <= bound
        print(f"{'met   ' if met else 'MISSED'}  {goal}: {value:.3f}, {side} {bound}")


if __name__ == "__main__":
    main()
