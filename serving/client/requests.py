"""Questions as the requests of the contract."""

import itertools
from collections.abc import Sequence

from serving import contract
from serving.client.filters import Filters
from serving.client.history import History
from serving.client.messages import PredictRequest
from serving.client.tensors import fill


def predict_request(histories: Sequence[History], signature: str, model_name: str = contract.MODEL_NAME,
                    label: str | None = None, filters: Sequence[Filters] | None = None) -> PredictRequest:
    """The request that asks a signature about B histories: [B, L] with L the longest, shorter ones padded behind.

    Args:
        histories: at least one.
        signature: its name in the contract; any but that of `encode_items_request`.
        model_name: as the server names it.
        label: of the version that is asked; None asks the newest.
        filters: one a history, for the signatures that take them; None holds nothing back.
    """
    request = _request(signature, model_name, label)
    batch = len(histories)
    _add_lists(request, contract.ITEM_ID, [history.item_ids for history in histories])
    width = request.inputs[contract.ITEM_ID].tensor_shape.dim[1].size
    fill(request.inputs[contract.TIMESTAMP], "int64", (batch, width), list(itertools.chain.from_iterable(
        [*history.timestamps, *[0] * (width - len(history.timestamps))] for history in histories)))
    fill(request.inputs[contract.LENGTH], "int32", (batch,), [len(history.item_ids) for history in histories])
    fill(request.inputs[contract.NOW], "int64", (batch,), [history.now for history in histories])
    if any(history.event_types is not None for history in histories):
        _add_lists(request, contract.EVENT_TYPE, [
            [""] * len(history.item_ids) if history.event_types is None else history.event_types
            for history in histories])
    for column in sorted({column for history in histories for column in history.profile}):
        fill(request.inputs[contract.PROFILE + column], "string", (batch,),
             [history.profile.get(column, "").encode() for history in histories])
    if signature in contract.FILTERED:
        _add_filters(request, filters or [Filters()] * batch)
    return request


def encode_items_request(item_ids: Sequence[str], model_name: str = contract.MODEL_NAME,
                         label: str | None = None) -> PredictRequest:
    """The request that asks `encode_item` about B items."""
    request = _request(contract.SIGNATURE_ENCODE_ITEM, model_name, label)
    fill(request.inputs[contract.ITEM_ID], "string", (len(item_ids),), [item.encode() for item in item_ids])
    return request


def _request(signature: str, model_name: str, label: str | None) -> PredictRequest:
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model_name, signature
    if label:
        request.model_spec.version_label = label
    return request


def _add_filters(request: PredictRequest, filters: Sequence[Filters]) -> None:
    batch = len(filters)
    for name, length, ids in (
            (contract.EXCLUDE_ITEM_ID, contract.EXCLUDE_ITEM_ID_LENGTH, [one.exclude_items for one in filters]),
            (contract.ALLOW_CATEGORY_ID, contract.ALLOW_CATEGORY_ID_LENGTH, [one.allow_categories for one in filters]),
            (contract.DENY_CATEGORY_ID, contract.DENY_CATEGORY_ID_LENGTH, [one.deny_categories for one in filters])):
        _add_lists(request, name, ids)
        fill(request.inputs[length], "int32", (batch,), [len(of_user) for of_user in ids])
    fill(request.inputs[contract.EXCLUDE_SEEN], "bool", (batch,), [one.exclude_seen for one in filters])
    fill(request.inputs[contract.LIMIT], "int32", (batch,), [one.limit for one in filters])


def _add_lists(request: PredictRequest, name: str, lists: Sequence[Sequence[str]]) -> None:
    """Texts as [B, n], n that of the longest. One column at least: TF Serving batches no empty tensor with others."""
    width = max(1, *map(len, lists))
    fill(request.inputs[name], "string", (len(lists), width), list(itertools.chain.from_iterable(
        [*map(str.encode, one), *[b""] * (width - len(one))] for one in lists)))
