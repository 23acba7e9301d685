"""The page of a real household, of what the pipeline pushed, by the command that people type."""

import html
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e


def test_a_household_is_explained(pipeline_run, tmp_path):
    user = pipeline_run.events.user_id.value_counts().index[0]
    done = subprocess.run([sys.executable, "-m", "tfx_pipeline.explain", "--workdir", str(pipeline_run.workdir),
                           "--user", user, "--output", str(tmp_path / "page.html")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    page = (tmp_path / "page.html").read_text()
    assert f"Why user {user} is shown these items" in page and len(page) < 500_000
    titles = dict(zip(pipeline_run.catalog.item_id, pipeline_run.catalog.title))
    categories = set(pipeline_run.catalog.category_id)
    of_user = {titles[item] or item for item in pipeline_run.events[pipeline_run.events.user_id == user].item_id}
    recommended = page[page.index('<ol class="recommended">'):page.index('id="attention"')]
    names = [html.unescape(name) for name in re.findall(r"<b>([^<]+)</b>(?: <span|\s+<small)", recommended)]
    assert len(names) == 20 and set(names) <= set(titles.values()) | set(titles)
    told = [html.unescape(one) for one in re.findall(r'<span class="category">([^<]*)</span>', recommended)]
    assert len(told) == 20 and set(told) <= categories
    reasons = [html.unescape(one) for one in re.findall(r'<span>(.*?), <span class="when">', recommended)]
    assert reasons and set(reasons) <= of_user  # what spoke for them are the household's own events
    cards = page[page.index('<div class="cards">'):]
    for card in re.findall(r"<article.*?</article>", cards, re.DOTALL):
        weights = [float(one) for one in re.findall(r"<b>([\d.]+) %</b>", card)]
        assert sum(weights) == pytest.approx(100, abs=0.6)  # six rounded to a tenth, and what is too little to tell
