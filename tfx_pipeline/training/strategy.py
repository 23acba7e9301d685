"""Which devices and workers train together: `training.strategy`."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import numpy as np
import tensorflow as tf

from ulim_tf.config import TrainingConfig

_STRATEGIES = {"none": tf.distribute.get_strategy, "mirrored": tf.distribute.MirroredStrategy,
               "multi_worker_mirrored": tf.distribute.MultiWorkerMirroredStrategy}


def create(config: TrainingConfig) -> tf.distribute.Strategy:
    """The configured strategy; to be called before any other TensorFlow work of a process with several workers.

    Raises:
        ValueError: a batch cannot be divided evenly.
    """
    strategy = _STRATEGIES[config.strategy]()
    replicas = strategy.num_replicas_in_sync
    if replicas > 1 and config.moments % (replicas * config.moments_per_user):
        raise ValueError(f"training.moments must be a multiple of replicas x training.moments_per_user = {replicas} x "
                         f"{config.moments_per_user}, so that each replica has as many, got {config.moments}. Choose "
                         f"for example moments: {replicas * config.moments_per_user * 16}.")
    return strategy


def place(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """Which of how many workers this process is, from 0; the first is the one that writes."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.cluster_spec().jobs:
        return 0, 1
    cluster = resolver.cluster_spec().as_dict()
    workers = [(job, number) for job in ("chief", "worker") for number in range(len(cluster.get(job, ())))]
    return workers.index((resolver.task_type, resolver.task_id)), len(workers)


def total(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """The sum of float64 [n] over all workers, the same on each."""
    local = strategy.num_replicas_in_sync // place(strategy)[1]
    spread = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(values / local))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, spread, axis=None).numpy()
