"""What is wrong with a servable's signatures and answers, by the contract; each function gives one sentence a fault."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from serving import contract

_NAMED = 3
_ROUNDING = 1e-4  # of probabilities, which are sums of float32


def signature_faults(found: Mapping[str, SignatureDef],
                     inputs: Mapping[str, Mapping[str, contract.Tensor]]) -> Iterator[str]:
    """Signatures, inputs and outputs that are missing, too many, or of another dtype or shape than the contract's.

    Args:
        found: the servable's signatures.
        inputs: of each signature that it must have.
    """
    for name, wanted_inputs in inputs.items():
        if name not in found:
            yield f"signature {name} is missing; there are {', '.join(sorted(found)) or 'none'}"
            continue
        for kind, wanted, has in (("input", wanted_inputs, found[name].inputs),
                                  ("output", contract.OUTPUTS[name], found[name].outputs)):
            for alias in sorted(wanted.keys() | has.keys()):
                if alias not in has:
                    yield f"{name} must have an {kind} {alias}, but has none"
                elif alias not in wanted:
                    yield f"{name} has an {kind} {alias} that the contract does not know"
                elif fault := _tensor_fault(wanted[alias], has[alias], all_open=kind == "input"):
                    yield f"{kind} {alias} of {name} must be {fault}"


def answer_faults(signature: str, answer: Mapping[str, np.ndarray], requests: int) -> Iterator[str]:
    """What is wrong with an answer on its own; whether its ids are known is for `id_faults`.

    Args:
        signature: its name in the contract.
        answer: its outputs by name, with dtypes as in the contract.
        requests: B of the request.
    """
    faults = list(_shape_faults(contract.OUTPUTS[signature], answer, requests))
    yield from faults
    if faults:
        return
    for row in range(requests):
        yield from _FAULTS[signature]({name: values[row] for name, values in answer.items()})


def filter_faults(request: Mapping[str, np.ndarray], answer: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Items that a request excludes and that were answered all the same.

    Args:
        request: of `retrieve` or `explain`, its inputs by name.
        answer: without a fault of its own.
    """
    for row, count in enumerate(answer[contract.COUNT]):
        excluded = set(request[contract.EXCLUDE_ITEM_ID][row, :request[contract.EXCLUDE_ITEM_ID_LENGTH][row]])
        if request[contract.EXCLUDE_SEEN][row]:
            excluded |= set(request[contract.ITEM_ID][row, :request[contract.LENGTH][row]])
        back = sorted(excluded & set(answer[contract.ITEM_ID][row, :count]))
        if back:
            yield f"{len(back):,} items were answered that the request excludes: {_some(list(map(_text, back)))}"


def id_faults(items: Mapping[bytes, set[bytes]], categories: Iterable[bytes],
              catalog: Iterable[tuple[bytes, bytes]]) -> Iterator[str]:
    """Answered ids that the catalogue does not know, and items that were answered in another category than theirs.

    Args:
        items: answered item -> the categories it was answered with.
        categories: that were answered by themselves.
        catalog: each item with its category; read once, so it may be of any length.
    """
    unknown_items, unknown_categories, elsewhere = set(items), set(categories), []
    for item, category in catalog:
        unknown_categories.discard(category)
        if item in unknown_items:
            unknown_items.remove(item)
            elsewhere += [f"{_text(item)} of {_text(category)} in {_text(other)}" for other in items[item] - {category}]
    for faults, what in ((sorted(map(_text, unknown_items)), "items that the catalogue does not have"),
                         (sorted(map(_text, unknown_categories)), "categories that the catalogue does not have"),
                         (sorted(elsewhere), "items in another category than the catalogue's")):
        if faults:
            yield f"{len(faults):,} {what} were answered: {_some(faults)}"


def _tensor_fault(wanted: contract.Tensor, info: TensorInfo, all_open: bool) -> str:
    """What the tensor must be and is; "" if it is that."""
    shape = tf.TensorShape(info.tensor_shape)
    must_be_open = len(wanted.axes) if all_open else 1  # an answer's width may be known, its batch may not
    fits = shape.rank == len(wanted.axes) and not any(size is not None for size in shape[:must_be_open])
    if fits and tf.as_dtype(info.dtype).name == wanted.dtype:
        return ""
    sizes = "of any rank" if shape.rank is None else f"[{', '.join('?' if n is None else str(n) for n in shape)}]"
    return f"{wanted.dtype} [{', '.join(wanted.axes)}], got {tf.as_dtype(info.dtype).name} {sizes}"


def _shape_faults(wanted: Mapping[str, contract.Tensor], answer: Mapping[str, np.ndarray],
                  requests: int) -> Iterator[str]:
    if answer.keys() != wanted.keys():
        yield f"outputs must be {', '.join(sorted(wanted))}, got {', '.join(sorted(answer)) or 'none'}"
        return
    sizes: dict[str, int] = {"B": requests}
    for name, (_, axes) in wanted.items():
        shape = answer[name].shape
        if len(shape) == len(axes):
            sizes = dict(zip(axes, shape)) | sizes  # an axis is as long as where it is met first
        if list(shape) != [sizes.get(axis) for axis in axes]:
            must = ", ".join(str(sizes.get(axis, axis)) for axis in axes)
            yield f"{name} must have shape [{must}], got {list(shape)}"


