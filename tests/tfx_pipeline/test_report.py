import html
import json
import re

import numpy as np
import pytest

from tests.tfx_pipeline import chromium, report_runs
from tfx_pipeline.components.data_gate import report as gate
from tfx_pipeline.components.index_builder import index_facts
from tfx_pipeline.evaluation import results
from tfx_pipeline.report import calibration, charts, page, report, wording
from tfx_pipeline.report.blocks import GOOD, Chart, Headline, Page, Section
from tfx_pipeline.report.sections import index, push, quality
from ulim_tf.retrieval.quality import Quality

CANDIDATE = {
    "all": {"users": 7, "recall@20": 0.2, "recall@100": 0.4, "popular_recall@20": 0.05, "popular_recall@100": 0.1,
            "frequent_recall@20": 0.15, "frequent_recall@100": 0.3, "novel_recall@20": 0.02, "novel_recall@100": 0.08},
    "history <100": {"users": 5, "recall@100": 0.5, "popular_recall@100": 0.12, "frequent_recall@100": 0.35},
    "head categories": {"recall@100": 0.45},
}
LAST = {"all": {"recall@20": 0.18, "recall@100": 0.36}, "history <100": {"recall@100": 0.44}}
BLESSED = results.Verdict(True, 100, 0.4, 0.05, 0.1, 1.0, 0.36, [])
REFUSED = results.Verdict(False, 100, 0.04, 0.05, 0.1, 1.0, None,
                          ["Recall@100 0.0400 is less than evaluation.least_recall, 0.05"])


@pytest.fixture(autouse=True)
def evaluated(monkeypatch):
    """What the Evaluator's readers give, for runs that have an evaluation."""
    monkeypatch.setattr(results, "read_metrics",
                        lambda folder, model=results.CANDIDATE: CANDIDATE if model == results.CANDIDATE else LAST)
    monkeypatch.setattr(results, "read_verdict", lambda folder: BLESSED)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return report_runs.finished_run(tmp_path_factory.mktemp("run"))


def text_of(file):
    """What a page says, without its markup, scripts and styles."""
    bare = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", file.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(bare))


def test_a_finished_run_is_told_from_what_was_read_to_what_was_pushed(finished):
    told = text_of(report.write(finished))
    for said in (
        "✓ Version 1700000000 was pushed", "Events 990 Users 40 Items 300 Categories 12 Recall@100 0.4000",
        "Duration 2 min 58 s", "events 1,000 990 10 1.0 %",
        "items with several categories in the log; the latest counts 3",
        "2 rules: 1 passed, 1 to look at, 0 stopped the run. Compared with the newest earlier run that passed.",
        "event rate warn 12 events a day after 20 12 20", "category_id train High drift 0.4 is above 0.05",
        "category_id drift train largest difference of a share 0.4 0.05",
        "Steps trained 30 of 300", "Weights taken of step 20", "Highest validation recall 0.3000 at step 20",
        "slice users this servable last blessed own most frequent most popular "
        "all 7 0.4000 0.3600 0.3000 0.1000 history <100 5 0.5000 0.4400 0.3500 0.1200 head categories 0.4500",
        "@20 @100 this servable 0.2000 0.4000 last blessed 0.1800 0.3600", "items new to the user 0.0200 0.0800",
        "Users asked 2", "Copied from histories 37.5 %", "Mean calibration error 50.00 points",
        "20-50 % 2 25.00 % 75.00 % 100.00 % 0.0 % 50-100 % 2 75.00 % 25.00 % 50.00 % 50.0 %",
        "Kind scann", "Size of the servable 3.0 MiB", "Finds inside a category 99.7 %", "dairy 96.0 %",
        "Evaluator blessed", "ServableValidator blessed", "latency passed 7 ms of 100 0.5 s",
        "9 steps, 0 of them from the cache", "Trainer finished 1 min 40 s", "Every setting has its default.",
        "Statistics of the data",
    ):
        assert said in told, said
    assert "could not be made" not in told


