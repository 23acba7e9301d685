import json

import numpy as np
import pytest
from tensorflow.core.framework.step_stats_pb2 import StepStats

from benchmarks import serving, synthetic
from benchmarks.served import in_graph, in_turns, over_grpc, parts, requests
from benchmarks.served.servables import Servable
from tests.serving.toy_servable import ToyServable


@pytest.fixture(scope="module")
def log():
    return synthetic.event_log(users=6, history=50, items=400, categories=30)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The model base path of a servable that takes no time."""
    base = tmp_path_factory.mktemp("toy")
    ToyServable(1).save(str(base / "1"))
    return base


def test_short_histories_are_the_newest_events_of_a_user(log):
    newest = {tuple(map(str, log.item[log.history(user)][-20:])) for user in range(6)}
    asked = requests.histories(log, count=30, length=20)
    assert {tuple(one.item_ids) for one in asked} == newest
    assert all(one.timestamps == sorted(one.timestamps) and one.timestamps[-1] < one.now for one in asked)


def test_long_histories_hold_all_events_of_a_user_and_no_other_items(log):
    own = [set(map(str, log.item[log.history(user)])) for user in range(6)]
    for one in requests.histories(log, count=5, length=400):
        assert len(one.item_ids) == len(one.timestamps) == 400
        assert set(one.item_ids) in own


def test_arrays_and_protos_ask_the_same(log):
    asked = requests.histories(log, count=2, length=3)
    arrays, proto = requests.arrays(asked), requests.proto(asked)
    assert arrays["item_id"].tolist() == [[item.encode() for item in one.item_ids] for one in asked]
    assert arrays["item_id"].ravel().tolist() == list(proto.inputs["item_id"].string_val)
    assert arrays["timestamp"].ravel().tolist() == list(proto.inputs["timestamp"].int64_val)
    assert arrays["length"].tolist() == list(proto.inputs["length"].int_val) == [3, 3]
    assert arrays["now"].tolist() == list(proto.inputs["now"].int64_val)


def test_calls_are_timed_after_a_warm_up(toy, log):
    inputs = [requests.arrays(requests.histories(log, 1, 5))]
    few, many = in_graph.time_calls(str(toy / "1"), [inputs] * 2, calls=40, seconds=30.0)
    assert len(few.ms) == len(many.ms) == 40 and min(few.ms) > 0
    assert 100 < few.peak_mib <= many.peak_mib
    [cut] = in_graph.time_calls(str(toy / "1"), [inputs], calls=10_000, seconds=0.01)
    assert 30 <= len(cut.ms) < 10_000


def test_a_trace_is_divided_at_the_starts_of_ops():
    stats = StepStats()
    ops = stats.dev_stats.add().node_stats
    for name, start in (("call/history/Sort", 100), ("call/encoder/short/MatMul", 130), ("call/Gather", 150),
                        ("call/merge_2/Unique", 160), ("call/historyless/Add", 200), ("_SINK", 230)):
        ops.add(node_name=name, all_start_nanos=start, all_end_rel_nanos=7)
    assert parts.by_part(stats) == {"history": 30, "encoder": 20, "pgin": 0, "search": 0, "merge": 40, "rest": 47}


def row(scenario, path, history, clients=1, p50=1.0, p99=1.0, rate=1.0, items=100, batch=1):
    return {"scenario": scenario, "path": path, "items": items, "history": history, "batch": batch, "clients": clients,
            "p50_ms": p50, "p95_ms": p99, "p99_ms": p99, "calls": 9, "requests_per_s": rate, "peak_mib": 1.0,
            **({"start_s": 12.0} if path == "grpc" else {"parts_ms": {"history": p50}})}


ROWS = [row("ULIM, K = 10", "graph", 1000, p50=6.0, p99=20.0), row("ULIM, K = 10", "graph", 5000, p50=12.0),
        row("ULIM, K = 10", "graph", 1000, batch=32, p50=99.0), row("ULIM, K = 10", "graph", 1000, items=7, p50=99.0),
        row("ULIM, K = 10", "grpc", 1000, p50=7.0, rate=90.0),
        row("ULIM, K = 10, batched", "grpc", 1000, 1),
        row("ULIM, K = 10, batched", "grpc", 1000, 16, p99=80.0, rate=260.0),
        row("ULIM, K = 10, batched", "grpc", 1000, 64, p99=120.0, rate=300.0),
        row("ULIM, K = 100", "graph", 1000, p50=9.0),
        row("two towers", "graph", 100, p50=2.0), row("two towers", "grpc", 100),
        row("ULIM, K = 10, in turns", "graph", 1000, p50=5.0), row("ULIM, K = 10, in turns", "graph", 5000, p50=9.0),
        row("ULIM, K = 100, in turns", "graph", 1000, p50=8.0), row("two towers, in turns", "graph", 100, p50=2.5),
        row("ULIM, K = 10, in turns with gRPC", "graph", 1000, p50=4.5),
        row("ULIM, K = 10, in turns with gRPC", "grpc", 1000, p50=7.0)]


def test_goals_are_judged_in_the_largest_pool():
    assert serving.goals(ROWS) == [
        ("p50 in the graph, ms", 6.0, "at most", 8.0),
        ("p99 in the graph, ms", 20.0, "at most", 15.0),
        ("seconds to AVAILABLE", 12.0, "at most", 20.0),
        ("p50 that gRPC adds, ms", 2.5, "at most", 3.0),
        ("requests a second, batched, at p99 <= 100 ms", 260.0, "at least", 250.0),
        ("p50 of 5,000 events over 1,000", 1.8, "at most", 1.5),
        ("p50 of K = 100 over K = 10", 1.6, "at most", 1.8),
        ("p50 over two towers'", 2.0, "at most", 2.5)]


def test_one_scenario_replaces_its_own_rows_only(tmp_path, monkeypatch, capsys):
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(ROWS))
    new = [one | {"p50_ms": 10.0} for one in ROWS if one["scenario"] == "ULIM, K = 100"]
    monkeypatch.setattr(serving, "measure", lambda *_: new)
    serving.main(["--json", str(file), "--scenario", "ulim_100"])
    assert json.loads(file.read_text()) == [one for one in ROWS if one["scenario"] != "ULIM, K = 100"] + new
    printed = capsys.readouterr().out
    assert "met     p50 of K = 100 over K = 10: 1.600, at most 1.8" in printed
    assert "MISSED  p50 of 5,000 events over 1,000: 1.800, at most 1.5" in printed
    assert file.with_suffix(".png").stat().st_size > 10_000
    [run] = json.loads((tmp_path / "rows_runs.json").read_text())
    assert (run["scenario"], run["items"], run["seed"]) == ("ULIM, K = 100", 100, 17)


def test_what_is_in_turns_is_asked_alone_or_with_what_it_compares(tmp_path, monkeypatch):
    asked = []

    def measure_in_turns(scenarios, cache):
        asked.append(list(scenarios))
        return [one for one in ROWS if "in turns" in one["scenario"]]

    monkeypatch.setattr(serving, "measure_in_turns", measure_in_turns)
    monkeypatch.setattr(serving, "measure", lambda name, *_: (
        [one for one in ROWS if one["scenario"] == name] or [row(name, "graph", 1000)]))
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(ROWS))
    serving.main(["--json", str(file), "--scenario", "in_turns"])
    assert sorted(map(str, json.loads(file.read_text()))) == sorted(map(str, ROWS))
    serving.main(["--json", str(file), "--quick"])
    serving.main(["--json", str(file)])
    assert asked == [["ulim_10", "ulim_100", "two_towers"], ["ulim_10", "two_towers"],
                     ["ulim_10", "ulim_100", "two_towers"]]
    [run] = [one for one in json.loads((tmp_path / "rows_runs.json").read_text()) if one["scenario"] == "in turns"]
    assert run["items"] == 100


@pytest.mark.parametrize("turn", [1, 3])
def test_turns_are_of_so_many_calls(turn, monkeypatch):
    called = []
    monkeypatch.setattr(in_turns, "_callers", lambda asked, _: [
        lambda number, path=one.path: called.append((path, number)) for one in asked])
    graph, grpc = in_turns.time_calls([in_turns.Asked("graph", None, []), in_turns.Asked("grpc", None, [])], 5, turn)
    assert len(graph.ms) == len(grpc.ms) == 5
    own = [range(first, first + turn) for first in (0, turn)]
    assert called[:4 * turn] == [(path, number) for numbers in own for path in ("graph", "grpc") for number in numbers]
    assert sorted(called) == [(path, number) for path in ("graph", "grpc") for number in range(25)]


def test_servables_are_called_in_turns(log, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "HISTORIES", (20, 100))
    monkeypatch.setattr(serving, "_DIFFERENT", 2)
    sizes = {"items": 2000, "categories": 20, "users": 8, "steps": 1}
    for name, searched in (("ulim_10", 3), ("two_towers", 0)):
        small = Servable(**sizes, searched=searched)
        monkeypatch.setitem(serving.SCENARIOS, name, (name, small, ()))
        ToyServable(1).save(str(tmp_path / small.folder / "1"))
        (tmp_path / small.folder / "made").touch()
    rows = serving.measure_in_turns(["ulim_10", "two_towers"], tmp_path, calls=4)
    assert [(one["scenario"], one["items"], one["path"], one["history"], one["batch"], one["clients"], one["calls"])
            for one in rows] == [("ulim_10, in turns", 2000, "graph", 20, 1, 1, 4),
                                 ("ulim_10, in turns", 2000, "graph", 100, 1, 1, 4),
                                 ("two_towers, in turns", 2000, "graph", 100, 1, 1, 4),
                                 ("ulim_10, in turns with gRPC", 2000, "graph", 100, 1, 1, 4),
                                 ("ulim_10, in turns with gRPC", 2000, "grpc", 100, 1, 1, 4)]
    assert rows[-1]["p50_ms"] > rows[-2]["p50_ms"] and rows[-1]["peak_mib"] > 100
    assert all(0 < one["p50_ms"] <= one["p99_ms"] for one in rows)


def test_quick_asks_ten_categories_and_the_two_towers(tmp_path, monkeypatch):
    asked = []

    def measure(name, servable, flags, cache):
        asked.append((name, servable.items, flags))
        return [one | {"items": servable.items} for one in ROWS if one["scenario"] == name and one["items"] == 100]

    monkeypatch.setattr(serving, "measure", measure)
    monkeypatch.setattr(serving, "measure_in_turns", lambda *_: [row("two towers, in turns", "graph", 100)])
    file = tmp_path / "new" / "rows.json"
    serving.main(["--json", str(file), "--quick"])
    file.write_text("what an earlier run wrote")
    serving.main(["--json", str(file), "--quick"])
    assert asked[:2] == asked[2:]
    assert asked[:2] == [("ULIM, K = 10", 1_000_000, ()), ("two towers", 1_000_000, ())]
    assert {one["scenario"] for one in json.loads(file.read_text())} == {
        "ULIM, K = 10", "two towers", "two towers, in turns"}
    assert len(json.loads((tmp_path / "new" / "rows_runs.json").read_text())) == 3


@pytest.mark.e2e
def test_a_server_is_asked_by_as_many_clients_as_wanted(toy, log):
    asked = [requests.proto(requests.histories(log, 1, 5))]
    served = over_grpc.ask(toy, [over_grpc.Load(asked, 1), over_grpc.Load(asked, 4)], 0.5, 0.2)
    assert 0.5 < served.start_seconds < 120 and served.peak_mib > 100
    one, four = served.answers
    assert 0 < np.median(one.ms) < np.median(four.ms)
    assert sum(one.ms) / 1000 <= one.seconds == 0.5 and 0.5 < sum(four.ms) / 1000 <= 4 * four.seconds


@pytest.mark.e2e
@pytest.mark.parametrize(("searched", "made"), [
    (3, True), *(pytest.param(searched, False, marks=pytest.mark.full) for searched in (3, 0))])
def test_the_rows_of_a_scenario(tmp_path, monkeypatch, searched, made):
    monkeypatch.setattr(serving, "HISTORIES", (20, 100, 300))  # 5,000 events take their time
    small = Servable(items=2000, categories=20, searched=searched, users=8, steps=1)
    if made:  # one that takes no time stands where it is looked for
        ToyServable(1).save(str(tmp_path / small.folder / "1"))
        (tmp_path / small.folder / "made").touch()
    rows = serving.measure("some", small, (), tmp_path, calls=3, seconds=0.8)
    shapes = {(one["path"], one["history"], one["batch"], one["clients"]) for one in rows}
    lengths, loaded = ((20, 100, 300), 300) if searched else ((100,), 100)
    assert shapes == {(path, length, batch, 1) for path in ("graph", "grpc") for length in lengths
                      for batch in (1, 32)} | {("grpc", loaded, 1, clients) for clients in (4, 16, 64)}
    assert all(one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"] and one["items"] == 2000 for one in rows)
    for one in rows:
        assert ("parts_ms" in one) == bool(searched and one["path"] == "graph" and one["batch"] == 1)
        if "parts_ms" in one:
            assert sum(one["parts_ms"].values()) == pytest.approx(one["p50_ms"])
            found = {part for part, ms in one["parts_ms"].items() if ms > 0}
            assert found == ({parts.REST} if made else one["parts_ms"].keys())
