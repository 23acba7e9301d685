"""What search inside categories costs, by size of the pool and number of categories: ULIM's indexes against others.

    python -m benchmarks.index                                        every size and the plot, on one core
    python -m benchmarks.index --items 200000 --categories 1000       one size
    python -m benchmarks.index --quick --json FILE                    the smallest two, and a plot of them

The catalogue is invented (`benchmarks/ann/catalog.py`). Every method runs in this process on one core with one thread;
methods take turns, and times are medians over the turns. What made the rows (machine, versions, seeds) is written to
NAME_runs.json beside NAME.json. Fields of a row:

    table, queries          "search 10", "search 100": a call answers a batch of users, 10 or 100 pairs of vector and
                            category each; "one user": the 10 pairs of one user after the other, by ULIM inside one
                            graph, by the libraries in a call each; "search_all": a call answers a batch of users, a
                            vector each, from the whole pool. `queries`: how the categories were drawn, "uniform" or
                            "popular" (in proportion to their items); of search_all, what the vectors are like:
                            "normal" (no clusters: the hardest) or "clustered", with queries near items
    method, items, categories   V, C
    pairs, k, batch         pairs of a user, best items asked for each, users in a call
    us_per_user             microseconds, median
    recall                  share of the exact best that was found, the vectors' own scores deciding, ties counting
    bytes_per_item          what the index holds: ULIM: its variables as saved; TensorFlow and NumPy: its arrays; FAISS
                            and hnswlib: its serialised form; ScaNN: its vectors and codes
    resident_bytes_per_item by how much building it and one search made the process grow; ULIM: loading it in a fresh
                            process. ULIM's numbers are of the searches inside categories and of the whole pool together
    ratio_to_faiss_ivfflat  FAISS IVFFlat's time over this one in the same table: above 1 is faster. FAISS's lists are
                            the categories; in "search_all" they are k-means's
"""

import os  # isort: skip

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # before TensorFlow: its allocator keeps what was freed, which would count

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.ann import cost, plot
from benchmarks.ann.catalog import DIMENSIONS, DRAWS, SEEDS, Catalog, invented, near_items, questions
from benchmarks.ann.index import CategoryIndex, PoolIndex, Search, ServedIndex
from benchmarks.ann.methods import (
    BLOCKED,
    BRUTE_FORCE,
    EXACT,
    IVF_FLAT,
    IVF_SQ8,
    METHODS,
    POOL_METHODS,
    QUANTISED,
    Method,
)
from benchmarks.ann.recall import Exact

Row = dict[str, Any]

RESULTS = Path(__file__).parent / "results" / "index.json"
SIZES = ((200_000, 1_000), (1_000_000, 10_000))
SWEPT = ((50_000, 1_000), (1_000_000, 1_000), (1_000_000, 100))  # with SIZES: V at C = 1,000, and C at V = 1,000,000

_PACKAGES = ("scann", "tensorflow", "faiss-cpu", "hnswlib", "numpy")

LEAST_TO_IVF_FLAT = 1.5
LEAST_TO_IVF_SQ8 = 2.0
MOST_MEMORY, MOST_MEMORY_QUANTISED = 1.15, 0.35
MOST_BLOCKED = 4.0
LEAST_POOL_RECALL, LEAST_TO_BRUTE_FORCE = 0.95, 10.0


@dataclass(frozen=True)
class Table:
    """Questions that every method is asked alike: `users` of them in one call, or each in a call of its own."""

    name: str
    pairs: int
    users: int
    one_call: bool = True
    k: int = 50


SEARCH_10 = Table("search 10", 10, 256)
TABLES = (SEARCH_10, Table("search 100", 100, 64), Table("one user", 10, 256, one_call=False))
POOL_TABLE = Table("search_all", 1, 64, k=100)
VECTORS = ("normal", "clustered")


@dataclass
class _Built:
    """An index in memory, for as long as a size is measured."""

    index: Any
    bytes_per_item: float
    resident_bytes_per_item: float
    most_users: int


def measure(items: int, categories: int, full: bool, rounds: int = 7) -> list[Row]:
    """The rows of one size; they are printed as they come.

    Args:
        items: V.
        categories: C.
        full: every method and table; else what the plot needs.
        rounds: turns that methods take.
    """
    catalog = invented(items, categories)
    print(f"\nV = {items:,}, C = {categories:,}", flush=True)
    methods = {name: method for name, method in METHODS.items()
               if (full or method.swept) and items <= method.most_items}
    built = {name: _build(method, catalog) for name, method in methods.items()}
    rows = []
    for table in TABLES if full else (SEARCH_10,):
        if table.pairs <= categories:
            for draw in DRAWS:
                query, category = questions(catalog, table.users, table.pairs, draw)
                rows += _rows(catalog, table, draw, query, category, built, rounds)
    if full:
        pool = {name: one for name, one in built.items() if isinstance(one.index, PoolIndex)}
        rows += _pool_rows(catalog, VECTORS[0], pool, rounds)
        built.clear()
        catalog = invented(items, categories, clustered=True)
        for name, one in pool.items():  # of the same size
            pool[name] = replace(one, index=METHODS[name].build(catalog))
        rows += _pool_rows(catalog, VECTORS[1], pool, rounds)
    return rows


