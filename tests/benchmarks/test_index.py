import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import index
from benchmarks.ann import catalog
from benchmarks.ann.catalog import Catalog
from benchmarks.ann.cost import medians
from benchmarks.ann.index import PoolIndex
from benchmarks.ann.methods import BRUTE_FORCE, IVF_FLAT, IVF_SQ8, METHODS, POOL_METHODS, QUANTISED
from benchmarks.ann.recall import Exact

ROOT = Path(__file__).resolve().parents[2]
K = 50
LEAST_RECALL = {IVF_SQ8: 0.98, QUANTISED: 0.98, "hnswlib, post-filter": 0.6}  # the others are exact


@pytest.fixture(scope="module")
def invented():
    return catalog.invented(items=2000, categories=30)


@pytest.fixture(scope="module")
def built(invented):
    return {name: method.build(invented) for name, method in METHODS.items()}


def test_invented_categories_follow_zipf_and_none_is_empty():
    sizes = np.array([len(rows) for rows in catalog.invented(200_000, 100).rows])
    expected = np.arange(1, 101) ** -0.8
    np.testing.assert_allclose(sizes / sizes.sum(), expected / expected.sum(), rtol=0.12)
    assert [len(rows) for rows in catalog.invented(50, 50).rows] == [1] * 50


def test_the_rows_of_a_category_are_its_items(invented):
    assert sum(map(len, invented.rows)) == 2000
    assert all((invented.category[rows] == one).all() for one, rows in enumerate(invented.rows, start=1))


@pytest.mark.parametrize("draw", catalog.DRAWS)
def test_a_user_asks_in_distinct_categories(invented, draw):
    query, category = catalog.questions(invented, users=400, pairs=5, draw=draw)
    assert query.shape == (2000, 64) and query.dtype == np.float32
    assert all(len(set(own)) == 5 for own in category.reshape(400, 5).tolist())
    first = np.bincount(category[::5], minlength=31)[1:] / 400
    share = np.array([len(rows) for rows in invented.rows]) / 2000
    np.testing.assert_allclose(first, share if draw == "popular" else 1 / 30, atol=0.06)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("draw", catalog.DRAWS)
def test_a_method_finds_a_category_s_best_and_nothing_else(invented, built, method, draw):
    query, category = catalog.questions(invented, users=5, pairs=10, draw=draw)
    assert min(len(invented.rows[one - 1]) for one in category) < K
    item = np.asarray(built[method].ready(query, category, K)())
    assert item.shape == (50, K)
    for row, one in zip(item, category):
        found = row[row >= 1]
        assert (invented.category[found - 1] == one).all()
        assert len(set(found)) == len(found) <= len(invented.rows[one - 1])
    recall = Exact(invented, query, category, K).recall(item)
    assert LEAST_RECALL.get(method, 1.0) <= recall <= 1


@pytest.mark.parametrize("method", [*(name for name in METHODS if "ULIM" in name), *POOL_METHODS])
def test_a_method_finds_the_best_of_the_pool(invented, built, method):
    searcher = POOL_METHODS[method].build(invented) if method in POOL_METHODS else built[method]
    query = catalog.questions(invented, users=20, pairs=1, draw="uniform")[0]
    item = np.asarray(searcher.ready_all(query, 100)())
    assert item.shape == (20, 100)
    recall = Exact(invented, query, None, 100).recall(item)
    assert 0.1 < recall < 1 if method == IVF_FLAT else recall >= (0.98 if method == QUANTISED else 1)


@pytest.mark.parametrize("method", [*METHODS, *BRUTE_FORCE])
def test_an_index_knows_its_size(invented, built, method):
    searcher = built[method] if method in built else POOL_METHODS[method].build(invented)
    least = 64 if "SQ8" in method or "quantised" in method else 256
    assert least <= searcher.nbytes() / 2000 < 3 * least


def test_only_indexes_that_search_the_pool_say_so(built):
    assert {name for name, one in built.items() if isinstance(one, PoolIndex)} == {
        "hnswlib, post-filter", *(name for name in METHODS if "ULIM" in name)}


