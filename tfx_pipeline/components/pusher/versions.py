"""The versions in a model base path: how one comes in, goes, and comes back. A reader never sees half of one.

A version is a folder with a number for its name, and a server serves the highest. Whatever is made or removed has
another name meanwhile, and changes it in one step.

`ulim` and the other servables of a run have a base path each, one beside the other, and versions of the same numbers.
"""

import itertools
import os
import shutil
import tempfile
import time

_UNFINISHED = ".unfinished-"  # a model server looks at folders with a number for a name only
_REMOVED = ".removed-"


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


def make_room(base: str) -> str:
    """A new folder beside the versions to make one in; what interrupted pushes left there goes."""
    os.makedirs(base, exist_ok=True)
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
    first = max([number or int(time.time()), *(1 + one for one in numbers(base))])
    for number in itertools.count(first):
        final = folder_of(base, number)
        try:
            os.rename(folder, final)
        except OSError:
            if not os.path.exists(final):  # not that another push of this second came first
                raise
        else:
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


def push(servable: str, base: str, kept: int, number: int | None = None) -> str:
    """Moves the folder of a servable into a model base path, as its newest version, and removes the oldest.

    Args:
        servable: folder of a SavedModel.
        base: model base path.
        kept: versions that stay, with the new one.
        number: as of `into_place`.

    Returns:
        the version folder.
    """
    room = make_room(base)
    moved = shutil.move(servable, os.path.join(room, "servable"))  # a copy where they are on two file systems
    final = into_place(moved, base, number)
    os.rmdir(room)
    keep(base, kept)
    return final


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
    room = tempfile.mkdtemp(prefix=_UNFINISHED, dir=base)
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
