"""python -m scripts.results_tables PAGE ...     Writes the tables of measured figures into pages, out of the JSON.

A table stands between `<!-- table NAME -->` and `<!-- end of table -->`; NAME is one of `TABLES`. What is between them
is replaced; the rest of the page is left alone.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures

Row = Mapping[str, Any]
Cells = Sequence[str]

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

_BLOCK = re.compile(r"(<!-- table (\w+) -->\n)(.*?)(<!-- end of table -->)", re.DOTALL)

_QUALITY_MODELS = (
    "most popular", "item-kNN", "own most frequent", "own + item-kNN", "two-tower", "YouTubeDNN", "MIND",
    "SASRec (RecTools)", "HSTU (RecTools)", "SDM (deepmatch)", "MIND (deepmatch)", "ComiRec (deepmatch)",
    "ULIM (exact)", "ULIM", "ULIM with item content (exact)", "ULIM with item content", "ULIM (half history)")
_INDEX_METHODS = {
    "ULIM ScaNN exact": "**ULIM, ScaNN index**",
    "ULIM ScaNN quantised": "ULIM, ScaNN index, 8 bits a dimension",
    "ULIM blocked": "ULIM, blocked index (made for GPUs)",
    "FAISS IVFFlat": "FAISS IVFFlat, a list for each category",
    "FAISS IVF-SQ8": "FAISS IVF-SQ8, the same",
    "ScaNN per category": "a ScaNN searcher for each category",
    "NumPy slices": "NumPy, a slice for each category",
    "FAISS Flat, bitmap": "FAISS Flat with a bitmap",
    "TF masked matmul": "all scores, masked",
}
_INDEX_ASKED = {
    "search 10": "10 categories, 256 users a call", "search 100": "100 categories, 64 users a call",
    "one user": "10 categories, one user a call"}
_INDEX_SIZES = ((200_000, 1_000), (1_000_000, 10_000))
_VECTOR_BYTES = 256
_CUTS = (20, 50, 100, 500)


def fill(page: str, results: Path = RESULTS) -> str:
    """The page with its tables as the results are.

    Args:
        page: Markdown.
        results: folder of the JSON files. A table whose file is not there says so.

    Raises:
        ValueError: a table has a name that is not one of `TABLES`.
    """
    def table(found: re.Match) -> str:
        begin, name, _, end = found.groups()
        if name not in TABLES:
            raise ValueError(f"a table must be one of {', '.join(TABLES)}, got {name!r}")
        benchmark, make = TABLES[name]
        file = results / f"{benchmark}.json"
        if not file.exists():
            return f"{begin}\n*`{file.name}` is not there: these were not measured yet.*\n\n{end}"
        head, *rows = make(figures.rows(file))
        lines = [_line(head), f"|{'---|' * len(head)}", *map(_line, rows)]
        return "\n".join([begin, *lines, "", end])

    return _BLOCK.sub(table, page)


def _line(cells: Cells) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _quality(rows: Sequence[Row]) -> Iterable[Cells]:
    recall = [row for row in rows if (row["slice"], row["metric"]) == ("all", "recall")]
    of = {(row["model"], row["targets"], row["at"]): row["value"] for row in recall if row["split"] == "test"}
    minutes = {row["model"]: row["train_minutes"] for row in recall if row["split"] == "validation"}
    yield ["Recall", *(f"@{at}" for at in _CUTS), *(f"novel @{at}" for at in _CUTS), "minutes"]
    for model in _QUALITY_MODELS:
        yield [f"**{model}**" if model == "ULIM" else model,
               *(_share(of[model, targets, at]) for targets in ("all", "novel") for at in _CUTS),
               f"{minutes[model]:.1f}"]


def _index(rows: Sequence[Row]) -> Iterable[Cells]:
    of = {row["method"]: row for row in rows if (row["table"], row["queries"], row["items"], row["categories"]) == (
        "search 10", "popular", 1_000_000, 10_000)}
    yield ["", "µs a user", "as fast as FAISS IVFFlat", "recall"]
    for method, told in _INDEX_METHODS.items():
        row = of[method]
        yield [told, f"{row['us_per_user']:,.0f}", f"{row['ratio_to_faiss_ivfflat']:.2f} ×", f"{row['recall']:.4f}"]


def _index_search(rows: Sequence[Row]) -> Iterable[Cells]:
    of = {(row["table"], row["method"], row["items"], row["categories"], row["queries"]): row for row in rows}
    columns = [(*size, queries) for size in _INDEX_SIZES for queries in ("popular", "uniform")]
    yield ["asked", "method", *(f"V = {items:,}, C = {categories:,}, {queries}"
                                for items, categories, queries in columns)]
    for asked, told in _INDEX_ASKED.items():
        for method in dict.fromkeys(row["method"] for row in rows if row["table"] == asked):
            yield [told, method, *(_search(of.get((asked, method, *column))) for column in columns)]


def _search(row: Row | None) -> str:
    if row is None:
        return "–"
    recall = _share(row["recall"])
    return (f"{row['us_per_user']:,.0f} ({row['ratio_to_faiss_ivfflat']:.2f} ×"
            f"{'' if recall == '1.0000' else f', recall {recall}'})")


def _index_pool(rows: Sequence[Row]) -> Iterable[Cells]:
    of = {(row["items"], row["method"], row["queries"]): row for row in rows if row["table"] == "search_all"}
    yield ["V", "method", "µs a query", "recall", "clustered: µs", "clustered: recall"]
    for items, method in dict.fromkeys(key[:2] for key in of):
        yield [f"{items:,}", method, *(cell for queries in ("normal", "clustered") for cell in (
            f"{of[items, method, queries]['us_per_user']:,.0f}", _share(of[items, method, queries]["recall"])))]


def _index_memory(rows: Sequence[Row]) -> Iterable[Cells]:
    of = {(row["method"], row["items"], row["categories"]): row["resident_bytes_per_item"] for row in rows
          if (row["table"], row["queries"]) == ("search 10", "popular")}
    yield ["bytes an item", *(f"V = {items:,}" for items, _ in _INDEX_SIZES)]
    for method in ("ULIM ScaNN exact", "ULIM ScaNN quantised", "ULIM blocked", "FAISS IVFFlat", "FAISS IVF-SQ8"):
        held = [of[(method, *size)] for size in _INDEX_SIZES]
        yield [method, *(f"{one:,.0f} ({one / _VECTOR_BYTES:.2f} ×)" for one in held)]


def _ingest(rows: Sequence[Row]) -> Iterable[Cells]:
    yield ["log", "method", "workers", "events/s", "processor seconds", "peak of the largest process, MiB",
           "bytes an event"]
    for row in rows:
        yield [f"{row['events'] // 1_000_000} M events, {row['format']}", row["method"], str(row["workers"]),
               f"{row['events_per_s']:,.0f}", f"{row['cpu_seconds']:.1f}", f"{row['peak_mib']:,.0f}",
               f"{row['bytes_per_event']:.1f}"]


def _training(rows: Sequence[Row]) -> Iterable[Cells]:
    yield ["model", "L", "V", "ms a step", "users/s", "ms a sample", "input's share", "peak MiB"]
    for row in rows:
        yield [{"ulim": "ULIM", "sasrec": "SASRec"}[row["model"]], f"{row['history']:,}", f"{row['items']:,}",
               f"{row['step_ms']:,.0f}", f"{row['users_per_s']:,.1f}", f"{row['ms_per_sample']:.3f}",
               _share(row["input_share"]), f"{row['peak_mib']:,.0f}"]


def _serving(rows: Sequence[Row]) -> Iterable[Cells]:
    """One user a request, one request at a time."""
    single = [row for row in rows if (row["batch"], row["clients"]) == (1, 1)]
    yield ["scenario", "V", "L", "graph p50, ms", "graph p99", "gRPC p50", "gRPC p99", "peak MiB"]
    for key in dict.fromkeys((row["scenario"], row["items"], row["history"]) for row in single):
        of = {row["path"]: row for row in single if (row["scenario"], row["items"], row["history"]) == key}
        times = [f"{of[path][field]:.1f}" if path in of else "" for path in ("graph", "grpc")
                 for field in ("p50_ms", "p99_ms")]
        yield [key[0], f"{key[1]:,}", f"{key[2]:,}", *times, f"{max(row['peak_mib'] for row in of.values()):,.0f}"]


def _serving_load(rows: Sequence[Row]) -> Iterable[Cells]:
    """One user a request, of the loads that several clients make."""
    yield ["scenario", "V", "L", "clients", "requests/s", "p50 ms", "p95 ms", "p99 ms"]
    for row in rows:
        if row["clients"] > 1:
            yield [row["scenario"], f"{row['items']:,}", f"{row['history']:,}", str(row["clients"]),
                   f"{row['requests_per_s']:,.0f}", *(f"{row[field]:.1f}" for field in ("p50_ms", "p95_ms", "p99_ms"))]


def _share(value: float) -> str:
    """.1041 for 0.10413."""
    return f"{value:.4f}".removeprefix("0")


TABLES: Mapping[str, tuple[str, Callable[[Sequence[Row]], Iterable[Cells]]]] = {
    "quality": ("quality", _quality), "index": ("index", _index),
    "index_search": ("index", _index_search), "index_pool": ("index", _index_pool),
    "index_memory": ("index", _index_memory), "ingest": ("ingest", _ingest),
    "training": ("training", _training), "serving": ("serving", _serving),
    "serving_load": ("serving", _serving_load)}


def main() -> None:
    """Rewrites the pages that are named."""
    for page in map(Path, sys.argv[1:]):
        page.write_text(fill(page.read_text()))


if __name__ == "__main__":
    main()