def _recommendation_faults(answer: Mapping[str, np.ndarray], least: int = 1) -> Iterator[str]:
    """Of one user; outputs without their batch."""
    item, count = answer[contract.ITEM_ID], int(answer[contract.COUNT])
    if not least <= count <= len(item):
        yield f"count must be {least} to {len(item)}, got {count}"
        return
    real = item[:count].tolist()
    if b"" in real:
        yield f"count is {count}, but only {count - real.count(b'')} items have an id"
    repeated = {one for one in real if one and real.count(one) > 1} if len(set(real)) < count else set()
    if repeated:
        yield f"items must be answered once, but {_some(sorted(map(_text, repeated)))} come twice or more"
    if any(item[count:]):
        yield f"item_id must be empty past count {count}, got {_text(next(filter(None, item[count:])))}"
    yield from _number_faults(contract.SCORE, answer[contract.SCORE][:count], falling=True)
    channel = answer[contract.CHANNEL][:count]
    wrong = channel[(channel < 0) | (channel >= len(contract.CHANNELS))]
    if len(wrong):
        yield f"channel must be 0 to {len(contract.CHANNELS) - 1}, got {wrong[0]}"


def _filtered_faults(answer: Mapping[str, np.ndarray]) -> Iterator[str]:
    """As `_recommendation_faults`; filters may let nothing through."""
    yield from _recommendation_faults(answer, least=0)


def _explanation_faults(answer: Mapping[str, np.ndarray]) -> Iterator[str]:
    """As `_recommendation_faults`."""
    yield from _filtered_faults(answer)
    for name in (contract.COPIED, contract.GENERATED, contract.EVENT_WEIGHT):
        yield from _number_faults(name, answer[name], 0.0, 1.0)


def _prediction_faults(answer: Mapping[str, np.ndarray]) -> Iterator[str]:
    """As `_recommendation_faults`."""
    yield from _category_faults(answer)
    yield from _number_faults(contract.COPY_SHARE, answer[contract.COPY_SHARE], 0.0, 1.0)


def _user_faults(answer: Mapping[str, np.ndarray]) -> Iterator[str]:
    """As `_recommendation_faults`."""
    yield from _category_faults(answer)
    for name in (contract.INTEREST, contract.SHORT_VECTOR, contract.LONG_VECTOR):
        yield from _number_faults(name, answer[name])


def _item_faults(answer: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Of one item."""
    yield from _number_faults(contract.VECTOR, answer[contract.VECTOR])
    if bool(answer[contract.KNOWN]) != bool(answer[contract.CATEGORY_ID]):
        yield "category_id must be that of a known item, and empty of an unknown one"


def _category_faults(answer: Mapping[str, np.ndarray]) -> Iterator[str]:
    category = answer[contract.CATEGORY_ID].tolist()
    if not all(category):
        yield "category_id must not be empty" if category else "no category was answered"
    if len(set(category)) < len(category):
        yield "categories must be answered once"
    yield from _number_faults(contract.PROBABILITY, answer[contract.PROBABILITY], 0.0, 1.0, falling=True)


_FAULTS = {
    contract.SIGNATURE_RECOMMEND: _recommendation_faults,
    contract.SIGNATURE_RETRIEVE: _filtered_faults,
    contract.SIGNATURE_EXPLAIN: _explanation_faults,
    contract.SIGNATURE_PREDICT_CATEGORY: _prediction_faults,
    contract.SIGNATURE_ENCODE_USER: _user_faults,
    contract.SIGNATURE_ENCODE_ITEM: _item_faults,
}


def _number_faults(name: str, values: np.ndarray, low: float = -np.inf, high: float = np.inf,
                   falling: bool = False) -> Iterator[str]:
    values = values.ravel()
    strange = np.flatnonzero(~np.isfinite(values))
    if len(strange):
        yield f"{name} must be finite, got {values[strange[0]]} at rank {strange[0] + 1}"
        return
    outside = np.flatnonzero((values < low - _ROUNDING) | (values > high + _ROUNDING))
    if len(outside):
        yield f"{name} must be {low:g} to {high:g}, got {values[outside[0]]:g} at rank {outside[0] + 1}"
    rises = np.flatnonzero(np.diff(values) > 0)
    if falling and len(rises):
        rank = rises[0] + 1
        yield f"{name} must fall, but goes from {values[rank - 1]:g} at rank {rank} to {values[rank]:g}"


def _some(faults: list[str]) -> str:
    return ", ".join(faults[:_NAMED]) + (", .." if len(faults) > _NAMED else "")


def _text(one: bytes) -> str:
    return one.decode("utf-8", "backslashreplace")
