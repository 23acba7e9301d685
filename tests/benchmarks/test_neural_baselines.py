import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from benchmarks.baselines import mind, neural_candidate, sequence_model
from benchmarks.baselines.exact_ranking import best_items
from benchmarks.baselines.mind import DynamicRouting, Mind, interests_used
from benchmarks.baselines.neural_candidate import NeuralCandidate
from benchmarks.baselines.sequence_model import Settings
from benchmarks.baselines.two_tower import TwoTower, target_share
from benchmarks.baselines.youtube_dnn import YouTubeDnn
from benchmarks.training_loop import Schedule, train
from ulim_tf import data, history
from ulim_tf.event_log import EventLog, HeldOut

MODELS = {"two-tower": TwoTower, "YouTubeDNN": YouTubeDnn, "MIND": Mind}
DAY = 86_400


def log_of(users: list[list[list[int]]], items: int, categories: int = 3) -> EventLog:
    """Users given as baskets of items, one basket a day; item i is in category 1 + (i - 1) % C."""
    events = [[(item, day) for day, basket in enumerate(user) for item in basket] for user in users]
    start = [[sum(map(len, user[:day])) for day, basket in enumerate(user) for _ in basket] for user in users]
    return EventLog(
        user_id=np.array([f"user {number}" for number in range(len(users))], object),
        item_id=np.array(["", *(f"item {number}" for number in range(1, items + 1))], object),
        category_id=np.array(["", *(f"category {number}" for number in range(1, categories + 1))], object),
        item_category=np.append(0, 1 + np.arange(items) % categories),
        title=np.full(items + 1, "", object),
        content_id=np.array([""], object), item_content=np.zeros([items + 1, 0], np.int64),
        splits=np.append(0, np.cumsum([len(user) for user in events])),
        item=np.array([item for user in events for item, _ in user]),
        timestamp=10**9 + DAY * np.array([day for user in events for _, day in user]),
        basket_start=np.array([rank for user in start for rank in user]))


@pytest.fixture(scope="module")
def own_items():
    """Thirty users, each of whom buys items 2 u + 1 and 2 u + 2 and nothing else, time and again."""
    log = log_of([[[2 * user + 1, 2 * user + 2]] * 4 for user in range(30)], items=60)
    return log, HeldOut(user=np.arange(30), target=[np.array([2 * user + 1, 2 * user + 2]) for user in range(30)],
                        now=np.full(30, 10**9 + 4 * DAY), without_history=0, without_target=0, items_unseen=0)


def batch_of(items: list[list[int]], targets: list[list[int]] | None = None) -> dict[str, tf.Tensor]:
    """Moments of users with these newest events, an hour old each; padding is garbage. A target of 0 is none."""
    most = max(map(len, items))
    batch = {history.SHORT_ITEM: tf.constant([[*row, *[7] * (most - len(row))] for row in items], tf.int64),
             history.SHORT_AGE: tf.fill([len(items), most], tf.constant(3600, tf.int64)),
             history.SHORT_LENGTH: tf.constant([len(row) for row in items], tf.int64)}
    if targets:
        batch |= {data.TARGET_ITEM: tf.constant(targets, tf.int64), data.TARGET_REAL: tf.constant(targets) > 0}
    return batch


