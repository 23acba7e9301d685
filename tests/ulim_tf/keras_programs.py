"""Programs that change the state of a whole process (policy, devices), for `test_keras.py`; each prints one JSON line.

    python -m tests.ulim_tf.keras_programs NAME ARGUMENTS...
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import hashlib
import json
import sys
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from serving.export import export_servable
from tests.serving.servables import only
from tests.ulim_tf.examples import small_log
from ulim_tf import config as settings
from ulim_tf import data
from ulim_tf.event_log import EventLog
from ulim_tf.model import UlimModel

# As many negatives as there are items: no loss depends on chance.
CONFIG = settings.from_dict(settings.UlimConfig, {
    "history": {"long": 20, "short": 6, "subsequence": 4},
    "model": {"width": 8, "heads": 2, "hidden": 16},
    "loss": {"category_negatives": 12, "pool_negatives": 24},
    "training": {"moments": 16, "moments_per_user": 2, "targets": 3, "steps": 120, "learning_rate": 0.01},
    "retrieval": {"categories": 3, "per_category": 4, "short_term": 5, "results": 10}})


def make(log: EventLog) -> UlimModel:
    keras.utils.set_random_seed(CONFIG.training.seed)
    model = UlimModel(CONFIG, log.items, log.categories)
    model.set_catalog(log.item_category)
    return model


def mirrored() -> dict[str, Any]:
    """The same held-out moments on one device and on two: losses, and what a step of plain descent changes."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    log, held = small_log()
    found = {}
    for name, strategy in (("one", tf.distribute.get_strategy()),
                           ("two", tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))):
        # Batches of seven, the last of six: replicas hold four and three moments.
        batches = data.held_out_dataset(log, held, CONFIG.history, 7)
        with strategy.scope():
            model = make(log)
            model.compile(keras.optimizers.SGD(1.0))
        before = [weight.numpy() for weight in model.trainable_variables]
        losses = model.evaluate(batches, return_dict=True, verbose=0)
        fitted = model.fit(batches.take(1), verbose=0).history
        step = [weight.numpy() - old for weight, old in zip(model.trainable_variables, before)]
        rows = []
        strategy.run(lambda rows=rows: rows.append(tf.distribute.get_replica_context().num_replicas_in_sync))
        drawn = next(iter(strategy.experimental_distribute_dataset(
            data.training_dataset_in_memory(log, CONFIG.history, CONFIG.training))))
        sizes = [len(part) for part in strategy.experimental_local_results(drawn[data.TARGET_ITEM])]
        found[name] = {"replicas": rows[0], "losses": losses, "fitted": fitted, "training_batch": sizes,
                       "names": [weight.name for weight in model.trainable_variables],
                       "step": [change.tolist() for change in step]}
    return found


def mixed(policy: str, directory: str) -> dict[str, Any]:
    """Trains, measures, saves, goes on and exports under a policy."""
    log, held = small_log()
    exact = make(log)
    keras.mixed_precision.set_global_policy(policy)
    model = make(log)
    model.set_weights(exact.get_weights())
    batches = data.held_out_dataset(log, held, CONFIG.history, 8)
    batch = next(iter(batches))
    dtypes = {name: value.dtype.name for name, value in model(batch).items()}
    long = model.long_interests(model.short_interest(batch), tf.gather(model.embedding.item_category, batch[
        data.TARGET_ITEM]), batch)
    dtypes |= {name: getattr(long, name).dtype.name for name in ("vector", "gate", "attention")}
    dtypes |= {"loss": model.compute_loss(batch).dtype.name,
               "candidate": model.embedding.candidate(tf.constant([1])).dtype.name}
    dtypes |= {variable.name: variable.dtype.name for variable in model.trainable_variables}
    losses = [float(one.compute_loss(batch)) for one in (exact, model)]

    model.compile()
    fitted = model.fit(data.training_dataset_in_memory(log, CONFIG.history, CONFIG.training), steps_per_epoch=20,
                       epochs=3, validation_data=batches, verbose=0).history
    model.save(f"{directory}/model.keras")
    loaded = keras.models.load_model(f"{directory}/model.keras")
    went_on = []
    for one in (model, loaded):
        one.fit(batches, verbose=0)
        went_on.append([weight.tolist() for weight in one.get_weights()])
    for name, count in (("item", log.items), ("category", log.categories)):
        with open(f"{directory}/{name}", "w") as lines:
            lines.writelines(f"{name} {number}\n" for number in range(count))
    with only("serving_default"):
        export_servable(model, f"{directory}/item", f"{directory}/category", f"{directory}/1")
    answer = tf.saved_model.load(f"{directory}/1").signatures["serving_default"](
        item_id=tf.constant([["item 1", "item 2"]]), timestamp=tf.constant([[1, 2]], tf.int64),
        length=tf.constant([2]), now=tf.constant([3], tf.int64))
    return {"dtypes": dtypes, "losses": losses, "fitted": fitted, "optimizer": type(model.optimizer).__name__,
            "half": sorted({layer.name for layer in model.submodules if isinstance(layer, keras.layers.Dense | (
                keras.layers.EinsumDense)) and layer.compute_dtype != "float32"}),
            "weights": went_on, "score": answer["score"].dtype.name, "count": int(answer["count"][0])}


def weights() -> dict[str, Any]:
    """A digest of what a few default steps from the configured seed give, and the losses they report."""
    log, held = small_log()
    model = make(log)
    model.compile()
    fitted = model.fit(data.training_dataset_in_memory(log, CONFIG.history, CONFIG.training), steps_per_epoch=10,
                       validation_data=data.held_out_dataset(log, held, CONFIG.history), verbose=0).history
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights()))
    return {"digest": digest.hexdigest(), "fitted": fitted}


if __name__ == "__main__":
    program = {"mirrored": mirrored, "mixed": mixed, "weights": weights}[sys.argv[1]]
    print(json.dumps(program(*sys.argv[2:])))
