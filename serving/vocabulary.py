"""How the ids of a request become the numbers that the model was trained with.

In a servable of the pipeline, by the very graph that numbered the training data: what an id goes through of Transform's
SavedModel, with its table and the table's vocabulary file. Where there is no such graph, or the vocabulary has grown
since (`serving/refresh.py`), by a table of the same rule over a text file.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import tensorflow as tf

from ulim_tf import features

_PARTS = 4


class Numbering(tf.Module):
    """The numbers of what a request names, and the categories of its items.

    Args:
        items: V.
        buckets: O, whose numbers V + 1.. items without one of their own share.
        item_vocabulary: text file, line i (from 1) is the id of item i.
        category_vocabulary: the same for categories.
        profile_vocabulary: the same for the tokens of users' profiles; None if the model reads none.
        rare_vocabulary: text file, `features.RARE_VOCABULARY`; None where the catalogue has no such items.
        transform_graph: folder of the SavedModel that Transform wrote along with these files; None looks ids up in the
            files themselves.

    Raises:
        ValueError: the graph is of other features.
    """

    def __init__(self, items: int, buckets: int, item_vocabulary: str, category_vocabulary: str,
                 profile_vocabulary: str | None, rare_vocabulary: str | None, transform_graph: str | None):
        super().__init__(name="numbering")
        self._profile: _TransformLookup | _FileLookup | None = None
        self._rare: tf.lookup.StaticHashTable | None = None
        if transform_graph:
            loaded = tf.saved_model.load(transform_graph)
            self._item: _TransformLookup | _FileLookup = _TransformLookup(loaded, features.EVENT_ITEM)
            self._category: _TransformLookup | _FileLookup = _TransformLookup(loaded, features.CATEGORY)
            if profile_vocabulary:
                self._profile = _TransformLookup(loaded, features.PROFILE)
        else:
            self._item = _FileLookup(item_vocabulary, items, buckets)
            self._category = _FileLookup(category_vocabulary)
            if profile_vocabulary:
                self._profile = _FileLookup(profile_vocabulary)
        if buckets and rare_vocabulary:
            self._rare = tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(
                rare_vocabulary, tf.string, 0, tf.int64, 1, delimiter=features.BETWEEN_TOKENS), features.UNKNOWN)

    def item(self, ids: tf.Tensor) -> tf.Tensor:
        """String [...] -> int64 [...]: 0 unknown, 1..V, V + 1..V + O."""
        return self._item(ids)

    def history(self, ids: tf.Tensor) -> tf.Tensor:
        """As `item`, string [B, n] -> int64 [B, n], in parts that idle cores look up side by side.

        An id is somewhere in a table far larger than a cache, so that each of thousands waits for memory.
        """
        width = tf.shape(ids)[1]
        part = width // _PARTS
        parts = tf.split(ids, [part] * (_PARTS - 1) + [width - (_PARTS - 1) * part], axis=1)
        return tf.concat([self._item(one) for one in parts], axis=1)

    def category(self, ids: tf.Tensor) -> tf.Tensor:
        """String [...] -> int64 [...]: 0 unknown, 1..C."""
        return self._category(ids)

    def category_of_item(self, ids: tf.Tensor, item: tf.Tensor, item_category: tf.Tensor) -> tf.Tensor:
        """Categories of items.

        Args:
            ids: string [...].
            item: int64 [...], their numbers.
            item_category: int64 [V + O + 1], of each number; 0 for the buckets, whose items have one each.

        Returns:
            int64 [...], 0 where nothing is known of an id.
        """
        category = tf.gather(item_category, item)
        return category if self._rare is None else tf.maximum(category, self._rare.lookup(ids))  # one of them is 0

    def profile(self, tokens: tf.Tensor) -> tf.Tensor:
        """String [...] -> int64 [...], 0 for an unknown token.

        Raises:
            ValueError: there is no vocabulary of them.
        """
        if self._profile is None:
            raise ValueError("profile_vocabulary must be given for a model that reads profiles, got None. Name the "
                             "text file that training numbered their tokens by.")
        return self._profile(tokens)


class _FileLookup(tf.Module):
    """Numbers of ids from a text file, as `tft.apply_vocabulary` gives them: 1.. for its lines.

    Args:
        file: an id a line.
        lines: of it.
        buckets: O; any other id is `lines` + 1.. `lines` + O by its hash, or 0 if O is 0.
    """

    def __init__(self, file: str, lines: int = 0, buckets: int = 0):
        super().__init__()
        self._lines, self._buckets = lines, buckets
        self._line = tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(
            file, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER), -1)

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """String [...] -> int64 [...]."""
        number = self._line.lookup(ids) + 1
        if not self._buckets:
            return number
        bucket = tf.strings.to_hash_bucket_fast(ids, self._buckets)
        return tf.where(number > 0, number, self._lines + 1 + bucket)


class _TransformLookup(tf.Module):
    """Numbers of ids by the graph that Transform wrote.

    Args:
        loaded: its SavedModel.
        feature: whose values the ids are.
    """

    def __init__(self, loaded: tf.Module, feature: str):
        super().__init__()
        function = loaded.transform_fn
        inputs, outputs = (tf.nest.pack_sequence_as(structure, tensors, expand_composites=True)
                           for structure, tensors in (
                               (function.structured_input_signature[0][0],
                                function.inputs[:len(function.inputs) - len(function.captured_inputs)]),
                               (function.structured_outputs, function.outputs)))
        if feature not in outputs:
            raise ValueError(f"transform_graph must transform the feature {feature!r}, got one of "
                             f"{', '.join(sorted(outputs))}. Give the one that the model's data went through.")
        captured = {inner.name: outer for outer, inner in zip(
            function.captured_inputs, function.inputs[-len(function.captured_inputs):])}
        self._ids, self._number = inputs[feature].values.name, outputs[feature].values.name
        self._graph, read = _part(function.graph.as_graph_def(), self._number, {self._ids, *captured})
        self._captured = {name: captured[name] for name in read - {self._ids}}
        # They alone are saved with the servable, and with them their files.
        self._tables = [one for one in loaded.resources if any(
            one.resource_handle is outer for outer in self._captured.values())]

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """String [...] -> int64 [...]."""
        number, = tf.graph_util.import_graph_def(
            self._graph, {self._ids: ids, **{name: tf.identity(outer) for name, outer in self._captured.items()}},
            [self._number], name="transform")
        number.set_shape(ids.shape)
        return number


def _part(graph: tf.compat.v1.GraphDef, wanted: str, fed: set[str]) -> tuple[tf.compat.v1.GraphDef, set[str]]:
    """The nodes that a tensor comes from, back to those that are fed, and which of these it does come from.

    Nodes wait for others (control inputs) because a table could be written to; these are not.
    """
    nodes = {node.name: node for node in graph.node}
    part, read, pending = {}, set(), [wanted]
    while pending:
        tensor = pending.pop()
        name, _, output = tensor.partition(":")
        if f"{name}:{output or 0}" in fed:
            read.add(f"{name}:{output or 0}")
        elif name not in part:
            part[name] = tf.compat.v1.NodeDef()
            part[name].CopyFrom(nodes[name])
            part[name].input[:] = [one for one in nodes[name].input if not one.startswith("^")]
            pending += part[name].input
    return tf.compat.v1.GraphDef(node=part.values(), versions=graph.versions), read
