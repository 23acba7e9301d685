import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import environment, exchange, program
from benchmarks.peers.environment import Environment, SetupError, find_python
from benchmarks.peers.exchange import Histories, Moments, Request, Training, Vectors
from benchmarks.peers.peer import Peer, PeerError, peers
from ulim_tf.event_log import EventLog, HeldOut

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"

# Item 1 points to x, 2 to y, 3 to both and is liked by all; a user has an interest in each item they have had.
FAKE = """
import numpy as np
from benchmarks.peers import program
from benchmarks.peers.exchange import Vectors

class Fake:
    every = 5

    def __init__(self, histories, seed):
        self.histories, self.score = histories, np.zeros(1)

    def step(self):
        self.score += 1
        return 0.5

    def vectors(self, moments):
        items = np.array([[9, 9, 9], [1, 0, 0], [0, 1, 0], [.6, .6, .1]])
        bought = [self.histories.item[self.histories.splits[one]:][:2] for one in moments.user]
        return Vectors(np.array([[[*items[one][:2], 1] for one in own] for own in bought]), items)

    def weights(self):
        return [self.score.copy()]

    def load(self, weights):
        self.score, = weights

program.main({"fake": Fake}, ("numpy",))
"""


@pytest.fixture
def shop():
    """User a had items 1 and 2, user b item 1 twice; each then buys item 3."""
    log = EventLog(
        user_id=np.array(["a", "b"], object), item_id=np.array(["", "1", "2", "3"], object),
        category_id=np.array(["", "c"], object), item_category=np.array([0, 1, 1, 1]),
        title=np.full(4, "", object), content_id=np.array([""], object), item_content=np.zeros([4, 0], np.int64),
        splits=np.array([0, 2, 4]), item=np.array([1, 2, 1, 1]), timestamp=np.array([10, 20, 30, 40]),
        basket_start=np.array([0, 1, 0, 1]))
    held = HeldOut(user=np.array([0, 1]), target=[np.array([3]), np.array([3])], now=np.array([100, 200]),
                   without_history=0, without_target=0, items_unseen=0)
    return log, held


@pytest.fixture
def peer_of(tmp_path):
    """A function from a program's text to a peer that runs it with this Python."""
    def peer(text: str) -> Peer:
        (tmp_path / "a_peers_program.py").write_text(text)
        starter = tmp_path / "python"
        starter.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{tmp_path}" exec {sys.executable} "$@"\n')
        starter.chmod(0o755)
        return Peer("a peer", lambda: starter, "a_peers_program", "fake", tmp_path / "run")
    return peer


def requirements(tmp_path: Path, text: str = "") -> Path:
    file = tmp_path / "requirements.txt"
    file.write_text(text)
    return file


@pytest.fixture
def makings(monkeypatch):
    """Environments are not made but counted, by the names in this list; each gets a file as its interpreter."""
    made = []

    def make(its: Environment, python: Path) -> None:
        assert not python.exists()
        python.parent.mkdir(parents=True)
        python.touch()
        made.append(its.name)

    monkeypatch.setattr(Environment, "_make", make)
    return made


def test_an_environment_has_the_python_it_needs(tmp_path):
    python = Environment("empty", HERE, requirements(tmp_path), tmp_path / "environments").python()
    assert environment._runs_as(python, HERE)


def test_an_environment_is_made_once_and_anew_for_other_requirements_or_another_python(tmp_path, makings):
    file = requirements(tmp_path)
    Environment("first", "3.10", file, tmp_path).python()
    assert makings == ["first"]
    Environment("first", "3.10", file, tmp_path).python()
    assert makings == ["first"]
    file.write_text("# other requirements\n")
    Environment("first", "3.10", file, tmp_path).python()
    assert makings == ["first"] * 2
    Environment("first", "3.11", file, tmp_path).python()
    assert makings == ["first"] * 3


def test_an_unfinished_environment_is_made_anew(tmp_path, makings):
    half = tmp_path / "half" / "bin" / "python"
    half.parent.mkdir(parents=True)
    half.touch()
    assert Environment("half", HERE, requirements(tmp_path), tmp_path).python() == half
    assert makings == ["half"]


def test_a_requirement_that_cannot_be_installed_leaves_no_environment(tmp_path):
    file = requirements(tmp_path, f"{tmp_path}/no-such-package.whl\n")
    with pytest.raises(SetupError, match=r"(?s)requirements of the peer broken.*Check the network.*no-such-pack"):
        Environment("broken", HERE, file, tmp_path / "environments").python()
    assert list((tmp_path / "environments").iterdir()) == []


def test_without_an_interpreter_it_names_three_ways_to_get_it(tmp_path):
    with pytest.raises(SetupError, match=r"(?s)no Python 3\.999 .*apt install.*pyenv install.*uv python install"):
        Environment("none", "3.999", requirements(tmp_path), tmp_path / "environments").python()
    assert not (tmp_path / "environments").exists()


def test_a_shim_that_fails_is_passed_over(tmp_path, monkeypatch):
    for folder, script in (("shims", "exit 127"), ("real", "echo 3.999")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "python3.999").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / folder / "python3.999").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/shims:{tmp_path}/real")
    assert find_python("3.999") == tmp_path / "real" / "python3.999"


