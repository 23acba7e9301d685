"""What is lowered in one place and run in another. Needs NumPy only."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.ann.catalog import Catalog, questions


@dataclass(frozen=True)
class Case:
    """One module: a search of an index at fixed shapes.

    Args:
        search: "search" or "search_all".
        pairs: of a user; 1 where the whole pool is searched.
        users: in a call.
        k: best items asked for each.
        rows: item vectors that the index reads at once.
        parameters: of the module, in order: names of `asked` and `held`.
    """

    search: str
    pairs: int
    users: int
    k: int
    rows: int
    parameters: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.search}-{self.pairs}-{self.users}-{self.rows}"

    def asked(self, catalog: Catalog) -> dict[str, np.ndarray]:
        """Queries, popular categories being asked for more often: float32 [P, D] and int64 [P], P = users * pairs."""
        query, category = questions(catalog, self.users, self.pairs, "popular")
        return {"query": query, "category": category} if self.search == "search" else {"query": query}

    def least_bytes(self, catalog: Catalog) -> int:
        """Bytes of the item vectors that a call must read: a category's for each pair that asks for it, no padding."""
        if self.search == "search_all":
            return catalog.vectors.nbytes
        size = np.bincount(catalog.category, minlength=catalog.categories + 1)
        return int(size[self.asked(catalog)["category"]].sum()) * catalog.vectors[0].nbytes


def held(catalog: Catalog) -> dict[str, np.ndarray]:
    """What a `BlockedIndex` of the catalogue searches, by the names of its variables: int64, and float32 [V, D]."""
    order = np.argsort(catalog.category, kind="stable")
    size = np.bincount(catalog.category, minlength=catalog.categories + 1)
    return {"first": np.cumsum(size) - size, "size": size, "item": order + 1, "vectors": catalog.vectors[order]}


def floor(least_bytes: int, users: int, bandwidth: float) -> float:
    """Microseconds a user that reading alone takes, at a bandwidth in bytes a second."""
    return 1e6 * least_bytes / bandwidth / users


def write(folder: Path, items: int, categories: int, cases: list[Case]) -> None:
    (folder / "cases.json").write_text(json.dumps(
        {"items": items, "categories": categories, "cases": [asdict(case) for case in cases]}, indent=1) + "\n")


def read(folder: Path) -> tuple[int, int, list[Case]]:
    """V, C and the cases of a folder."""
    description = json.loads((folder / "cases.json").read_text())
    return description["items"], description["categories"], [
        Case(**{**case, "parameters": tuple(case["parameters"])}) for case in description["cases"]]