def test_the_statistics_page_shows_each_split_and_the_shapes_of_the_log(finished):
    report.write(finished)
    told = text_of(finished.directory / "statistics.html")
    for said in (
        "category_id string 9 25.0 % 1 3 5 2", "event_timestamp 1970-01-01 1970-01-02 1970-01-02 1970-01-04 2 days 1",
        "the median is 1, the longest 99.",
        "Events of each day from 1970-01-01 to 1970-01-03: 33 a day on average, 60 at most.",
        "1 of 3 categories hold half of them.", "first dairy with 60.0 % of all.",
    ):
        assert said in told, said
    assert "could not be made" not in told


@pytest.mark.parametrize(("at", "message", "verdict"), [
    ("EventExampleGen", "10 of 20 rows are malformed", "Failed at EventExampleGen"),
    ("DataGate", "one category is everything", "Stopped by the data gate"),
])
def test_a_failed_run_is_told_as_far_as_it_came(tmp_path, at, message, verdict):
    subject = report_runs.failed_run(tmp_path, at, message)
    told = text_of(report.write(subject))
    assert f"✕ {verdict} {message} Nothing was pushed" in told
    for said in ("The log was not read to its end.", "Nothing was trained.", "The servable was not evaluated.",
                 "There is no servable to ask", "No index was built.", "The run did not come to the Pusher."):
        assert said in told
    assert "could not be made" not in told
    assert not (subject.directory / "statistics.html").exists()


def test_a_run_that_the_data_gate_stopped_shows_why_and_the_rejected_rows_are_linked(tmp_path):
    (tmp_path / "rejected").mkdir()
    (tmp_path / "rejected" / "rejected.csv").write_text("file,row,reason,raw\n")
    stop = gate.Check("categories", gate.STOP, 1.0, 2.0, None, "data_gate.min_categories", "only one category is left")
    gate.write_report(gate.Report(None, [stop]), str(tmp_path / "rejected"))
    stopped = report_runs.failed_run(tmp_path, "DataGate", "stopped")
    assert "categories stop only one category is left 1 2" in text_of(report.write(stopped))
    unread = report_runs.failed_run(tmp_path, "EventExampleGen", "malformed")
    written = report.write(unread)
    assert 'href="../rejected/rejected.csv"' in written.read_text()
    assert "only one category" not in text_of(written)  # that was another run


@pytest.mark.parametrize(("steps", "verdict"), [
    ([report_runs.step("Pusher", cached=True)], "Nothing was pushed"),
    ([report_runs.step("Pusher", cached=True, pushed=report_runs.Path("serving/ulim/17"))],
     "Nothing new: version 17 stays"),
])
def test_the_headline_of_an_unchanged_run(tmp_path, steps, verdict):
    subject = report_runs.failed_run(tmp_path, "", "")._replace(run=report_runs.Run(steps), failure=None)
    assert push.headline(subject).verdict == verdict


def test_a_refused_servable_is_told_with_its_reasons(finished, monkeypatch, tmp_path):
    monkeypatch.setattr(results, "read_verdict", lambda folder: REFUSED)
    (tmp_path / "NOT_BLESSED").touch()
    (tmp_path / "INFRA_NOT_BLESSED").touch()
    (tmp_path / "validation.json").write_text(json.dumps({"blessed": False, "checks": [
        {"name": "answers", "seconds": 1, "faults": ["an item comes twice"], "told": "", "passed": False}]}))
    steps = {step.name: step for step in finished.run.steps}
    steps["Evaluator"] = report_runs.step("Evaluator", evaluation=tmp_path, blessing=tmp_path)
    steps["Pusher"] = report_runs.step("Pusher")
    refused = finished._replace(run=report_runs.Run(list(steps.values())))
    found = push.headline(refused)
    assert (found.mood, found.verdict) == ("bad", "Refused by Evaluator")
    assert found.detail.startswith("Recall@100 0.0400 is less than evaluation.least_recall, 0.05. Nothing was pushed")
    steps["ServableValidator"] = report_runs.step("ServableValidator", blessing=tmp_path)
    found = push.headline(refused._replace(run=report_runs.Run(list(steps.values()))))
    assert found.verdict == "Refused by Evaluator and ServableValidator"
    assert "Answers: an item comes twice." in found.detail