def test_what_is_written_is_read_back(tmp_path):
    histories = Histories(*(np.arange(start, start + 3) for start in range(5)))
    exchange.write_histories(tmp_path, histories)
    exchange.write_moments(tmp_path, Moments(np.array([4]), np.array([7])))
    exchange.write_targets(tmp_path, [np.array([1, 2]), np.array([3])])
    exchange.write_request(tmp_path, Request("m", 17, None, False))
    training = Training(20, 0.5, [(10, 0.25, 0.1), (20, 0.5, 0.2)], {"numpy": "1"})
    exchange.write_training(tmp_path, training)
    read = exchange.read_histories(tmp_path)
    assert all(np.array_equal(getattr(read, name), getattr(histories, name)) for name in vars(histories))
    assert exchange.read_moments(tmp_path).now.tolist() == [7]
    assert [target.tolist() for target in exchange.read_targets(tmp_path)] == [[1, 2], [3]]
    assert exchange.read_request(tmp_path) == Request("m", 17, None, False)
    assert exchange.read_training(tmp_path) == training


@pytest.mark.parametrize(("interests", "items"), [((1, 1, 2), (4, 2)), ((2, 1, 2), (3, 2)), ((2, 1, 2), (4, 3)),
                                                  ((2, 2), (4, 2))])
def test_vectors_of_other_users_or_items_are_refused(tmp_path, interests, items):
    exchange.write_vectors(tmp_path, Vectors(np.zeros(interests), np.zeros(items)))
    with pytest.raises(ValueError, match=r"interests \[n, K, D\] and items \[V \+ 1, D\], n = 2 and V = 3, got"):
        exchange.read_vectors(tmp_path, users=2, items=3)


def test_vectors_that_are_not_numbers_are_refused(tmp_path):
    exchange.write_vectors(tmp_path, Vectors(np.full([2, 1, 2], np.nan), np.zeros([4, 2])))
    with pytest.raises(ValueError, match="finite"):
        exchange.read_vectors(tmp_path, users=2, items=3)


def test_a_peer_is_trained_in_its_own_process_and_ranked_in_ours(peer_of, shop, capsys):
    log, held = shop
    peer = peer_of(FAKE)
    trained = peer.fit(log, validation=held, steps=None, seed=17, quick=False)
    # Looks at 5, 10 and 15: no later one is better than the first.
    assert trained.steps == 5 and [(step, score) for step, _, score in trained.history] == [(5, 1), (10, 1), (15, 1)]
    assert peer.versions == {"numpy": np.__version__}
    assert "a peer: step 5, 0 s, validation 1.0000" in capsys.readouterr().out
    # User a: item 1 scores max(1 + 0, 0 + 0), item 2 the same, item 3 .6 + .1; user b: 1, 0 and .7.
    assert peer.rank(log, held, 3, exclude_seen=False).tolist() == [[1, 2, 3], [1, 3, 2]]
    assert peer.rank(log, held, 3, exclude_seen=True).tolist() == [[3, 0, 0], [3, 2, 0]]


def test_on_the_test_split_a_peer_takes_the_steps_it_is_told(peer_of, shop):
    log, held = shop
    peer = peer_of(FAKE)
    trained = peer.fit(log, validation=None, steps=7, seed=17, quick=False)
    assert (trained.steps, trained.history) == (7, [])
    assert peer.rank(log, held, 1, exclude_seen=False).tolist() == [[1], [1]]


def test_a_program_that_fails_is_told_with_its_last_words(peer_of, shop):
    log, held = shop
    with pytest.raises(PeerError, match=r"(?s)train failed for a peer with exit code 1.*ValueError: too wide"):
        peer_of("raise ValueError('too wide')").fit(log, validation=held, steps=None, seed=17, quick=True)


class Scripted:
    """Finds the one target, item 1, in the looks that are told; item 1 is outside the best 100 otherwise."""

    every = 2

    def __init__(self, found: list[bool]):
        self._found, self._step = found, 0

    def step(self) -> float:
        self._step += 1
        return 1.0

    def vectors(self, moments: Moments) -> Vectors:
        items = np.ones([202, 1])
        items[1] = 2 if self._found[self._step // 2 - 1] else -1
        return Vectors(np.ones([1, 1, 1]), items)

    def weights(self) -> list[np.ndarray]:
        return [np.array(self._step)]

    def load(self, weights: list[np.ndarray]) -> None:
        self._step = int(weights[0])


@pytest.fixture
def one_user(tmp_path):
    exchange.write_moments(tmp_path, Moments(np.array([0]), np.array([0])))
    exchange.write_targets(tmp_path, [np.array([1])])
    return tmp_path


def test_training_ends_with_the_best_weights_two_looks_after_them(one_user):
    model = Scripted([False, True, False, False, True])
    training = program.train(model, Request("m", 17, None, False), one_user, {})
    assert training.steps == 4 and model.weights()[0] == 4
    assert [(step, score) for step, _, score in training.history] == [(2, 0), (4, 1), (6, 0), (8, 0)]


def test_training_ends_when_the_budget_is_spent(one_user, monkeypatch):
    monkeypatch.setattr(program, "BUDGET_MINUTES", 1e-12)
    assert len(program.train(Scripted([True] * 9), Request("m", 17, None, False), one_user, {}).history) == 1


def test_a_loss_that_is_no_number_stops_the_training(one_user, monkeypatch):
    monkeypatch.setattr(Scripted, "step", lambda self: float("nan"))
    with pytest.raises(RuntimeError, match=r"between the steps 0 and 2.*learning rate"):
        program.train(Scripted([True]), Request("m", 17, None, False), one_user, {})


def test_every_peer_of_the_table_is_there():
    assert [peer.name for peer in peers()] == ["SASRec (RecTools)", "HSTU (RecTools)", "SDM (deepmatch)",
                                               "MIND (deepmatch)", "ComiRec (deepmatch)"]
