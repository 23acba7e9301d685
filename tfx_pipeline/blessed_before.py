"""Which earlier servable this run is compared with, or goes on from."""

import logging

import ml_metadata as mlmd
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.dsl.io import fileio

MODEL, BLESSING, BEFORE = "model", "model_blessing", "before"


class BlessedBefore(ResolverStrategy):
    """The newest blessed model that is older than an artifact of this run.

    An unchanged run takes that artifact from the cache, so it finds the same model again, and what depends on it comes
    from the cache too: the newest blessed model of all would be the one this run made when it ran first.
    """

    def resolve_artifacts(self, store: mlmd.MetadataStore,
                          input_dict: dict[str, list[types.Artifact]]) -> dict[str, list[types.Artifact]]:
        """Resolves `model` and `model_blessing` to one artifact each, or to none.

        Args:
            store: unused.
            input_dict: `model` and `model_blessing`, all there are; `before`, the artifact of this run. A model whose
                folder is gone, or whose blessing says no, is passed over.
        """
        [before] = input_dict[BEFORE]
        blessings = {blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY): blessing
                     for blessing in input_dict[BLESSING]
                     if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY)
                     == constants.BLESSED_VALUE}
        for model in sorted(input_dict[MODEL], key=lambda one: one.id, reverse=True):
            if model.id >= before.id or model.id not in blessings:
                continue
            if fileio.exists(model.uri):
                return {MODEL: [model], BLESSING: [blessings[model.id]], BEFORE: [before]}
            logging.warning("the blessed model %s is gone; an older one is looked for", model.uri)
        return {MODEL: [], BLESSING: [], BEFORE: [before]}
