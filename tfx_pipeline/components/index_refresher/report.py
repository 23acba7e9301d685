"""What became of the items of a catalogue: `refreshed.json`, the fields of `serving.refresh.Refreshed`."""

import json
import os

from tfx.dsl.io import fileio

from serving.refresh import Refreshed

FILE = "refreshed.json"


def write(refreshed: Refreshed, directory: str) -> None:
    """Writes FILE into a folder."""
    with fileio.open(os.path.join(directory, FILE), "w") as file:
        file.write(json.dumps(refreshed._asdict(), indent=2) + "\n")


def read(directory: str) -> Refreshed:
    """What `write` wrote."""
    with fileio.open(os.path.join(directory, FILE)) as file:
        return Refreshed(**json.load(file))
