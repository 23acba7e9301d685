"""Questions about users as the requests of the contract."""

from collections.abc import Sequence

from serving import contract
from serving.client.history import History
from serving.client.messages import PredictRequest
from serving.client.tensors import fill


def predict_request(histories: Sequence[History], signature: str, model_name: str = contract.MODEL_NAME,
                    label: str | None = None) -> PredictRequest:
    """The request that asks a signature about B histories: [B, L] with L the longest, shorter ones padded behind.

    Args:
        histories: at least one.
        signature: its name in the contract.
        model_name: as the server names it.
        label: of the version that is asked; None asks the newest.
    """
    length = max(len(history.item_ids) for history in histories)
    items, times, types = [], [], []
    for history in histories:
        padding = length - len(history.item_ids)
        items += [item.encode() for item in history.item_ids] + [b""] * padding
        times += [*history.timestamps] + [0] * padding
        types += [one.encode() for one in history.event_types or [""] * len(history.item_ids)] + [b""] * padding
    batch = len(histories)
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model_name, signature
    if label:
        request.model_spec.version_label = label
    fill(request.inputs[contract.ITEM_ID], "string", (batch, length), items)
    fill(request.inputs[contract.TIMESTAMP], "int64", (batch, length), times)
    fill(request.inputs[contract.LENGTH], "int32", (batch,), [len(history.item_ids) for history in histories])
    fill(request.inputs[contract.NOW], "int64", (batch,), [history.now for history in histories])
    if any(history.event_types is not None for history in histories):
        fill(request.inputs[contract.EVENT_TYPE], "string", (batch, length), types)
    for column in sorted({column for history in histories for column in history.profile}):
        fill(request.inputs[contract.PROFILE + column], "string", (batch,),
             [history.profile.get(column, "").encode() for history in histories])
    return request
