"""Lowers the searches of a `BlockedIndex` to HLO, with what TensorFlow answers beside it. No GPU is needed.

    python -m benchmarks.gpu.lower --items 1000000 --categories 10000 --out 1m
    python -m benchmarks.gpu.lower --items 10000000 --categories 10000 --out 10m       11 GB of memory

Writes, for each case, NAME.hlo (a serialised HloModuleProto, some 200 kB: the index is in its parameters) and NAME.npz
(item int64 and score float32, [P, k]), and cases.json, which says what the parameters are.

What `--rows` to try: 65536, the index's default, suits a CPU and a GPU; 524288, 128 MB of vectors, gives a GPU's lanes
more to do. Larger ones suit calls of many users: rows / 64 small categories are read side by side, or as many as a call
asks for, and where fewer are of the size in turn the rest is padding.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla.service.hlo_pb2 import HloModuleProto

from benchmarks.ann.catalog import Catalog, invented
from benchmarks.gpu.case import Case, write
from ulim_tf.retrieval.blocked_index import BlockedIndex

USERS = (1, 32)


def lower(catalog: Catalog, pairs: Sequence[int], rows: Sequence[int], folder: Path) -> list[Case]:
    """Writes the modules of a catalogue.

    Args:
        catalog: to be indexed.
        pairs: of a user; a case each.
        rows: of `BlockedIndex`; a case each.
        folder: that is written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for at_once in rows:
        index = BlockedIndex(np.arange(1, len(catalog.vectors) + 1), catalog.category, catalog.vectors,
                             catalog.categories, rows=at_once)
        asked = [Case("search", some, users, 50, at_once) for some in pairs for users in USERS]
        asked += [Case("search_all", 1, users, 100, at_once) for users in USERS]
        cases += [_lower(index, case, catalog, folder) for case in asked]
    write(folder, len(catalog.vectors), catalog.categories, cases)
    return cases


def _lower(index: BlockedIndex, case: Case, catalog: Catalog, folder: Path) -> Case:
    def search(*asked: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tuple(getattr(index, case.search)(*asked, case.k))

    asked = {name: tf.constant(values) for name, values in case.asked(catalog).items()}
    compiled = tf.function(search, jit_compile=True, autograph=False)
    module = compiled.experimental_get_compiler_ir(*asked.values())(stage="hlo_serialized")
    (folder / f"{case.name}.hlo").write_bytes(without_copies(module))
    # Not by XLA, so that what is checked against it was not lowered like it.
    item, score = tf.function(search, autograph=False).get_concrete_function(*asked.values())(*asked.values())
    np.savez(folder / f"{case.name}.npz", item=item, score=score)
    captured = compiled.get_concrete_function(*asked.values()).captured_inputs
    name_of = {id(variable.handle): variable.name.removesuffix(":0") for variable in index.variables}
    return replace(case, parameters=(*asked, *(name_of[id(handle)] for handle in captured)))


def without_copies(module: bytes) -> bytes:
    """A serialised HloModuleProto whose computations use what they copied: StableHLO, which GPUs take, has no copy."""
    proto = HloModuleProto.FromString(module)
    for computation in proto.computations:
        source, kept = {}, []
        for one in computation.instructions:  # each after its operands
            one.operand_ids[:] = [source.get(number, number) for number in one.operand_ids]
            if one.opcode == "copy":
                source[one.id] = one.operand_ids[0]
            else:
                kept.append(one)
        computation.root_id = source.get(computation.root_id, computation.root_id)
        del computation.instructions[:]
        computation.instructions.extend(kept)
    return proto.SerializeToString()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, required=True, help="V")
    parser.add_argument("--categories", type=int, required=True, help="C")
    parser.add_argument("--pairs", type=int, nargs="+", default=[10, 100], help="of a user, at most C")
    parser.add_argument("--rows", type=int, nargs="+", default=[8_192, 65_536, 524_288],
                        help="item vectors read at once: the first default is for a CPU, the others fill a GPU")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    given = parser.parse_args(arguments)
    for case in lower(invented(given.items, given.categories), given.pairs, given.rows, given.out):
        print(f"{case.name}: {', '.join(case.parameters)}")


if __name__ == "__main__":
    main()