@pytest.mark.parametrize("name", MODELS)
def test_each_overfits_a_tiny_log(name, own_items):
    log, held = own_items
    candidate = NeuralCandidate(name, MODELS[name])
    candidate.fit(log, validation=None, steps=100, seed=3, quick=False)
    assert neural_candidate.mean_recall(candidate.rank(log, held, 2, exclude_seen=False), held.target) >= 0.95


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_is_reached_and_padding_is_not_read(name, own_items):
    keras.utils.set_random_seed(3)
    model = MODELS[name](own_items[0])
    batch = batch_of([[1, 2, 3], [4], [5, 6]], [[1, 2], [3, 0], [9, 10]])
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.abs(tf.convert_to_tensor(gradient)).max() > 0 for gradient in gradients)
    alone = model.interests(batch_of([[4]])).numpy()
    np.testing.assert_allclose(model.interests(batch)[1].numpy(), alone[0], atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_ranking_and_an_empty_history_gets_one(name, own_items):
    log, held = own_items
    newcomer = log_of([[[1, 2], [3]], [[5]]], items=60)
    first, again = (NeuralCandidate(name, MODELS[name]) for _ in range(2))
    for candidate in (first, again):
        candidate.fit(log, validation=None, steps=3, seed=5, quick=True)
    np.testing.assert_array_equal(first.rank(log, held, 10, False), again.rank(log, held, 10, False))
    assert np.isfinite(first.model.interests(batch_of([[], [1]]))).all()
    assert first.rank(newcomer, HeldOut(np.array([0]), [np.array([1])], np.array([10**9 + DAY]), 0, 0, 0), 5,
                      True).shape == (1, 5)


def test_ranking_leaves_seen_items_out_where_asked(own_items):
    log, held = own_items
    candidate = NeuralCandidate("YouTubeDNN", YouTubeDnn)
    candidate.fit(log, validation=None, steps=1, seed=3, quick=False)
    ranked = candidate.rank(log, held, 60, exclude_seen=True)
    for user, row in enumerate(ranked):
        assert set(row) == {0, *range(1, 61)} - {2 * user + 1, 2 * user + 2}
        assert (row[58:] == 0).all()
    assert all(set(row) == set(range(1, 61)) for row in candidate.rank(log, held, 60, exclude_seen=False))


def test_validation_decides_the_steps(own_items, monkeypatch, capsys):
    monkeypatch.setattr(neural_candidate, "SCHEDULE", Schedule(most=60, every=20, patience=5))
    monkeypatch.setattr(neural_candidate, "_RECALL_AT", 4)
    log, held = own_items
    candidate = NeuralCandidate("YouTubeDNN", YouTubeDnn)
    trained = candidate.fit(log, validation=held, steps=None, seed=3, quick=False)
    best = max(score for _, _, score in trained.history)
    assert [step for step, _, _ in trained.history] == [20, 40, 60]
    assert trained.steps == next(step for step, _, score in trained.history if score == best)
    assert neural_candidate.mean_recall(candidate.rank(log, held, 4, False), held.target) == pytest.approx(best)
    assert "YouTubeDNN: step 60" in capsys.readouterr().out


def test_best_items_are_sorted_by_the_better_interest():
    interests = tf.constant([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [-1.0, 0.0]]])
    candidates = tf.constant([[99.0, 99.0], [1.0, 0.0], [0.0, 3.0], [2.0, 0.5], [-1.0, -1.0]])
    # Scores of the items 1..4: user 0 max([1, 0, 2, -1], [0, 3, .5, -1]), user 1 [-1, 0, -2, 1].
    np.testing.assert_array_equal(best_items(interests, candidates, 4), [[2, 3, 1, 4], [4, 2, 1, 3]])
    np.testing.assert_array_equal(best_items(interests, candidates, 4, [np.array([2, 1]), np.array([], int)]),
                                  [[3, 4, 0, 0], [4, 2, 1, 3]])


def test_more_items_than_there_are_are_refused():
    with pytest.raises(ValueError, match=r"count must be in 1\.\.V = 1\.\.4, got 5\. Ask for fewer"):
        best_items(tf.zeros([1, 1, 2]), tf.zeros([5, 2]), 5)


def routed(behaviour, start, kernel, iterations):
    """Dynamic routing of one user's real behaviours [n, D] in plain loops, MIND's algorithm 1."""
    mapped = behaviour @ kernel
    logit = start[:, :len(behaviour)].astype(float).copy()
    for _ in range(iterations):
        capsules = []
        for interest in range(len(logit)):
            total = np.zeros(mapped.shape[1])
            for event in range(len(mapped)):
                weight = np.exp(logit[interest, event]) / np.exp(logit[:, event]).sum()
                total += weight * mapped[event]
            length = np.linalg.norm(total)
            capsules.append(length**2 / (1 + length**2) * total / length)
        for interest in range(len(logit)):
            for event in range(len(mapped)):
                logit[interest, event] += capsules[interest] @ mapped[event]
    return np.array(capsules)


