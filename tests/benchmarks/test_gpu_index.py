import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorflow.compiler.xla.service.hlo_pb2 import HloModuleProto

from benchmarks.ann.catalog import Catalog, invented
from benchmarks.gpu import lower
from benchmarks.gpu.case import Case, floor, held, read
from tests.ulim_tf.retrieval.brute_force import BruteForce
from ulim_tf.retrieval.blocked_index import BlockedIndex

ROOT = Path(__file__).resolve().parents[2]
DTYPES = {5: np.int64, 11: np.float32}  # of xla_data.proto


@pytest.fixture(scope="module")
def catalog():
    return invented(items=6000, categories=30)


@pytest.fixture(scope="module")
def folder(catalog, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lowered")
    lower.main(["--items", "6000", "--categories", "30", "--pairs", "3", "--rows", "8192", "65536",
                "--out", str(folder)])
    return folder


@pytest.fixture(scope="module")
def cases(folder):
    items, categories, cases = read(folder)
    assert (items, categories) == (6000, 30)
    return cases


def test_cases_are_searches_by_users_and_rows(cases):
    assert [(case.search, case.pairs, case.users, case.k, case.rows) for case in cases] == [
        ("search", 3, 1, 50, 8192), ("search", 3, 32, 50, 8192),
        ("search_all", 1, 1, 100, 8192), ("search_all", 1, 32, 100, 8192),
        ("search", 3, 1, 50, 65536), ("search", 3, 32, 50, 65536),
        ("search_all", 1, 1, 100, 65536), ("search_all", 1, 32, 100, 65536)]


def test_the_index_is_in_the_parameters_as_described(catalog, folder, cases):
    for case in cases:
        asked = ["query", "category"] if case.search == "search" else ["query"]
        assert case.parameters[:len(asked)] == tuple(asked) and "vectors" in case.parameters
        values = {**held(catalog), **case.asked(catalog)}
        module = HloModuleProto.FromString((folder / f"{case.name}.hlo").read_bytes())
        assert [(DTYPES[shape.element_type], tuple(shape.dimensions)) for shape in module.host_program_shape.parameters
                ] == [(values[name].dtype, values[name].shape) for name in case.parameters]
        assert module.ByteSize() < 0.2 * catalog.vectors.nbytes


def test_modules_are_of_no_platform(folder, cases):
    for case in cases:
        module = HloModuleProto.FromString((folder / f"{case.name}.hlo").read_bytes())
        ops = {instruction.opcode for computation in module.computations for instruction in computation.instructions}
        assert "while" in ops and not ops & {"custom-call", "copy"}  # StableHLO has no copy


def test_answers_beside_the_modules_are_right(catalog, folder, cases):
    oracle = BruteForce(np.arange(1, 6001), catalog.category, catalog.vectors)
    for case in cases:
        asked, answer = case.asked(catalog), np.load(folder / f"{case.name}.npz")
        assert answer["item"].shape == answer["score"].shape == (case.users * case.pairs, case.k)
        for place in (0, -1):
            scores = oracle.scores(asked["query"][place], asked["category"][place] if "category" in asked else None)
            best = sorted(scores.values(), reverse=True)[:case.k]
            np.testing.assert_allclose(answer["score"][place][:len(best)], best, rtol=1e-4)


def test_what_is_held_is_what_the_index_holds(catalog):
    index = BlockedIndex(np.arange(1, 6001), catalog.category, catalog.vectors, 30)
    variables = {variable.name.removesuffix(":0"): variable.numpy() for variable in index.variables}
    del variables["row_of_item"]  # only exclusions ask for it
    mine = held(catalog)
    assert mine.keys() == variables.keys()
    for name, values in variables.items():
        assert mine[name].dtype == values.dtype
        np.testing.assert_array_equal(mine[name], values)


def test_what_a_call_must_read_by_hand(monkeypatch):
    catalog = Catalog(np.zeros([7, 2], np.float32), np.array([1, 3, 3, 3, 3, 1, 2]), 3)
    monkeypatch.setattr("benchmarks.gpu.case.questions",
                        lambda *asked: (np.zeros([4, 2], np.float32), np.array([1, 3, 3, 2])))
    assert Case("search", 2, 2, 50, 8192).least_bytes(catalog) == (2 + 4 + 4 + 1) * 2 * 4
    assert Case("search_all", 1, 2, 100, 8192).least_bytes(catalog) == 7 * 2 * 4


def test_floor_by_hand():
    assert floor(6_000_000, users=3, bandwidth=2e9) == pytest.approx(1000)  # 3 ms a call


def test_what_the_other_machine_imports_is_without_tensorflow():
    subprocess.run([sys.executable, "-c", "import benchmarks.gpu.case, sys; assert 'tensorflow' not in sys.modules"],
                   cwd=ROOT, check=True)