def _pool_rows(catalog: Catalog, vectors: str, built: dict[str, "_Built"], rounds: int) -> list[Row]:
    built = built | {name: _build(method, catalog) for name, method in POOL_METHODS.items()}
    if vectors == VECTORS[1]:
        query = near_items(catalog, POOL_TABLE.users)
    else:
        query, _ = questions(catalog, POOL_TABLE.users, POOL_TABLE.pairs, DRAWS[0])
    return _rows(catalog, POOL_TABLE, vectors, query, None, built, rounds)


def _build(method: Method, catalog: Catalog) -> _Built:
    def build() -> Any:
        index, query = method.build(catalog), catalog.vectors[:1]
        # Asked once: TensorFlow builds ScaNN's searchers only then.
        if isinstance(index, CategoryIndex):
            index.ready(query, catalog.category[:1], 1)()
        if isinstance(index, PoolIndex):
            index.ready_all(query, 1)()
        return index

    index, growth = cost.resident_growth(build)
    if isinstance(index, ServedIndex):
        growth = index.resident()
    for remark in getattr(index, "remarks", list)():
        print(remark, flush=True)
    items = len(catalog.vectors)
    return _Built(index, index.nbytes() / items, growth / items, method.most_users)


def _rows(catalog: Catalog, table: Table, queries: str, query: np.ndarray, category: np.ndarray | None,
          built: Mapping[str, _Built], rounds: int) -> list[Row]:
    """A table; without categories, of the whole pool."""
    exact = Exact(catalog, query, category, table.k)
    users = {name: min(table.users, one.most_users) for name, one in built.items()}
    calls, recall = {}, {}
    for name, one in built.items():
        pairs = users[name] * table.pairs
        calls[name] = _calls(one.index, table, query[:pairs], None if category is None else category[:pairs])
        found = np.concatenate([np.asarray(call()) for call in calls[name]])
        recall[name] = exact.recall(found.reshape(-1, table.k))
    seconds = cost.medians(calls, rounds)
    print(f"\n{table.name}, {queries}: {table.pairs} a user, k = {table.k}, "
          + (f"{table.users} users a call" if table.one_call else "one user after the other"))
    print(f"{'':26}{'us/user':>12}{'recall':>9}{'bytes/item':>12}{'resident':>10}{'to IVFFlat':>12}")
    rows = []
    for name, one in built.items():
        batch = users[name] if table.one_call else 1
        per_user = {method: seconds[method] * len(calls[method]) / users[method] for method in (name, IVF_FLAT)}
        rows.append({
            "table": table.name, "queries": queries, "method": name, "items": len(catalog.vectors),
            "categories": catalog.categories, "pairs": table.pairs, "k": table.k, "batch": batch,
            "us_per_user": 1e6 * per_user[name], "recall": recall[name], "bytes_per_item": one.bytes_per_item,
            "resident_bytes_per_item": one.resident_bytes_per_item,
            "ratio_to_faiss_ivfflat": per_user[IVF_FLAT] / per_user[name]})
        print(f"{name:26}{rows[-1]['us_per_user']:12,.1f}{recall[name]:9.4f}{one.bytes_per_item:12,.1f}"
              f"{one.resident_bytes_per_item:10,.1f}{rows[-1]['ratio_to_faiss_ivfflat']:12.3f}"
              + (f"  {users[name]} users" if users[name] < table.users else ""), flush=True)
    return rows


def _calls(index: Any, table: Table, query: np.ndarray, category: np.ndarray | None) -> list[Search]:
    if category is None:
        return [index.ready_all(query, table.k)]
    if table.one_call:
        return [index.ready(query, category, table.k)]
    query, category = query.reshape(-1, table.pairs, query.shape[1]), category.reshape(-1, table.pairs)
    if isinstance(index, ServedIndex):
        return [index.ready_each(query, category, table.k)]
    return [index.ready(*one, table.k) for one in zip(query, category)]


def goals(rows: Sequence[Row]) -> list[tuple[str, float, str, float]]:
    """What is asked of ULIM's indexes where every method was measured: the worst of the tables that ask batches.

    Returns:
        the goal, the measured value, "at least" or "at most", and the bound; none for an index without rows.
    """
    sizes = sorted({(row["items"], row["categories"]) for row in rows if row["table"] == POOL_TABLE.name})
    judged = []
    for items, categories in sizes:
        mine = [row for row in rows if (row["items"], row["categories"]) == (items, categories)]
        at = f"V = {items:,}, C = {categories:,}"
        for draw in DRAWS:
            judged += _goals_of_search(f"{at}, {draw}", [row for row in mine if row["queries"] == draw])
        judged += _goals_of_memory(at, mine)
        if (items, categories) == sizes[-1]:
            for vectors in VECTORS:
                judged += _goals_of_pool(f"{at}, {vectors}", [row for row in mine if row["queries"] == vectors])
    return judged


