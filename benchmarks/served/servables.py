"""The servables that are asked: made once, then kept in a folder.

Their models saw a few training steps only, so that PGIN prefers what users often take, as a trained one does: it
decides which categories are searched, and large ones cost most. Answers say nothing about quality.
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tf_keras as keras

from benchmarks import synthetic
from benchmarks.served import two_tower
from serving.export import export_servable
from tfx_pipeline.datasets import complete_journey
from ulim_tf import co_purchase, data
from ulim_tf import config as settings
from ulim_tf.event_log import EventLog, split_by_time
from ulim_tf.model import UlimModel

LONGEST = 5000  # L
SEED = 17
_OWN = 200  # categories of a user of an invented log
_SPREAD = 0.5  # of an invented item around its category's centre
_MADE = "made"  # file in the folder of a servable that is whole


@dataclasses.dataclass(frozen=True)
class Servable:
    """What is asked.

    Attributes:
        items: V of an invented catalogue of Zipf-sized categories; 0 is that of Complete Journey.
        categories: C of an invented one.
        searched: K; 0 makes a two-tower model with TFRS's ScaNN layer instead of ULIM.
        users: of an invented log.
        steps: of training.
    """

    items: int
    categories: int
    searched: int
    users: int = 256
    steps: int = 60

    @property
    def folder(self) -> str:
        """Its name among the folders of all."""
        catalogue = f"invented_{self.items}_{self.categories}" if self.items else "complete_journey"
        return f"{catalogue}/" + (f"ulim_{self.searched}" if self.searched else "two_tower")


def ready(servable: Servable, cache: Path, progress: Callable[[str], None] = print) -> Path:
    """The model base path of a servable, which is made if it is not there.

    Args:
        servable: which.
        cache: folder of all of them.
        progress: is told what begins.
    """
    base = cache / servable.folder
    if not (base / _MADE).exists():
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir(parents=True)
        log = event_log(dataclasses.replace(servable, searched=0))
        progress(f"making {base}: {log.items:,} items, {log.categories:,} categories")
        files = {}
        for name, ids in (("items", log.item_id), ("categories", log.category_id)):
            files[name] = str(base / f"{name}.txt")
            Path(files[name]).write_text("\n".join(ids[1:]) + "\n")
        if servable.searched:
            model = _trained(dataclasses.replace(servable, searched=0))
            model.settings = dataclasses.replace(model.settings, retrieval=dataclasses.replace(
                model.settings.retrieval, categories=servable.searched))
            export_servable(model, files["items"], files["categories"], str(base / "1"), progress=progress)
        else:
            two_tower.export(log, _item_vectors(servable, log), files["items"], str(base / "1"))
        (base / _MADE).touch()
    return base


@functools.lru_cache(maxsize=1)
def event_log(servable: Servable) -> EventLog:
    """The log of a servable's catalogue."""
    if servable.items:
        return synthetic.event_log(servable.users, LONGEST, servable.items, SEED, servable.categories, zipf=0.8,
                                   own=min(_OWN, servable.categories))
    events, catalog, _ = complete_journey.write(Path(".bench/complete_journey"), None)
    return split_by_time(pd.read_parquet(events), pd.read_parquet(catalog), max_history=LONGEST)[0]


@functools.lru_cache(maxsize=1)
def _trained(servable: Servable) -> UlimModel:
    log = event_log(servable)
    keras.utils.set_random_seed(SEED)
    config = settings.from_dict(settings.UlimConfig, {
        "history": {"long": LONGEST}, "training": {"steps": servable.steps}})
    model = UlimModel(config, log.items, log.categories)
    model.set_catalog(log.item_category)
    model.set_popularity(data.popularity([(log.item, log.timestamp)], log.items, config.training.recent_days).ever)
    model.set_item_vectors(_item_vectors(servable, log))
    model.compile()
    model.fit(data.training_dataset_in_memory(log, config.history, config.training), steps_per_epoch=servable.steps,
              verbose=0)
    return model


def _item_vectors(servable: Servable, log: EventLog) -> np.ndarray:
    """Where co-purchases put the items of a real log; around a centre of their category those of an invented one."""
    width = settings.ModelConfig().width
    if not servable.items:
        return co_purchase.item_vectors(co_purchase.count([(np.diff(log.splits), log.item)], log.items), width, SEED)
    random = np.random.default_rng(SEED)
    centre = random.standard_normal((log.categories + 1, width), np.float32)
    vectors = centre[log.item_category] + np.float32(_SPREAD) * random.standard_normal((log.items + 1, width),
                                                                                        np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