def test_routing_is_that_of_a_plain_loop():
    keras.utils.set_random_seed(3)
    layer = DynamicRouting(interests=3, events=6, width=4)
    behaviour = np.random.default_rng(5).normal(size=(2, 5, 4)).astype(np.float32)
    real = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], np.float32)[..., None]
    found = layer(tf.constant(behaviour), tf.constant(real)).numpy()
    start, kernel = layer.start.numpy(), layer.map.kernel.numpy()
    np.testing.assert_allclose(found[0], routed(behaviour[0], start, kernel, 3), atol=1e-5)
    np.testing.assert_allclose(found[1], routed(behaviour[1, :2], start, kernel, 3), atol=1e-5)


def test_a_user_has_as_many_interests_as_the_logarithm_of_their_events():
    used = interests_used(tf.constant([0, 1, 3, 4, 7, 8, 15, 16, 100], tf.int64), 4).numpy()
    assert used.sum(axis=1).tolist() == [1, 1, 1, 2, 2, 3, 3, 4, 4]
    assert used[:, 0].all()


def test_interests_a_user_does_not_have_repeat_the_first(own_items):
    interests = Mind(own_items[0], interests=4).interests(batch_of([[1, 2, 3, 4], [5]])).numpy()
    np.testing.assert_array_equal(interests[0, 2], interests[0, 0])
    assert np.abs(interests[0, 1] - interests[0, 0]).max() > 1e-6
    np.testing.assert_array_equal(interests[1], np.tile(interests[1, :1], (4, 1)))


def test_label_aware_attention_leans_to_the_interest_nearest_to_the_target(own_items):
    keras.utils.set_random_seed(3)
    model = Mind(own_items[0], interests=4, sharpness=2.0)
    batch = batch_of([[1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17], [21, 22, 23, 24]])
    interests = model.interests(batch).numpy()
    owner, target = [0, 1, 1], [21, 22, 23]
    found = model.interest_in(batch, tf.constant(owner), tf.constant(target)).numpy()
    for one, item, vector in zip(owner, target, found):
        weight = np.exp(2.0 * interests[one] @ model.candidates(tf.constant(item)).numpy())
        np.testing.assert_allclose(vector, weight / weight.sum() @ interests[one], rtol=1e-4, atol=1e-5)


def scores(model, batch) -> np.ndarray:
    """The first interest's score of each item, [B, V + 1]: cosine / temperature + the logarithm of 1 + its events."""
    interest = model.read(batch)[:, 0].numpy()
    item = model.represent(tf.range(model.items + 1, dtype=tf.int64)).numpy()
    cosine = interest @ item.T / np.linalg.norm(interest, axis=1)[:, None] / np.linalg.norm(item, axis=1)
    return cosine / model.settings.temperature + model.bias.embeddings.numpy()[:, 0]


def test_the_bias_starts_at_popularity(own_items):
    bias = YouTubeDnn(log_of([[[1, 2], [1], [3]]], items=4)).bias.embeddings.numpy()[:, 0]
    np.testing.assert_allclose(bias, np.log([1, 3, 2, 2, 1]), rtol=1e-6)


def test_the_sampled_softmax_is_corrected_and_leaves_accidental_hits_out(own_items, monkeypatch):
    """Against a plain loop; every basket weighs the same, however many of its targets are real."""
    keras.utils.set_random_seed(3)
    pool, expected = np.array([3, 9, 20]), np.array([0.9, 0.5, 0.1])
    monkeypatch.setattr(sequence_model, "draw_from_pool",
                        lambda items, count: (tf.constant(pool), tf.math.log(tf.constant(expected, tf.float32))))
    model = YouTubeDnn(own_items[0], Settings(temperature=0.2))
    batch = batch_of([[1, 2], [5]], [[3, 4], [9, 0]])
    nll = {}
    for user, target in ((0, 3), (0, 4), (1, 9)):
        score = scores(model, batch)[user]
        total = np.exp(score[target]) + sum(
            np.exp(score[other]) / count for other, count in zip(pool, expected) if other != target)
        nll[target] = np.log(total) - score[target]
    np.testing.assert_allclose(model.compute_loss(batch), ((nll[3] + nll[4]) / 2 + nll[9]) / 2, rtol=1e-4)