def test_recall_counts_ties_but_no_item_twice_and_no_other_category_s():
    one_dimension = Catalog(np.array([[5], [4], [4], [1], [9]], np.float32), np.array([1, 1, 1, 1, 2]), 2)
    query, category = np.ones([2, 1], np.float32), np.array([1, 2])
    exact = Exact(one_dimension, query, category, k=2)  # items 1 and 2 or 3; item 5 alone
    assert exact.recall(np.array([[1, 3], [5, 0]])) == exact.recall(np.array([[2, 1], [-1, 5]])) == 1
    assert exact.recall(np.array([[1, 1], [5, 5]])) == exact.recall(np.array([[1, 5], [5, 1]])) == 2 / 3
    assert exact.recall(np.array([[4, 1]])) == 1 / 2  # of the first question alone
    assert Exact(one_dimension, query[:1], None, k=2).recall(np.array([[1, 5]])) == 1


def test_methods_take_turns():
    order = []
    seconds = medians({"one": [lambda: order.append(1)], "two": [lambda: order.append(2)] * 2}, rounds=2)
    assert order == [1, 2, 2, 1, 2, 2]
    assert seconds.keys() == {"one", "two"} and all(0 <= value < 0.1 for value in seconds.values())


@pytest.mark.e2e
@pytest.mark.full
def test_the_command_measures_one_size_on_one_core(tmp_path):
    run = subprocess.run([sys.executable, "-m", "benchmarks.index", "--items", "2000", "--categories", "30",
                          "--json", tmp_path / "rows.json"], cwd=ROOT, check=True, capture_output=True, text=True)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {frozenset(row) for row in rows} == {frozenset({
        "table", "queries", "method", "items", "categories", "pairs", "k", "batch", "us_per_user", "recall",
        "bytes_per_item", "resident_bytes_per_item", "ratio_to_faiss_ivfflat"})}
    assert {(row["items"], row["categories"]) for row in rows} == {(2000, 30)}
    # A user who asks in 100 distinct ones of 30 categories there is not.
    assert {(row["table"], row["queries"], row["pairs"], row["k"]) for row in rows} == {
        ("search 10", "uniform", 10, 50), ("search 10", "popular", 10, 50), ("one user", "uniform", 10, 50),
        ("one user", "popular", 10, 50), ("search_all", "normal", 1, 100),
        ("search_all", "clustered", 1, 100)}
    for row in rows:
        base, = (other for other in rows if other["method"] == IVF_FLAT
                 and (other["table"], other["queries"]) == (row["table"], row["queries"]))
        assert row["ratio_to_faiss_ivfflat"] == pytest.approx(base["us_per_user"] / row["us_per_user"])
        assert row["batch"] == (1 if row["table"] == "one user" else
                                min(METHODS[row["method"]].most_users if row["method"] in METHODS else 64,
                                    256 if row["table"] == "search 10" else 64))
    assert {row["method"] for row in rows if row["table"] == "search 10"} == set(METHODS)
    [made] = json.loads((tmp_path / "rows_runs.json").read_text())
    assert made["seed"] == {"catalogue": 17, "questions": 23} and "--items 2000" in made["command"]
    assert "% of its core" in run.stdout
    assert "search_all recall, V = 2,000, C = 30, normal: 1.000, at least 0.95" in run.stdout


def test_half_a_size_is_refused(capsys):
    with pytest.raises(SystemExit):
        index.main(["--items", "2000"])
    assert "--items and --categories go together" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        index.main(["--items", "2000", "--categories", "30", "--quick"])
    assert "--quick has sizes of its own, without --items" in capsys.readouterr().err


def row(method, us, recall=1.0, table="search 10", queries="uniform", size=(100, 10), resident=256.0):
    return {"table": table, "queries": queries, "method": method, "items": size[0], "categories": size[1],
            "us_per_user": us, "recall": recall, "bytes_per_item": 256.0, "resident_bytes_per_item": resident}


