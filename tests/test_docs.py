"""What the pages point at is there, and what is made from the code is as the code."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from scripts import api_reference, config_reference

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / page for page in subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True,
    check=True).stdout.split()]
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(_FENCE.sub("", page.read_text()))
            if not link.startswith(("http://", "https://", "mailto:"))]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}, but {target.name} has no such heading"


def test_the_readme_has_links_to_check():
    assert len(links(ROOT / "README.md")) > 10


def test_every_page_of_docs_can_be_found_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        waiting += [found for link in links(page)
                    if (found := (page.parent / link.partition("#")[0]).resolve()).suffix == ".md"
                    and found not in reached]
    assert set((ROOT / "docs").glob("*.md")) <= reached


def test_the_reference_of_settings_is_as_the_code():
    written = (ROOT / "docs" / "configuration.md").read_text()
    assert written == config_reference.render(), "run `make docs`"


def test_the_reference_of_the_python_interface_is_as_the_code():
    written = (ROOT / "docs" / "api.md").read_text()
    assert written == api_reference.render(), "run `make docs`"


def test_every_quoted_message_is_one_of_the_code():
    """Messages change; the page that explains them must follow."""
    said = [one for file in [*ROOT.glob("*/**/*.py"), ROOT / "scripts" / "setup.sh"] if "tests" not in file.parts
            and ".venv" not in file.parts for one in _texts(file)]
    quoted = [part for line in (ROOT / "docs" / "troubleshooting.md").read_text().splitlines()
              if line.startswith("| `") and "not registered" not in line for part in re.findall(r"`([^`]+)`", line)[:1]]
    assert len(quoted) > 10
    for message in quoted:
        pattern = re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL)
        assert any(pattern.search(text) for text in said), f"no code says: {message}"


def _texts(file: Path) -> list[str]:
    """The string literals of a program, with … for what an f-string fills in; a shell script as it is."""
    if file.suffix != ".py":
        return [file.read_text()]
    return ["".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            if isinstance(node, ast.JoinedStr) else node.value
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))]