def test_the_two_tower_loss_is_an_in_batch_softmax_corrected_by_the_share_of_targets():
    """Against a plain loop: the other targets of the batch are the negatives, the same item is none."""
    keras.utils.set_random_seed(3)
    model = TwoTower(log_of([[[1, 2], [3]], [[1], [4, 5, 6]]], items=60), Settings(temperature=0.2, targets=1))
    batch = batch_of([[1, 2], [5], [6]], [[3], [1], [3]])
    share = {3: 0.25, 1: 0.125 + 0.25}  # two users, two baskets each, items of a basket alike
    nll = []
    for score, target, negatives in zip(scores(model, batch), (3, 1, 3), ([1], [3, 3], [1])):
        term = {item: np.exp(score[item]) / share[item] for item in (3, 1)}
        nll.append(-np.log(term[target] / (term[target] + sum(term[other] for other in negatives))))
    np.testing.assert_allclose(model.compute_loss(batch), np.mean(nll), rtol=1e-4)


def test_the_share_of_an_item_among_targets_is_that_of_the_drawing():
    log = log_of([[[1, 2], [3]], [[1], [4, 5, 6]]], items=7)
    one = [0, 1 / 4 * 1 / 2 + 1 / 4, 1 / 4 * 1 / 2, 1 / 4, 1 / 12, 1 / 12, 1 / 12, 0]
    np.testing.assert_allclose(target_share(log, 1), one)
    two = np.array([0, 1 + 1, 1, 1, 2 / 3, 2 / 3, 2 / 3, 0])  # of each basket two items at most
    np.testing.assert_allclose(target_share(log, 2), two / two.sum())


class Counter(keras.Model):
    """Its one weight counts the steps; its loss is what the test says."""

    def __init__(self, loss: float = 1.0):
        super().__init__()
        self.count = self.add_weight("count", [])
        self.given = loss

    def train_step(self, _):
        self.count.assign_add(1.0)
        return {"loss": tf.constant(self.given)}


def counting(scores=None, **arguments):
    model = Counter(arguments.pop("loss", 1.0))
    model.compile()
    model.count.assign(0.0)
    left = iter(scores or ())
    trained = train(model, tf.data.Dataset.from_tensors(0.0).repeat(), Schedule(most=10, every=2, patience=2),
                    score=(lambda: next(left)) if scores else None, **arguments)
    return model.count.numpy(), trained


def test_training_stops_when_the_best_score_stays_the_best_and_returns_to_it():
    count, trained = counting([1.0, 3.0, 2.0, 3.0])
    assert count == trained.steps == 4
    assert [(step, score) for step, _, score in trained.history] == [(2, 1.0), (4, 3.0), (6, 2.0), (8, 3.0)]
    assert trained.minutes == trained.history[1][1]


def test_training_that_goes_on_improving_ends_at_the_most_steps():
    count, trained = counting([1.0, 2.0, 3.0, 4.0, 5.0])
    assert count == trained.steps == 10


def test_so_many_steps_are_so_many():
    count, trained = counting(steps=7)
    assert count == trained.steps == 7 and trained.history == []


@pytest.mark.parametrize("arguments", [{}, {"scores": [1.0], "steps": 2}])
def test_training_needs_one_way_to_stop(arguments):
    with pytest.raises(ValueError, match="either a validation score to stop by or a number of steps"):
        counting(**arguments)


def test_a_loss_that_is_no_number_stops_training():
    with pytest.raises(RuntimeError, match=r"the loss of it is nan at step 2\. Lower its learning rates"):
        counting(loss=float("nan"), steps=4, name="it")


def test_squash_keeps_the_direction_and_shortens():
    np.testing.assert_allclose(mind.squash(tf.constant([[3.0, 4.0]])), [[25 / 26 * 0.6, 25 / 26 * 0.8]], rtol=1e-5)
    assert np.isfinite(mind.squash(tf.zeros([1, 2]))).all()