ROWS = [
    row("FAISS IVFFlat", 30.0), row("FAISS IVFFlat", 60.0, queries="popular"),
    row("FAISS IVF-SQ8", 25.0, 0.98), row("FAISS IVF-SQ8", 50.0, 0.97, queries="popular"),
    row("ULIM ScaNN exact", 10.0, resident=512.0),
    row("ULIM ScaNN exact", 50.0, 0.5, queries="popular", resident=512.0),
    row("ULIM ScaNN exact", 900.0, table="one user"),
    row("ULIM ScaNN quantised", 5.0, 0.99, resident=64.0),
    row("ULIM ScaNN quantised", 20.0, 0.96, queries="popular", resident=64.0),
    row("ULIM blocked", 30.0), row("ULIM blocked", 100.0, queries="popular"),
    row("ULIM ScaNN exact", 4.0, 0.96, table="search_all", queries="clustered"),
    row("NumPy brute force", 48.0, table="search_all", queries="clustered"),
    row("FAISS Flat", 44.0, table="search_all", queries="clustered"),
    row("FAISS IVFFlat", 1.0, size=(50, 10)), row("ULIM ScaNN exact", 1.0, size=(50, 10)),  # of the plot only
]


def test_goals_are_the_worst_of_the_tables_that_ask_batches():
    at = "V = 100, C = 10"
    rows = [*ROWS, row("FAISS IVFFlat", 400.0, table="search 100"), row("ULIM ScaNN exact", 200.0, table="search 100"),
            row("ULIM blocked", 500.0, table="search 100")]
    assert index.goals(rows) == [
        (f"ULIM ScaNN exact faster than FAISS IVFFlat, {at}, uniform", 2.0, "at least", 1.5),
        (f"ULIM ScaNN exact recall, {at}, uniform", 1.0, "at least", 1.0),
        (f"ULIM ScaNN quantised faster than FAISS IVF-SQ8, {at}, uniform", 5.0, "at least", 2.0),
        (f"ULIM ScaNN quantised recall less FAISS IVF-SQ8's, {at}, uniform", pytest.approx(0.01), "at least", 0.0),
        (f"ULIM blocked time over ULIM ScaNN exact's, {at}, uniform", 3.0, "at most", 4.0),
        (f"ULIM ScaNN exact faster than FAISS IVFFlat, {at}, popular", 1.2, "at least", 1.5),
        (f"ULIM ScaNN exact recall, {at}, popular", 0.5, "at least", 1.0),
        (f"ULIM ScaNN quantised faster than FAISS IVF-SQ8, {at}, popular", 2.5, "at least", 2.0),
        (f"ULIM ScaNN quantised recall less FAISS IVF-SQ8's, {at}, popular", pytest.approx(-0.01), "at least", 0.0),
        (f"ULIM blocked time over ULIM ScaNN exact's, {at}, popular", 2.0, "at most", 4.0),
        (f"ULIM ScaNN exact memory over the vectors', {at}", 2.0, "at most", 1.15),
        (f"ULIM blocked memory over the vectors', {at}", 1.0, "at most", 1.15),
        (f"ULIM ScaNN quantised memory over the vectors', {at}", 1.0, "at most", 0.35),
        (f"search_all recall, {at}, clustered", 0.96, "at least", 0.95),
        (f"search_all faster than brute force, {at}, clustered", 11.0, "at least", 10.0)]


def test_an_index_without_rows_has_no_goals():
    assert [goal for goal, *_ in index.goals([one for one in ROWS if "ULIM" not in one["method"]])] == []


@pytest.mark.parametrize("quick", [False, True])
def test_the_command_writes_its_rows_and_plot_and_says_which_goals_are_missed(tmp_path, monkeypatch, capsys, quick):
    sizes = []

    def measure(items, categories, full):
        sizes.append((items, categories))
        return [{**one, "items": items, "categories": categories} for one in ROWS[:-2] if full or one in ROWS[:7]]

    monkeypatch.setattr(index, "measure", measure)
    monkeypatch.setattr(index.cost, "use_one_core", lambda: None)
    index.main(["--json", str(tmp_path / "new" / "rows.json"), *["--quick"] * quick])
    assert sizes == ([(200_000, 1000), (50_000, 1000)] if quick else [*index.SIZES, *index.SWEPT])
    assert len(json.loads((tmp_path / "new" / "rows.json").read_text())) == (14 + 7 if quick else 2 * 14 + 3 * 7)
    assert (tmp_path / "new" / "rows.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert ("MISSED  ULIM ScaNN exact faster than FAISS IVFFlat, V = 200,000, C = 1,000, popular: 1.200, at least 1.5"
            in printed)
    largest = "V = 200,000, C = 1,000" if quick else "V = 1,000,000, C = 10,000"
    assert f"met     search_all recall, {largest}, clustered: 0.960, at least 0.95" in printed