def _goals_of_search(at: str, rows: Sequence[Row]) -> list[tuple[str, float, str, float]]:
    batches = {table.name for table in TABLES if table.one_call}
    of: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["table"] in batches:
            of.setdefault(row["method"], {})[row["table"]] = row

    def over(slow: str, fast: str) -> list[float]:
        return [of[slow][table]["us_per_user"] / row["us_per_user"] for table, row in of[fast].items()]

    judged = []
    if EXACT in of:
        judged += [
            (f"{EXACT} faster than {IVF_FLAT}, {at}", min(over(IVF_FLAT, EXACT)), "at least", LEAST_TO_IVF_FLAT),
            (f"{EXACT} recall, {at}", min(row["recall"] for row in of[EXACT].values()), "at least", 1.0)]
    if QUANTISED in of:
        judged += [
            (f"{QUANTISED} faster than {IVF_SQ8}, {at}", min(over(IVF_SQ8, QUANTISED)), "at least", LEAST_TO_IVF_SQ8),
            (f"{QUANTISED} recall less {IVF_SQ8}'s, {at}",
             min(row["recall"] - of[IVF_SQ8][table]["recall"] for table, row in of[QUANTISED].items()),
             "at least", 0.0)]
    if BLOCKED in of:
        judged.append((f"{BLOCKED} time over {EXACT}'s, {at}", max(over(BLOCKED, EXACT)), "at most", MOST_BLOCKED))
    return judged


def _goals_of_memory(at: str, rows: Sequence[Row]) -> list[tuple[str, float, str, float]]:
    of = {row["method"]: row for row in rows if row["table"] == SEARCH_10.name}
    return [(f"{method} memory over the vectors', {at}",  # copies inside an op are not in its arrays
             max(of[method]["bytes_per_item"], of[method]["resident_bytes_per_item"]) / (4 * DIMENSIONS),
             "at most", bound)
            for method, bound in ((EXACT, MOST_MEMORY), (BLOCKED, MOST_MEMORY), (QUANTISED, MOST_MEMORY_QUANTISED))
            if method in of]


def _goals_of_pool(at: str, rows: Sequence[Row]) -> list[tuple[str, float, str, float]]:
    of = {row["method"]: row for row in rows if row["table"] == POOL_TABLE.name}
    if EXACT not in of:
        return []
    brute_force = min(of[method]["us_per_user"] for method in BRUTE_FORCE)
    return [(f"search_all recall, {at}", of[EXACT]["recall"], "at least", LEAST_POOL_RECALL),
            (f"search_all faster than brute force, {at}", brute_force / of[EXACT]["us_per_user"],
             "at least", LEAST_TO_BRUTE_FORCE)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, help="V, with --categories: one size instead of all")
    parser.add_argument("--categories", type=int, help="C")
    parser.add_argument("--quick", action="store_true",
                        help=f"V = {SIZES[0][0]:,} and {SWEPT[0][0]:,} only, C = {SIZES[0][1]:,}")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file to write the rows to")
    given = parser.parse_args(arguments)
    if (given.items is None) != (given.categories is None):
        parser.error("--items and --categories go together")
    if given.quick and given.items is not None:
        parser.error("--quick has sizes of its own, without --items")
    given.json.parent.mkdir(parents=True, exist_ok=True)  # now, and not when all is measured

    cost.use_one_core()
    if given.items is None:
        sizes, swept = (SIZES[:1], SWEPT[:1]) if given.quick else (SIZES, SWEPT)
    else:
        sizes, swept = ((given.items, given.categories),), ()
    rows: list[Row] = []
    start, own_start = time.perf_counter(), time.process_time()
    for items, categories in (*sizes, *swept):
        rows += measure(items, categories, full=(items, categories) in sizes)
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    machine.write_run(given.json, machine.made_by(_PACKAGES, SEEDS))
    if given.items is None:
        plot.draw(rows, SEARCH_10.name, given.json.with_suffix(".png"))
    share = (time.process_time() - own_start) / (time.perf_counter() - start)
    print(f"\nThis process had {share:.0%} of its core, waiting for other processes to build indices included.\n")
    for goal, value, side, bound in goals(rows):
        met = value >= bound if side == "at least" else value <= bound
        print(f"{'met   ' if met else 'MISSED'}  {goal}: {value:.3f}, {side} {bound}")


if __name__ == "__main__":
    main()
