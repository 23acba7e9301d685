import collections
import json
import sys

import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks import ingest
from benchmarks.ingest import Case
from benchmarks.ingesting import in_pandas, in_polars, invented, watched

EVENTS = 3_000


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("ingest")


@pytest.fixture(scope="module")
def log(directory):
    return invented.write(directory, EVENTS, ".parquet", ingest.SEED)


def test_an_invented_user_is_a_household_of_the_real_log(directory, log):
    real = pd.read_parquet(directory / "complete_journey/events.parquet")
    made = pd.read_parquet(log)
    assert len(made) == EVENTS and made["timestamp"].is_monotonic_increasing

    def histories(events):
        """How many events of what items at what times in how large baskets a user has."""
        size = events.groupby("group_id")["item_id"].transform("size")
        rows = zip(events["user_id"], events["timestamp"], events["item_id"], events["category_id"], size)
        found = collections.defaultdict(collections.Counter)
        for user, *row in rows:
            found[user][tuple(row)] += 1
        return list(found.values())

    of_real = {frozenset(one.items()) for one in histories(real)}
    of_made = histories(made)
    assert len(of_made) > 2
    assert sum(frozenset(one.items()) not in of_real for one in of_made) <= 1  # the last is cut
    assert made.groupby("group_id")["user_id"].nunique().max() == 1
    assert invented.write(directory, EVENTS, ".parquet", ingest.SEED) == log


def test_copies_of_a_household_share_no_basket(directory):
    made = pd.read_parquet(invented.write(directory, 40_000, ".parquet", seed=3))
    copies = made.groupby("user_id").apply(lambda user: tuple(zip(user["timestamp"], user["item_id"])))
    assert copies.duplicated().any()
    assert made.groupby("group_id")["user_id"].nunique().max() == 1


@pytest.mark.parametrize("method", [in_pandas, in_polars])
@pytest.mark.parametrize("extension", [".parquet", ".csv"])
def test_the_others_group_each_users_events_by_time(directory, tmp_path, method, extension):
    made = invented.write(directory, EVENTS, extension, ingest.SEED)
    method.run(made, tmp_path, workers=1)
    users = pq.read_table(tmp_path / "users.parquet").to_pylist()
    expected = collections.defaultdict(list)
    for row in pd.read_parquet(directory / f"events-{EVENTS}-{ingest.SEED}.parquet").itertuples(index=False):
        expected[row.user_id].append(row[1:])
    columns = ("item_id", "category_id", "timestamp", "group_id")
    assert {user["user_id"]: list(zip(*(user[name] for name in columns))) for user in users} == expected
    file = pq.ParquetFile(tmp_path / "users.parquet")
    assert file.metadata.row_group(0).column(1).compression == "GZIP"


@pytest.mark.parametrize(("method", "workers"), [("ingest", 1), ("Polars", 2)])
def test_a_row_is_measured_in_processes_of_its_own(directory, method, workers):
    row = ingest.measure(Case(method, "parquet", EVENTS, workers), repetitions=1, directory=directory)
    assert row.keys() == {"method", "format", "events", "workers", "repetitions", "load", "events_per_s",
                          "cpu_seconds", "peak_mib", "processes_mib", "bytes_per_event"}
    assert row["cpu_seconds"] > 0 and row["events_per_s"] > 0
    assert row["peak_mib"] == max(row["processes_mib"]) > 20 and 1 < row["bytes_per_event"] < 100
    assert [path.name for path in directory.iterdir() if path.is_dir()] == ["complete_journey"]


HOARDER = "x = bytearray(200 << 20); import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
CHILD = "import time; x = bytearray(100 << 20); time.sleep(1); print('done')"


def test_the_memory_of_every_process_is_watched():
    printed, peaks = watched.run([sys.executable, "-c", HOARDER, CHILD])
    assert printed == "done\n"
    own, child = peaks
    assert 200 < own < 260 and 100 < child < 160


def row(method, workers, events_per_s, bytes_per_event):
    return Case(method, "csv", 1_000_000, workers)._asdict() | {
        "events_per_s": events_per_s, "peak_mib": 9.0, "processes_mib": [9.0], "bytes_per_event": bytes_per_event}


ROWS = {("ingest", 1): row("ingest", 1, 100_000.0, 20.0), ("ingest", 2): row("ingest", 2, 180_000.0, 21.0),
        ("pandas", 1): row("pandas", 1, 1.0, 99.0)}


def test_goals_are_those_of_the_ingest():
    at = "1,000,000 events of csv"
    assert ingest.goals(list(ROWS.values())) == [
        (f"events_per_s of one worker, {at}", 100_000.0, "at least", 150_000),
        (f"bytes_per_event, {at}", 20.0, "at most", 40),
        (f"2 workers' events_per_s over one's, {at}", 1.8, "at least", 1.7)]


def test_the_command_measures_what_is_asked_for_and_keeps_other_rows(tmp_path, monkeypatch, capsys):
    asked = []

    def measure(case, repetitions):
        asked.append((case, repetitions))
        return ROWS[case.method, case.workers]

    monkeypatch.setattr(ingest, "measure", measure)
    file = tmp_path / "rows.json"
    some = ["--json", str(file), "--events", "1000000", "--format", "csv"]
    ingest.main([*some, "--method", "ingest"])
    ingest.main([*some, "--method", "pandas", "--workers", "1", "--repetitions", "5"])
    assert asked == [(Case("ingest", "csv", 1_000_000, 1), 3), (Case("ingest", "csv", 1_000_000, 2), 3),
                     (Case("pandas", "csv", 1_000_000, 1), 5)]
    found = json.loads(file.read_text())
    assert found["rows"] == list(ROWS.values())
    assert found["seed"] == 17 and found["versions"]["polars"] == "1.44.2" and found["machine"]["cpus"] > 0
    assert file.with_suffix(".png").stat().st_size > 10_000
    assert found["machine"]["memory_gib"] > 0 and found["made"] and found["command"]
    printed = capsys.readouterr().out
    assert "MISSED  events_per_s of one worker, 1,000,000 events of csv: 1e+05, at least 150,000" in printed
    assert "met     2 workers' events_per_s over one's, 1,000,000 events of csv: 1.8, at least 1.7" in printed


def test_quick_is_the_shortest_log_of_parquet(tmp_path, monkeypatch):
    asked = []

    def measure(case, repetitions):
        asked.append(case)
        return row(case.method, case.workers, 1.0, 1.0) | case._asdict()

    monkeypatch.setattr(ingest, "measure", measure)
    ingest.main(["--json", str(tmp_path / "new" / "rows.json"), "--quick"])
    assert len(json.loads((tmp_path / "new" / "rows.json").read_text())["rows"]) == 5
    assert {(case.format, case.events) for case in asked} == {("parquet", 1_000_000)} and len(asked) == 5
