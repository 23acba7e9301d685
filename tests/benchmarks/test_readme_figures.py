"""Every cell of the pages' results tables is what the committed JSON has, to the digits that are printed."""

import json
import re
from pathlib import Path

import pytest

from scripts import results_tables

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
README, BENCHMARKS = ROOT / "README.md", ROOT / "benchmarks" / "README.md"
PAGES = [README, BENCHMARKS]
_NUMBER = re.compile(r"\**-?[\d,]*\.?\d+( [×%]|%)?\**")


def read(name: str) -> list[dict]:
    file = RESULTS / f"{name}.json"
    if not file.exists():
        pytest.skip(f"{file.name} is not there")
    found = json.loads(file.read_text())
    return found if isinstance(found, list) else found["rows"]


def tables(text: str) -> list[tuple[list[str], list[list[str]]]]:
    """Head and rows of each table of a page, outside code."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = []
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        found.append((head, rows))
    return found


def table(page: Path, *heads: str) -> list[dict[str, str]]:
    """The one table of a page that has these heads, as rows by head."""
    [(head, rows)] = [one for one in tables(page.read_text()) if set(heads) <= set(one[0])]
    assert len(set(head)) == len(head) and all(len(row) == len(head) for row in rows)
    return [dict(zip(head, row)) for row in rows]


def check(cell: str, value: float) -> None:
    """A printed figure is the measured one, rounded."""
    digits = cell.strip("*").removesuffix(" ×").replace(",", "")
    decimals = len(digits.partition(".")[2])
    assert abs(float(digits) - value) <= 0.5 * 10**-decimals + 1e-9, f"the page says {cell}, the JSON {value}"


def test_recall_and_minutes_are_those_of_quality_json():
    figures = {(row["split"], row["model"], row["targets"], row["at"]): row for row in read("quality")
               if (row["metric"], row["slice"]) == ("recall", "all")}
    rows = table(README, "Recall", "novel @500")
    models = [row["Recall"].strip("*") for row in rows]
    assert set(models) == {model for split, model, *_ in figures if split == "test"} and len(set(models)) == len(models)
    for model, row in zip(models, rows):
        for head, cell in row.items():
            if head == "minutes":
                check(cell, figures["validation", model, "all", 20]["train_minutes"])
            elif head != "Recall":
                novel, _, at = head.rpartition("@")
                check(cell, figures["test", model, "novel" if novel else "all", int(at)]["value"])


METHODS = {
    "ULIM, ScaNN index": "ULIM ScaNN exact", "ULIM, ScaNN index, 8 bits a dimension": "ULIM ScaNN quantised",
    "ULIM, blocked index (made for GPUs)": "ULIM blocked", "FAISS IVFFlat, a list for each category": "FAISS IVFFlat",
    "FAISS IVF-SQ8, the same": "FAISS IVF-SQ8", "a ScaNN searcher for each category": "ScaNN per category",
    "NumPy, a slice for each category": "NumPy slices", "FAISS Flat with a bitmap": "FAISS Flat, bitmap",
    "all scores, masked": "TF masked matmul"}


def test_search_times_are_those_of_index_json():
    figures = {row["method"]: row for row in read("index") if row["items"] == 1_000_000 and row["categories"] == 10_000
               and row["table"] == "search 10" and row["queries"] == "popular"}
    rows = table(README, "µs a user")
    assert {METHODS[row[""].strip("*")] for row in rows} == set(METHODS.values()) == set(figures)
    for row in rows:
        measured = figures[METHODS[row[""].strip("*")]]
        assert measured["k"] == 50 and measured["pairs"] == 10
        check(row["µs a user"], measured["us_per_user"])
        check(row["as fast as FAISS IVFFlat"], measured["ratio_to_faiss_ivfflat"])
        check(row["recall"], measured["recall"])


ASKED = {"10 categories, 256 users a call": ("search 10", 10), "100 categories, 64 users a call": ("search 100", 100),
         "10 categories, one user a call": ("one user", 10)}


def test_every_search_is_that_of_index_json():
    """By how many were asked for: µs, and in brackets the ratio to IVFFlat and what recall is not 1."""
    figures = {(row["table"], row["method"], row["items"], row["categories"], row["queries"]): row
               for row in read("index") if row["table"] != "search_all"
               and (row["items"], row["categories"]) in ((200_000, 1_000), (1_000_000, 10_000))}
    checked = set()
    for line in table(BENCHMARKS, "asked", "method"):
        asked, pairs = ASKED[line.pop("asked")]
        method = line.pop("method")
        for head, cell in line.items():
            items, categories, queries = re.fullmatch(r"V = ([\d,]+), C = ([\d,]+), (\w+)", head).groups()
            key = (asked, method, *(int(size.replace(",", "")) for size in (items, categories)), queries)
            if cell == "–":
                assert key not in figures
                continue
            us, ratio, recall = re.fullmatch(r"([\d,]+) \((\d+\.\d\d ×)(?:, recall (\.\d{4}))?\)", cell).groups()
            assert figures[key]["pairs"] == pairs
            check(us, figures[key]["us_per_user"])
            check(ratio, figures[key]["ratio_to_faiss_ivfflat"])
            check(recall or "1.0000", figures[key]["recall"])
            checked.add(key)
    assert checked == set(figures)


def test_whole_pool_times_are_those_of_index_json():
    figures = {(f"{row['items']:,}", row["method"], row["queries"]): row for row in read("index")
               if row["table"] == "search_all"}
    rows = table(BENCHMARKS, "µs a query", "clustered: µs")
    assert 2 * len(rows) == len(figures)
    for row in rows:
        for queries, us, recall in (("normal", "µs a query", "recall"),
                                    ("clustered", "clustered: µs", "clustered: recall")):
            measured = figures[row["V"], row["method"], queries]
            check(row[us], measured["us_per_user"])
            check(row[recall], measured["recall"])


def test_memory_of_indices_is_that_of_index_json():
    figures = {(row["method"], f"V = {row['items']:,}"): row["resident_bytes_per_item"] for row in read("index")
               if (row["table"], row["queries"]) == ("search 10", "popular")
               and (row["items"], row["categories"]) in ((200_000, 1_000), (1_000_000, 10_000))}
    rows = table(BENCHMARKS, "bytes an item", "V = 1,000,000")
    assert len(rows) == 5
    for row in rows:
        method = row.pop("bytes an item")
        for head, cell in row.items():
            held, times = re.fullmatch(r"([\d,]+) \((\d+\.\d\d ×)\)", cell).groups()
            check(held, figures[method, head])
            check(times, figures[method, head] / 256)


def test_step_costs_are_those_of_training_json():
    figures = {(row["model"], f"{row['history']:,}", f"{row['items']:,}"): row for row in read("training")}
    rows = table(BENCHMARKS, "L", "V", "ms a step")
    assert len(rows) == len(figures)
    fields = {"ms a step": "step_ms", "users/s": "users_per_s", "ms a sample": "ms_per_sample",
              "input's share": "input_share", "peak MiB": "peak_mib"}
    for row in rows:
        measured = figures[row["model"].lower(), row["L"], row["V"]]
        for head, field in fields.items():
            check(row[head], measured[field])


def test_ingest_speeds_are_those_of_ingest_json():
    figures = {(f"{row['events'] / 1e6:g} M events, {row['format']}", row["method"], str(row["workers"])): row
               for row in read("ingest")}
    rows = table(BENCHMARKS, "log", "method", "workers")
    assert len(rows) == len(figures)
    fields = {"events/s": "events_per_s", "processor seconds": "cpu_seconds",
              "peak of the largest process, MiB": "peak_mib", "bytes an event": "bytes_per_event"}
    for row in rows:
        for head, field in fields.items():
            check(row[head], figures[row["log"], row["method"], row["workers"]][field])


def test_answer_times_are_those_of_serving_json():
    figures = {(row["scenario"], f"{row['items']:,}", f"{row['history']:,}", row["path"], str(row["clients"])): row
               for row in read("serving") if row["batch"] == 1}
    single = table(BENCHMARKS, "graph p50, ms")
    assert len({tuple(row.values())[:3] for row in single}) == len({key[:3] for key in figures if key[4] == "1"})
    for row in single:
        key = (row["scenario"], row["V"], row["L"])
        for path, heads in (("graph", ("graph p50, ms", "graph p99")), ("grpc", ("gRPC p50", "gRPC p99"))):
            measured = figures.get((*key, path, "1"))
            if measured is None:
                assert [row[head] for head in heads] == ["", ""]
            else:
                check(row[heads[0]], measured["p50_ms"])
                check(row[heads[1]], measured["p99_ms"])
        check(row["peak MiB"], max(one["peak_mib"] for of, one in figures.items() if of[:3] == key and of[4] == "1"))
    loads = table(BENCHMARKS, "clients", "requests/s")
    assert len(loads) == sum(key[4] != "1" for key in figures)
    fields = {"requests/s": "requests_per_s", "p50 ms": "p50_ms", "p95 ms": "p95_ms", "p99 ms": "p99_ms"}
    for row in loads:
        for head, field in fields.items():
            check(row[head], figures[row["scenario"], row["V"], row["L"], "grpc", row["clients"]][field])


def test_a_figure_that_is_not_the_measured_one_is_found():
    for cell, value in ((".2427", .24266), ("**.5**", .5), ("1.97 ×", 1.974), ("25,351", 25350.6), ("0.0", .04)):
        check(cell, value)
    for cell, value in ((".2427", .24276), (".5", .56), ("1.97 ×", 1.976), ("25,351", 25351.6), ("1.0", 1.06)):
        with pytest.raises(AssertionError, match=re.escape(f"the page says {cell}, the JSON {value}")):
            check(cell, value)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_are_as_make_docs_writes_them(page):
    text = page.read_text()
    assert results_tables.fill(text) == text, "run `make docs`"


def test_no_results_table_of_the_readme_is_written_by_hand():
    """One with a figure in most of its cells would be: put it between the comments that `make docs` looks for."""
    by_hand = re.sub(r"<!-- table \w+ -->.*?<!-- end of table -->", "", README.read_text(), flags=re.DOTALL)
    for head, rows in tables(by_hand):
        cells = [cell for row in rows for cell in row[1:]]
        numbers = [cell for cell in cells if _NUMBER.fullmatch(cell)]
        assert 2 * len(numbers) < len(cells), f"a table by hand: {head}"
    assert len(tables(README.read_text())) >= len(tables(by_hand)) + 2


def test_a_table_without_results_says_so_and_an_unknown_one_is_refused(tmp_path):
    page = "before\n<!-- table ingest -->\nold\n<!-- end of table -->\nafter\n"
    assert results_tables.fill(page, tmp_path) == (
        "before\n<!-- table ingest -->\n\n*`ingest.json` is not there: these were not measured yet.*\n\n"
        "<!-- end of table -->\nafter\n")
    with pytest.raises(ValueError, match=r"a table must be one of quality, index, .*, got 'speed'"):
        results_tables.fill(page.replace("ingest", "speed"), tmp_path)


def test_every_figure_of_the_readme_leads_to_rows_that_have_it():
    """The map in benchmarks/README.md: FILE: field=value, ...; and the fields that are printed of them."""
    rows, checked = [], 0
    for line in table(BENCHMARKS, "rows", "field"):
        if line["rows"] != "the same":
            file, wanted = re.fullmatch(r"`(\w+)\.json`: (.+)", line["rows"]).groups()
            wanted = dict(pair.split("=") for pair in wanted.split(", "))
            if not (RESULTS / f"{file}.json").exists():
                rows = []
                continue
            rows = [row for row in read(file) if all(str(row[name]) == value for name, value in wanted.items())]
            assert rows, f"{file}.json has no rows of {wanted}"
        for field in re.findall(r"`(\w+)`", line["field"]):
            assert all(field in row for row in rows), f"no {field} in rows of {line['rows']}"
            checked += bool(rows)
    assert checked >= 8


def test_the_readmes_prose_agrees_with_its_table():
    found = [row for row in read("quality") if (row["split"], row["slice"], row["targets"], row["metric"]) == (
        "test", "all", "all", "recall")]
    [households] = {row["users"] for row in found}
    text = README.read_text()
    assert f"{households:,} households" in text
    [margin] = re.findall(r"about ± (\.\d+) for Recall", text)
    of_ulim = [(row["high"] - row["low"]) / 2 for row in found if row["model"] == "ULIM"]
    assert float(margin) == pytest.approx(max(of_ulim), abs=.0015)
