"""A user with a million events, or two: what the ingest holds of them, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Peak memory can be set back on Linux, so what was needed to make the events does not count. Each number of events has
# a process, forked from one that has imported all.
PROGRAM = """
import itertools, json, os, re, sys
import numpy as np
from tfx_pipeline import beam_transforms
from tfx_pipeline.beam_transforms import Place, newest_events, shard_by_user
from tfx_pipeline.config import IngestConfig
from ulim_tf.sequences import Events, Ids

cut, rows = 2_000_000_000, 10_000

def parts(events):
    random = np.random.default_rng(3)
    # Ten a second in baskets of ten; the last thousand are after the cut; files come in any order.
    time = cut + (np.arange(events) - events + 1000) // 10
    places = random.permutation(events // rows)
    for place in places:
        mine = time[place * rows:(place + 1) * rows]
        item = np.array([b"i%d" % number for number in random.integers(0, 20_000, rows)], object)
        ids = Ids.of(np.array([b"u"] * rows, object)), Ids.of(item), Ids.of(np.array([b"c"] * rows, object))
        basket = Ids.of(np.char.mod("%d", mine).astype("S").astype(object))
        for _, part in shard_by_user((Place("log", 0, int(place)), Events(*ids, mine, basket)), 1):
            yield part

def peak_mib():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

most_at_once = 0
cap = beam_transforms.cap

def watched_cap(given, *arguments):
    global most_at_once
    most_at_once = max(most_at_once, len(given))
    return cap(given, *arguments)

def hold(events):
    beam_transforms.cap = watched_cap
    made = list(parts(events))
    newest_events(made[:1], cut, IngestConfig())
    open("/proc/self/clear_refs", "w").write("5")
    before = peak_mib()
    kept, counts = newest_events(made, cut, IngestConfig(max_history=5000))
    print(json.dumps({
        "mib": peak_mib() - before, "most_at_once": most_at_once, "packed": sum(len(one) for _, one in made),
        "counts": counts, "oldest": int(kept.timestamp.min()), "kept": len(kept)}), flush=True)

for events in sys.argv[1:]:
    child = os.fork()
    if not child:
        hold(int(events))
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
"""


@pytest.fixture(scope="module")
def held():
    """What is held of a million events, and of two."""
    found = subprocess.run([sys.executable, "-c", PROGRAM, "1000000", "2000000"], check=True, capture_output=True,
                           text=True, cwd=ROOT)
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_the_newest_are_kept_and_the_others_counted(held):
    million, _ = held
    assert million["counts"] == {"events": 1_000_000, "events_out_of_order": 0, "events_cut_by_max_history": 994_000,
                                 "held_out_events_cut_by_max_history": 0}
    # Of the 999,000 before the cut the newest 5,000, of ten a second, and the thousand from it on.
    assert million["kept"] == 6_000 and million["oldest"] == 2_000_000_000 - 500


def test_memory_does_not_grow_with_the_events_of_a_user(held):
    million, longer = held
    assert million["most_at_once"] < 900_000
    assert million["packed"] < 16_000_000
    assert longer["counts"]["events_cut_by_max_history"] == 1_994_000
    assert longer["most_at_once"] < 900_000
    assert longer["mib"] < 1.25 * million["mib"] < 190
