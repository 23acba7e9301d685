"""A page as a browser shows it: headless Chromium, cut off from the network."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

needs_chromium = pytest.mark.skipif(BINARY is None, reason="needs Chromium: apt-get install chromium")

_CONSOLE = re.compile(r':CONSOLE[^"]*"(.*)", source:')
_NOTES = re.compile(r'data-notes="([^"]*)"')
_PROBE = """<script>addEventListener("load", () => setTimeout(() => {
    document.documentElement.dataset.notes = JSON.stringify({
        loaded: performance.getEntriesByType("resource").map((one) => one.name),
        overhang: document.documentElement.scrollWidth - document.documentElement.clientWidth});
    parent.postMessage(document.documentElement.dataset.notes, "*");
}, 2000));</script>"""
_FRAME = """<iframe src="%s" style="width: %dpx; border: 0"></iframe>
<script>addEventListener("message", ({ data }) => { document.documentElement.dataset.notes = data; });</script>"""


class Shown(NamedTuple):
    """A page after its scripts ran.

    Attributes:
        dom: as HTML.
        console: what it was told.
        loaded: the URL of all that the page asked for over a network, got or not.
        overhang: pixels by which the page is wider than the window.
    """

    dom: str
    console: list[str]
    loaded: list[str]
    overhang: int


def show(page: Path, profile: Path, width: int = 1200) -> Shown:
    """Opens a page, from a copy beside it that takes notes.

    Args:
        page: the file.
        profile: a folder for the browser's own files.
        width: of the window, in pixels, 500 at least: a window gets no narrower.
    """
    noting = _noting(page)
    dom, told = _dump(noting, profile, width)
    noting.unlink()
    return Shown(dom, _CONSOLE.findall(told), **_notes(dom))


def overhang_of_phone(page: Path, profile: Path, width: int) -> int:
    """As `Shown.overhang`, of a page in a frame, which may be narrower than any window."""
    noting, frame = _noting(page), page.with_name(f"frame-{page.name}")
    frame.write_text(_FRAME % (noting.name, width))
    dom, _ = _dump(frame, profile, 1200)
    noting.unlink()
    frame.unlink()
    return _notes(dom)["overhang"]


def _noting(page: Path) -> Path:
    noting = page.with_name(f"noting-{page.name}")
    noting.write_text(page.read_text() + _PROBE)
    return noting


def _notes(dom: str) -> dict[str, Any]:
    return json.loads(html.unescape(_NOTES.search(dom)[1]))


def _dump(page: Path, profile: Path, width: int) -> tuple[str, str]:
    """What is on a page after its scripts ran, as HTML, and what the browser logged."""
    done = subprocess.run(
        [BINARY, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--proxy-server=http://127.0.0.1:9", f"--user-data-dir={profile}", f"--window-size={width},1000",
         "--enable-logging=stderr", "--v=0", "--virtual-time-budget=10000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr
