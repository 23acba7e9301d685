"""The versions in a model base path: how one comes in, goes, and comes back. A reader never sees half of one.

A version is a folder with a number for its name, and a server serves the highest. Whatever is made or removed has
another name meanwhile, and changes it in one step. Of those who change the folder, one does so at a time.

`ulim` and the other servables of a run have a base path each, one beside the other, and versions of the same numbers.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator

_UNFINISHED = ".unfinished-"  # a model server looks at folders with a number for a name only
_REMOVED = ".removed-"
_LOCK = ".lock"


def numbers(base: str) -> list[int]:
    """The versions in a model base path, the highest first; none of a folder that does not exist."""
    names = os.listdir(base) if os.path.isdir(base) else []
    return sorted((int(name) for name in names if name.isascii() and name.isdecimal()), reverse=True)


def base_of(name: str, base: str) -> str:
    """The model base path of another servable, beside that of `ulim`."""
    return os.path.join(os.path.dirname(base.rstrip("/")), name)


def folder_of(base: str, number: int) -> str:
    """Where a version is."""
    return os.path.join(base, str(number))


@contextlib.contextmanager
def changed_alone(base: str) -> Iterator[None]:
    """Keeps all others from changing a model base path, which is made if missing; a second one waits and says so.

    The lock is the operating system's (flock), so it goes with its process, however that ends; its file stays.
    """
    os.makedirs(base, exist_ok=True)
    with open(os.path.join(base, _LOCK), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"    waits until another push to {base} is done", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_room(base: str) -> str:
    """A new folder beside the versions to make one in; what interrupted pushes left there goes.

    Args:
        base: that is changed alone, as in the next two.
    """
    for name in os.listdir(base):
        if name.startswith((_UNFINISHED, _REMOVED)):
            shutil.rmtree(os.path.join(base, name))
    return tempfile.mkdtemp(prefix=_UNFINISHED, dir=base)


def into_place(folder: str, base: str, number: int | None = None) -> str:
    """Makes a finished folder the newest version.

    Args:
        folder: on the file system of the base path.
        base: model base path.
        number: of the version; None is the time. Where that is not the highest, it is the next after those that are
            there.

    Returns:
        the version folder.
    """
    final = folder_of(base, max([number or int(time.time()), *(1 + one for one in numbers(base))]))
    os.rename(folder, final)
    return final


def keep(base: str, count: int) -> list[int]:
    """Removes all but the newest `count` versions.

    Returns:
        what was removed.
    """
    gone = numbers(base)[count:]
    for number in gone:
        aside = tempfile.mkdtemp(prefix=_REMOVED, dir=base)
        os.rename(folder_of(base, number), os.path.join(aside, str(number)))
        shutil.rmtree(aside)
    return gone


def publish_again(base: str, number: int, new: int | None = None) -> str:
    """Makes a version the newest one, under a new number; the old one stays, and both share their files.

    Args:
        base: model base path.
        number: of the version.
        new: number, as of `into_place`.

    Returns:
        the new version folder.

    Raises:
        OSError: the version cannot be read.
    """
    with changed_alone(base):
        room = make_room(base)
        try:
            again = shutil.copytree(folder_of(base, number), os.path.join(room, "servable"), copy_function=_link)
            return into_place(again, base, new)
        finally:
            shutil.rmtree(room)


def origin(base: str, number: int) -> int:
    """The oldest version there is that shares its files with this one: itself, if it was not published again."""
    file = _identity(base, number)
    return min(one for one in numbers(base) if _identity(base, one) == file)


def _identity(base: str, number: int) -> tuple[int, int]:
    found = os.stat(os.path.join(folder_of(base, number), "saved_model.pb"))
    return found.st_dev, found.st_ino


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)
