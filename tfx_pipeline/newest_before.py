"""What an earlier run left, chosen so that an unchanged rerun chooses the same."""

from tfx import types
from tfx.dsl.components.common import resolver


class NewestBefore(resolver.ResolverStrategy):
    """For a `tfx.dsl.Resolver`: of each channel the newest artifact older than the one of the channel `before`.

    Ids of artifacts only grow. A rerun takes `before` from the cache, with its old id, so what the first run itself
    and later ones left stays out of sight, and every step that reads what is resolved here is a cache hit again.
    """

    def resolve_artifacts(self, store: object,
                          input_dict: dict[str, list[types.Artifact]]) -> dict[str, list[types.Artifact]]:
        """Input key -> at most one artifact; `before` is passed through.

        Raises:
            ValueError: there is no channel `before`, or it has not exactly one artifact.
        """
        before = input_dict.get("before", [])
        if len(before) != 1:
            raise ValueError(f"before must be one artifact of this run, got {before}. Give the resolver the output of "
                             "a component as the channel 'before'.")
        resolved = {"before": before}
        for key in input_dict.keys() - {"before"}:
            older = [artifact for artifact in input_dict[key] if artifact.id < before[0].id]
            resolved[key] = sorted(older, key=lambda artifact: artifact.id)[-1:]
        return resolved
