import itertools
import json
import time

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from benchmarks import synthetic, training
from benchmarks.sasrec import SasRec, sequences
from benchmarks.step_timing import time_steps
from ulim_tf import data, history
from ulim_tf.config import HistoryConfig, TrainingConfig


@pytest.fixture(scope="module")
def log():
    return synthetic.event_log(users=6, history=50, items=400)


def test_invented_moments_read_histories_of_the_length_asked_for(log):
    dataset = data.training_dataset_in_memory(log, HistoryConfig(long=50), TrainingConfig(moments=100))
    read = np.concatenate([batch[history.CATEGORY_COUNT].sum(axis=1)
                           for batch in itertools.islice(dataset.as_numpy_iterator(), 10)])
    assert set(read) == {0, 50}
    assert 0.85 < (read == 50).mean() < 0.95  # ten of eleven


def test_invented_categories_follow_zipf_and_every_item_has_one(log):
    assert log.item_category.shape == (401,)
    assert set(log.item_category[1:]) == set(range(1, 301))
    many = synthetic.event_log(users=50, history=1000, items=400)
    share = np.bincount(many.item_category[many.item], minlength=301)[1:] / len(many.item)
    expected = (1 / np.arange(1, 301)) / (1 / np.arange(1, 301)).sum()
    np.testing.assert_allclose(share[:5], expected[:5], rtol=0.05)


def test_sequences_are_the_newest_events_of_users(log):
    batch = next(iter(sequences(log, length=20, batch=6, seed=3))).numpy()
    assert batch.shape == (6, 21)
    assert {tuple(row) for row in batch.tolist()} == {tuple(log.item[log.history(user)][-21:]) for user in range(6)}


def test_sequences_longer_than_a_history_are_refused(log):
    with pytest.raises(ValueError, match="more than length = 150 events, the shortest history has 150"):
        sequences(log, length=150, batch=1, seed=3)


def test_sasrec_does_not_look_ahead():
    model = SasRec(items=50, length=8, width=8)
    first = np.arange(1, 9)[None, :]
    second = first.copy()
    second[0, 5:] = [40, 41, 42]
    one, two = model(tf.constant(first)).numpy(), model(tf.constant(second)).numpy()
    np.testing.assert_allclose(one[0, :5], two[0, :5], atol=1e-6)
    assert (np.abs(one[0, 5:] - two[0, 5:]).max(axis=-1) > 1e-4).all()


def test_sasrec_learns_which_item_follows_which():
    keras.utils.set_random_seed(3)
    model = SasRec(items=40, length=10, width=16, negatives=40)
    model.compile()
    cycle = np.stack([(np.arange(11) + start) % 40 + 1 for start in range(40)])
    model.fit(tf.data.Dataset.from_tensors(cycle).repeat(), steps_per_epoch=150, verbose=0)
    score = model(tf.constant(cycle[:, :-1]))[:, -1].numpy() @ model.item.embeddings.numpy().T
    assert (score.argmax(axis=1) == cycle[:, -1]).mean() > 0.9


class Sleeper(keras.Model):
    """A model whose step takes 30 ms."""

    def train_step(self, batch):
        return {"loss": tf.numpy_function(lambda value: time.sleep(0.03) or value, [batch], tf.float32)}


def sleeping_batches(seconds):
    def draw(value):
        return tf.numpy_function(lambda value: time.sleep(seconds) or value, [value], tf.float32)

    return tf.data.Dataset.from_tensors(1.0).repeat().map(draw)


def test_input_slower_than_the_step_blocks_it():
    timing = time_steps(Sleeper(), sleeping_batches(0.08), steps=5)  # drawn while the step before it runs
    assert 80 <= timing.draw_ms < 110 and 80 <= timing.step_ms < 110
    assert 30 <= timing.blocked_ms < 80
    assert len(timing.batches) == 5


def test_input_that_a_step_hides_shows_in_the_time_to_draw_alone():
    timing = time_steps(Sleeper(), sleeping_batches(0.02), steps=5)
    assert 20 <= timing.draw_ms < 30
    assert timing.blocked_ms < 15 and timing.step_ms < 45


@pytest.mark.parametrize("model", ["ulim", "sasrec"])
def test_a_row_is_measured_in_a_process_of_its_own(model):
    row = training.measure_alone(model, 20, 400, users=16, steps=2)
    assert row.keys() == {"model", "history", "items", "samples_per_s", "users_per_s", "step_ms", "ms_per_sample",
                          "input_share", "blocked_share", "peak_mib"}
    assert (row["model"], row["history"], row["items"]) == (model, 20, 400)
    assert row["samples_per_s"] * row["ms_per_sample"] == pytest.approx(1000)
    samples_a_user = row["samples_per_s"] / row["users_per_s"]
    assert samples_a_user == pytest.approx(20) if model == "sasrec" else 1 < samples_a_user <= 8
    assert row["peak_mib"] > 100


def row(model, length, items, ms_per_sample, step_ms, input_share):
    return {"model": model, "history": length, "items": items, "ms_per_sample": ms_per_sample, "step_ms": step_ms,
            "input_share": input_share, "samples_per_s": 1.0, "users_per_s": 1.0, "peak_mib": 1.0}


ROWS = [row("ulim", 300, 10, 2.0, 100.0, 0.1), row("ulim", 3000, 10, 3.0, 150.0, 0.2),
        row("ulim", 300, 100, 2.5, 125.0, 0.05), row("sasrec", 300, 10, 9.0, 900.0, 0.9)]


def test_goals_compare_the_longest_history_and_the_largest_pool_with_the_least():
    assert training.goals(ROWS) == [
        ("ms_per_sample at L = 3,000 over L = 300", 1.5, 1.3),
        ("step_ms at V = 100 over V = 10", 1.25, 1.1),
        ("input_share at L = 300, V = 10", 0.1, 0.15),
        ("input_share at L = 3,000, V = 10", 0.2, 0.15),
        ("input_share at L = 300, V = 100", 0.05, 0.15)]


def test_the_command_writes_its_rows_and_says_which_goals_are_missed(tmp_path, monkeypatch, capsys):
    left = iter([*ROWS, *ROWS[-1:] * 3])
    monkeypatch.setattr(training, "measure_alone", lambda *what: next(left))
    training.main(["--json", str(tmp_path / "new" / "rows.json")])
    assert json.loads((tmp_path / "new" / "rows.json").read_text()) == [*ROWS, *ROWS[-1:] * 3]
    [run] = json.loads((tmp_path / "new" / "rows_runs.json").read_text())
    assert run["seed"] == 17 and run["versions"]["tensorflow"] == "2.16.2"
    assert (tmp_path / "new" / "rows.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "MISSED  ms_per_sample at L = 3,000 over L = 300: 1.50, at most 1.3" in printed
    assert "met     input_share at L = 300, V = 100: 0.05, at most 0.15" in printed


def test_quick_leaves_the_longest_histories_out(tmp_path, monkeypatch):
    asked = []

    def measure(*what):
        asked.append(what)
        return row(*what, 1.0, 1.0, 0.1)

    monkeypatch.setattr(training, "measure_alone", measure)
    training.main(["--quick", "--json", str(tmp_path / "rows.json")])
    assert asked == [("ulim", 300, 60_000), ("ulim", 1000, 60_000), ("ulim", 300, 600_000), ("sasrec", 300, 60_000),
                     ("sasrec", 1000, 60_000)]
