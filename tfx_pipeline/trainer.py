"""The Trainer step: transformed users -> a trained `UlimModel` in one `.keras` file."""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
import math
import os
import tempfile
from collections.abc import Callable

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from tfx.components.trainer.fn_args_utils import FnArgs

from tfx_pipeline import trained
from tfx_pipeline.training import base_model, checkpoints, strategy
from tfx_pipeline.training.catalog import Catalog, read_catalog
from tfx_pipeline.training.history import SUMMARY_FILE, Curves
from tfx_pipeline.training.loop import TrainingLoop
from tfx_pipeline.training.users import TrainingUsers
from tfx_pipeline.training.validation import Validation
from ulim_tf import co_purchase, data, features
from ulim_tf import config as settings
from ulim_tf.model import UlimModel


def run_fn(fn_args: FnArgs) -> None:
    """Trains for `fn_args.train_steps` steps, or `training.epochs`, and saves the model of the best validation recall.

    Goes on from a checkpoint of an execution that was interrupted, if it had the same data and settings. Where several
    workers train, each of them calls this with the same arguments, and the first one writes.

    Args:
        fn_args: of TFX. `train_files` are the patterns of the splits `train` and `catalog`, in this order;
            `custom_config` is the mapping `to_dict` makes of a `UlimConfig`; `base_model` is the folder of a servable
            to begin with, or None.

    Raises:
        ValueError: a batch cannot be divided among the replicas, there are no users to train on, or no item has a row
            of its own.
        RuntimeError: the loss stopped being a number.
    """
    config = settings.from_dict(settings.UlimConfig, fn_args.custom_config)
    training_strategy = strategy.create(config.training)
    worker, workers = strategy.place(training_strategy)
    train_files, catalog_files = (sorted(tf.io.gfile.glob(pattern)) for pattern in fn_args.train_files)
    vocabularies = _Vocabularies(tft.TFTransformOutput(fn_args.transform_output), config.features)
    items = vocabularies.size(features.ITEM_VOCABULARY)
    catalog = read_catalog(catalog_files, items, bool(config.features.item_content))
    if not catalog.item_category.any():
        raise ValueError(f"vocabulary.least_events must leave items, got {config.vocabulary.least_events}: none has so "
                         "many training events. Lower it.")
    users = TrainingUsers(train_files, items, config.features, config.training.validation_users, config.training.seed)
    config = dataclasses.replace(config, training=dataclasses.replace(
        config.training, steps=_steps(config.training, users.baskets, fn_args.train_steps)))

    keras.utils.set_random_seed(config.training.seed)
    with training_strategy.scope():
        model, follow_popularity = _started(config, vocabularies, catalog, users)
        base = fn_args.base_model if config.training.warm_start else None
        refused = base and base_model.begin_with(model, base, vocabularies.ids())
        model.compile()
        model.optimizer.build(model.trainable_variables)
    if refused:
        print(f"    trains from scratch, not from {base}: {refused}", flush=True)
    tf.random.set_seed(config.training.seed + worker)  # workers draw different negatives

    validation = Validation(model, users.validation((worker, workers))) if users.held_out.any() else None

    loop = TrainingLoop(
        model, checkpoints.folder(fn_args.model_run_dir, settings.to_dict(config), [
            *train_files, *catalog_files, *vocabularies.files(), *([trained.model_file(base)] if base else [])]),
        Curves(fn_args.model_run_dir) if worker == 0 else None,
        _recall(training_strategy, validation) if validation else None,
        warm_start=bool(base and not refused))
    ended = loop.run(_batches(training_strategy, users, catalog, config))
    follow_popularity()
    _save(model, fn_args.serving_model_dir, writes=worker == 0)
    if worker == 0:
        loop.history.save(os.path.join(fn_args.model_run_dir, SUMMARY_FILE), ended)
    loop.finish()


def _recall(training_strategy: tf.distribute.Strategy, validation: Validation) -> Callable[[], float]:
    def measured() -> float:
        found, asked = strategy.total(training_strategy, validation.recall())
        return float(found / asked)

    return measured


class _Vocabularies:
    """What numbers the rows of the model."""

    def __init__(self, transform: tft.TFTransformOutput, config: settings.FeaturesConfig):
        self._transform = transform
        self._names = [features.ITEM_VOCABULARY, features.CATEGORY_VOCABULARY,
                       *([features.CONTENT_VOCABULARY] if config.item_content else []),
                       *([features.PROFILE_VOCABULARY] if config.user_profile else [])]

    def size(self, name: str) -> int:
        """Ids in a vocabulary; 0 for one that is not used."""
        return self._transform.vocabulary_size_by_name(name) if name in self._names else 0

    def files(self) -> list[str]:
        """All text files."""
        return [self._transform.vocabulary_file_by_name(name) for name in self._names]

    def ids(self) -> dict[str, list[bytes]]:
        """The ids of rows 1.. by vocabulary."""
        return {name: self._transform.vocabulary_by_name(name) for name in self._names}


def _steps(config: settings.TrainingConfig, baskets: int, steps: int) -> int:
    return max(math.ceil(config.epochs * baskets / config.moments), 1) if config.epochs else steps


def _started(config: settings.UlimConfig, vocabularies: _Vocabularies, catalog: Catalog,
             users: TrainingUsers) -> tuple[UlimModel, Callable[[], None]]:
    """A model where its data alone put it, and what is to be done to it after training."""
    model = UlimModel(config, vocabularies.size(features.ITEM_VOCABULARY),
                      vocabularies.size(features.CATEGORY_VOCABULARY),
                      content=vocabularies.size(features.CONTENT_VOCABULARY),
                      tokens=0 if catalog.item_content is None else catalog.item_content.shape[1],
                      profile=vocabularies.size(features.PROFILE_VOCABULARY))
    model.set_catalog(*catalog)
    rows = model.items + model.buckets
    popularity = data.popularity(users.events(lambda events: (events.item, events.timestamp)), rows,
                                 config.training.recent_days)
    model.set_popularity(popularity.ever)
    if config.model.item_vectors != "learned":
        purchases = co_purchase.count(users.events(lambda events: (events.lengths, events.item)), rows)
        model.set_item_vectors(co_purchase.item_vectors(purchases, config.model.width, config.training.seed))
    return model, lambda: model.follow_popularity(*popularity)


def _batches(training_strategy: tf.distribute.Strategy, users: TrainingUsers, catalog: Catalog,
             config: settings.UlimConfig) -> Callable[[int], tf.data.Dataset]:
    """How many steps are done -> the batches that follow, each worker's from its own part of the users."""
    replicas, category = training_strategy.num_replicas_in_sync, tf.constant(catalog.item_category)

    def after(steps: int) -> tf.data.Dataset:
        def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            worker, workers = context.input_pipeline_id, context.num_input_pipelines
            training = dataclasses.replace(config.training, moments=config.training.moments // replicas,
                                           seed=config.training.seed + worker)
            return data.training_dataset(users.files, category, config.history, training, config.features,
                                         held_out=users.held_out, shard=(worker, workers),
                                         start=steps * replicas // workers)

        return training_strategy.distribute_datasets_from_function(of_worker)

    return after


def _save(model: UlimModel, directory: str, writes: bool) -> None:
    """Saves the model; every worker has to take part, because its metrics are summed over all."""
    if writes:
        tf.io.gfile.makedirs(directory)
        model.save(os.path.join(directory, trained.MODEL_FILE))
        return
    with tempfile.TemporaryDirectory() as elsewhere:
        model.save(os.path.join(elsewhere, trained.MODEL_FILE))