def test_one_broken_section_costs_itself_alone(finished, monkeypatch):
    def broken(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(index_facts, "read", broken)
    told = text_of(report.write(finished))
    assert "This section could not be made: OSError: the disk is gone" in told
    assert "Users asked 2" in told and "Evaluator blessed" in told


def test_without_a_last_blessed_servable_the_baselines_are_shown(finished, monkeypatch):
    monkeypatch.setattr(results, "read_metrics",
                        lambda folder, model=results.CANDIDATE: CANDIDATE if model == results.CANDIDATE else {})
    told = text_of(report.write(finished))
    assert "There is no blessed servable of an earlier run to compare with." in told
    assert "slice users this servable own most frequent most popular all 7 0.4000 0.3000 0.1000" in told


def test_a_cached_servable_without_facts_of_its_index_is_told(finished, tmp_path):
    (tmp_path / "servable").mkdir()
    steps = [report_runs.step("IndexBuilder", cached=True, servable=tmp_path / "servable")]
    told = [block.text for block in index.blocks(finished._replace(run=report_runs.Run(steps)))]
    assert told == ["This servable is from the cache, and older than what is told of an index."]


def test_recalls_of_a_cut_off_leave_out_who_has_none():
    assert quality.recalls(CANDIDATE, {}, 20) == {
        "this servable": {"all": 0.2}, "own most frequent": {"all": 0.15}, "most popular": {"all": 0.05}}


# -------------------------------------------------------------------------------------------------------- in a browser


@chromium.needs_chromium
def test_the_page_draws_every_chart_and_asks_nothing_of_the_network(finished, tmp_path):
    shown = chromium.show(report.write(finished), tmp_path)
    assert shown.console == [] and shown.loaded == []
    charts_on_page = re.findall(r"<h3>([^<]*)</h3>", shown.dom)
    assert charts_on_page == [
        "Rejected rows by reason", "Training losses", "Validation recall", "Recall@100 by slice",
        "Reliability of category probabilities", "Copied from the history", "Duration of the steps that worked"]
    assert shown.dom.count('class="plot-container') == len(charts_on_page)
    recall_by_slice = shown.dom[shown.dom.index("<h3>Recall@100 by slice"):shown.dom.index("<h3>Reliability")]
    assert recall_by_slice.count('class="trace bars"') == 4  # this, the last blessed, two baselines
    assert re.findall(r'class="legendtext"[^>]*>([^<]*)<', recall_by_slice) == [
        "this servable", "last blessed", "own most frequent", "most popular"]


@chromium.needs_chromium
def test_the_statistics_page_draws_every_chart(finished, tmp_path):
    report.write(finished)
    shown = chromium.show(finished.directory / "statistics.html", tmp_path)
    assert shown.console == [] and shown.loaded == []
    assert shown.dom.count('class="plot-container') == shown.dom.count("<h3>") == 6
    assert "&lt;b&gt;dairy&lt;/b&gt; </text>" in shown.dom  # a category of that name, not a bold one


@chromium.needs_chromium
def test_on_a_narrow_window_nothing_sticks_out(finished, tmp_path):
    assert chromium.show(report.write(finished), tmp_path / "profile", width=500).overhang == 0
    wide = tmp_path / "wide.html"
    wide.write_text("<body style='margin: 0'><div style='width: 700px'>wide</div>")
    assert chromium.show(wide, tmp_path / "profile", width=500).overhang == 200


@chromium.needs_chromium
def test_the_browser_tells_of_a_broken_script_and_of_a_request_to_the_network(tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text("<script>nowhere()</script><img src='https://example.com/a.png'>")
    shown = chromium.show(broken, tmp_path / "profile")
    assert any("nowhere is not defined" in line for line in shown.console)
    assert shown.loaded == ["https://example.com/a.png"]


def test_nothing_is_loaded_from_elsewhere(finished):
    written = report.write(finished)
    for file in (written, written.with_name("statistics.html")):
        loaded = re.findall(r'(?:src|href)="([^"]*)"', file.read_text())
        assert loaded and not [one for one in loaded if "//" in one]
        assert "@import" not in file.read_text() and "url(" not in file.read_text()
    links = [one for one in re.findall(r'href="([^"#][^"]*)"', written.read_text()) if not one.startswith("data:")]
    assert {link for link in links if not (written.parent / link).is_file()} == set()


def test_what_names_hold_is_shown_and_never_run():
    figure = charts.bars("rows", "reason", {"</script><script>alert(1)</script>": 1})
    written = page.render(Page("<i>run", Headline(GOOD, "<b>done", ""), {}, [
        Section("a", "A & B", [Chart("<u>", figure, "\"quoted\" <b>")])], None))
    assert "&lt;b&gt;done" in written and "A &amp; B" in written and "<b>" not in written and "<i>" not in written
    assert "<script>alert" not in written and "&lt;script&gt;alert(1)" in written


# ---------------------------------------------------------------------------------------------------------- the figures


def test_calibration_of_two_users_by_hand():
    # Bin [.05, .1): .06 with share 0 and copied 1, .08 with share .5 and copied .5. Bin [.5, 1]: .6 and 1.0.
    probability = np.array([[0.6, 0.06], [1.0, 0.08]])
    copied = np.array([[0.5, 1.0], [0.0, 0.5]])
    share = np.array([[0.5, 0.0], [0.25, 0.5]])
    found = calibration.measure(probability, copied, share)
    low, high = found.bins
    assert (low.low, low.high, low.predictions) == (0.05, 0.1, 2)
    assert (low.probability, low.share, low.in_basket) == pytest.approx((0.07, 0.25, 0.5))
    assert low.copied == pytest.approx((0.06 + 0.04) / 0.14)
    assert (high.low, high.high, high.predictions) == (0.5, 1.0, 2)
    assert (high.probability, high.share, high.in_basket) == pytest.approx((0.8, 0.375, 1.0))
    assert high.copied == pytest.approx(0.3 / 1.6)
    assert found.error == pytest.approx((2 * 0.18 + 2 * 0.425) / 4)
    assert (found.users, found.probability, found.share) == (2, pytest.approx(0.87), pytest.approx(0.625))
    assert found.copied == pytest.approx((0.3 + 0.06 + 0.04) / 1.74)


def test_probabilities_that_come_true_have_no_error():
    probability = np.array([[0.3, 0.7], [0.3, 0.7]])
    share = np.array([[0.6, 0.4], [0.0, 1.0]])
    assert calibration.measure(probability, np.zeros((2, 2)), share).error == pytest.approx(0.0)


@pytest.mark.parametrize("shape", [(0, 3), (2, 3)])
def test_calibration_refuses_shapes_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"must have one shape \[n, K\] with n and K at least 1"):
        calibration.measure(np.zeros(shape), np.zeros((2, 2)), np.zeros(shape))


def test_facts_of_an_index_name_the_worst_categories_and_count_the_files(tmp_path):
    (tmp_path / "servable").mkdir()
    (tmp_path / "servable" / "saved_model.pb").write_bytes(b"x" * 1500)
    (tmp_path / "categories").write_text("dairy\nbakery\nmeat\n")
    written = index_facts.of(Quality(0.98, 0.97, {2: 1.0, 1: 0.99, 3: 0.9}), kind="blocked", items=8,
                             category_vocabulary=str(tmp_path / "categories"),
                             rare=2, servable=str(tmp_path / "servable"))
    index_facts.write(written, str(tmp_path))
    assert index_facts.read(tmp_path) == index_facts.IndexFacts(
        "blocked", 8, 3, 1500, 0.98, 0.97, {"meat": 0.9, "dairy": 0.99}, 2)


@pytest.mark.parametrize(("told", "expected"), [
    (wording.number(1234567), "1,234,567"), (wording.number(0.123456), "0.1235"), (wording.number(1498009625.3),
                                                                                 "1,498,009,625"),
    (wording.share(0.1234), "12.3 %"), (wording.duration(8.26), "8.3 s"), (wording.duration(125), "2 min 5 s"),
    (wording.duration(4200), "1 h 10 min"), (wording.duration(98 * 86400), "98 days"), (wording.size(900), "900 B"),
    (wording.size(3 * 2**20), "3.0 MiB"), (wording.size(5 * 2**30), "5.00 GiB"),
    (wording.moment(86460), "1970-01-02 00:01 UTC"),
])
def test_numbers_are_written_as_people_read_them(told, expected):
    assert told == expected
