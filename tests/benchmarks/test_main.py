"""`python -m benchmarks`: one process after the other, what it says in the end, and what each benchmark writes down."""

import json
import sys
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as program
from benchmarks import figures, machine, training_plot

TRAINING = [{"model": "ulim", "history": 300, "items": 10, "users_per_s": 50.0, "step_ms": 2.0, "peak_mib": 3.0},
            {"model": "sasrec", "history": 300, "items": 10, "users_per_s": 8.0, "step_ms": 4.0, "peak_mib": 3.0}]
INGEST = {"made": "2026-01-01", "rows": [
    {"method": "ingest", "format": "parquet", "events": 1_000_000, "workers": 1, "events_per_s": 300_000.0},
    {"method": "ingest", "format": "csv", "events": 1_000_000, "workers": 1, "events_per_s": 1.0}]}


@pytest.fixture
def started(tmp_path, monkeypatch):
    """The commands that were started; `ends` has the exit codes and what is written, by benchmark."""
    monkeypatch.chdir(tmp_path)
    started = SimpleNamespace(commands=[], ends={}, writes={})

    def run(command):
        started.commands.append(command)
        name = command[2].removeprefix("benchmarks.")
        if name in started.writes:
            folder = program.RESULTS if "--quick" not in command else program.QUICK_RESULTS
            (folder / f"{name}.json").write_text(json.dumps(started.writes[name]))
        return SimpleNamespace(returncode=started.ends.get(name, 0))

    monkeypatch.setattr(program.subprocess, "run", run)
    return started


def test_all_benchmarks_run_on_a_small_scale_beside_the_committed_results(started):
    assert program.main([]) == 0
    quick = ".bench/quick"
    assert started.commands == [
        [sys.executable, "-m", "benchmarks.quality", "--quick", "--results", quick],
        *([sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", f"{quick}/{name}.json"]
          for name in ("index", "ingest", "training", "serving"))]


def test_the_full_run_has_the_peers_and_writes_what_is_committed(started):
    assert program.main(["--full", "quality", "serving"]) == 0
    assert started.commands == [
        [sys.executable, "-m", "benchmarks.quality", "--peers", "--results", "benchmarks/results"],
        [sys.executable, "-m", "benchmarks.serving", "--json", "benchmarks/results/serving.json"]]


def test_a_failed_benchmark_does_not_keep_the_next_from_running(started, capsys):
    started.ends["index"] = 3
    started.writes["index"] = [{"written": "before it failed"}]
    assert program.main(["index", "ingest"]) == 1
    assert [command[2] for command in started.commands] == ["benchmarks.index", "benchmarks.ingest"]
    told = capsys.readouterr()
    assert "=== index: FAILED with exit code 3, 0.0 minutes" in told.out
    assert "=== ingest: done, 0.0 minutes" in told.out
    assert told.err == "error: index failed; see above\n"


def test_measured_figures_stand_beside_the_committed_ones(started, capsys):
    program.RESULTS.mkdir(parents=True)
    (program.RESULTS / "training.json").write_text(json.dumps([TRAINING[0] | {"users_per_s": 40.0}]))
    started.writes = {"training": TRAINING, "ingest": INGEST}
    assert program.main(["training", "ingest"]) == 0
    table = capsys.readouterr().out.split("\n\n")[-2]
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["training", "users/s,", "ulim,", "L", "=", "300,", "V", "=", "10", "50.0", "40.0", "1.25"],
        ["training", "users/s,", "sasrec,", "L", "=", "300,", "V", "=", "10", "8.0000", "-", "-"],
        ["ingest", "events/s,", "ingest,", "1", "at", "work", "300,000", "-", "-"]]


def test_an_unknown_benchmark_is_named(started, capsys):
    with pytest.raises(SystemExit) as stopped:
        program.main(["indices"])
    assert stopped.value.code == 2 and started.commands == []
    assert "there is no benchmark indices. There are quality, index, ingest, training, serving." in (
        capsys.readouterr().err)


def test_the_committed_results_have_figures_to_compare():
    for name in figures.FIGURES:
        rows = figures.rows(program.RESULTS / f"{name}.json")
        found = figures.compare(name, rows, rows)
        assert bool(found) == bool(rows) and all(one.value == one.committed for one in found)
    assert figures.rows(program.RESULTS / "quality.json") and figures.rows(program.RESULTS / "index.json")


def test_what_made_the_figures_names_the_machine():
    run = machine.made_by(["numpy"], seed=5)
    assert run.keys() == {"made", "command", "seed", "machine", "versions"}
    assert run["seed"] == 5 and run["versions"]["numpy"].startswith("1.26.")
    assert run["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert run["machine"].keys() == {"processor", "cpus", "memory_gib", "system"}
    assert run["machine"]["cpus"] >= 1 and 0.5 < run["machine"]["memory_gib"] < 100_000
    assert run["command"].startswith("python ") and run["made"].endswith("+00:00")


def test_a_run_replaces_the_one_that_made_the_same_rows(tmp_path):
    rows = tmp_path / "some.json"
    for seed, scenario in enumerate("aba", 1):
        machine.write_run(rows, {"seed": seed}, {"scenario": scenario})
    runs = tmp_path / "some_runs.json"
    assert json.loads(runs.read_text()) == [{"scenario": "b", "seed": 2}, {"scenario": "a", "seed": 3}]
    machine.write_run(rows, {"seed": 4})
    assert json.loads(runs.read_text()) == [{"seed": 4}]
    assert list(tmp_path.iterdir()) == [runs]


def test_what_a_step_costs_is_drawn(tmp_path):
    training_plot.draw(TRAINING, tmp_path / "training.png")
    assert (tmp_path / "training.png").stat().st_size > 10_000
