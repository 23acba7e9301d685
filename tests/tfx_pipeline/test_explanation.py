"""What the page that explains a user shows, of answers made by hand."""

import calendar
import html
import re

import pytest

from serving.client import CategoryPrediction, WeighedEvent
from tests.tfx_pipeline import chromium, explained
from tests.tfx_pipeline.explained import ANN, DAY, EMPTY, EVENTS, NOT_HELD_OUT, PREDICTIONS
from tfx_pipeline.explanation import lanes, page, reasons
from tfx_pipeline.explanation.next_basket import Item, NextBasket
from tfx_pipeline.explanation.subject import Event
from tfx_pipeline.explanation.time_axis import Mark, TimeAxis


def text_of(page_html: str) -> str:
    """What a page says, without its markup, scripts and styles."""
    bare = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page_html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(bare))


def lanes_of(subject) -> dict[str, lanes.Lane]:
    return {lane.category_id: lane for lane in lanes.make(subject, TimeAxis.over(0, 30 * DAY))}


# ------------------------------------------------------------------------------------------------------------ the page


def test_the_page_tells_who_was_asked_what_is_expected_and_what_came():
    told = text_of(page.render(ANN))
    for said in (
        "Why user ann is shown these items",
        "ULIM, version 17, asked on 1970-01-31",
        "From 6 events in 3 categories, the model expects dairy (50.0 %), bakery (25.0 %) and toys (12.5 %) next. Of "
        "the 2 items that the user really took next, unseen by the model, 1 is among its 3 recommendations.",
        "Baskets 3, 1970-01-01 to 1970-01-21",
        "dairy 4 events; 3 hold 90 % of attention", "toys no event yet", "spirits 1 event",
        "50.0 % 80 % copied", "12.5 % 0 % copied", "and the user's biggest other categories", "not predicted",
    ):
        assert said in told, said


def test_each_recommendation_is_told_with_what_spoke_for_it():
    told = text_of(page.render(ANN))
    for said in (
        "1 Whole milk, 1 l dairy 50.0 % · long-term · score -0.51 in the history 4 times, last 1970-01-21 "
        "Whole milk, 1 l, 3×, last 1970-01-21 90.0 %",
        "2 Bun <b> ★ in the next basket bakery 25.0 % · short-term · score -2.50 in the history 1 time, last "
        "1970-01-01 Bun <b>, 1970-01-01 100.0 %",
        "3 ball toys 12.5 % · backfill · score -9.00 new to this user popular with everybody",
    ):
        assert said in told, said


def test_the_attention_is_told_event_by_event_with_the_rest():
    told = text_of(page.render(ANN))
    assert ("Whole milk, 1 l, 1970-01-21 40.0 % Whole milk, 1 l, 1970-01-21 30.0 % Whole milk, 1 l, 1970-01-01 20.0 % "
            "all other events of the category 10.0 %") in told
    assert told.count("all other events") == 1  # of bakery, one event has it all


def test_the_next_basket_is_told_recommended_items_first():
    assert NextBasket.of(ANN) == NextBasket([Item("Bun <b>", "bakery", 2, True), Item("Tea", "spirits", 0, False)], 3)
    assert "★ Bun <b> bakery yes 2 ☆ Tea spirits new not" in text_of(page.render(ANN))


def test_of_a_user_who_was_not_held_out_nothing_is_said_of_what_came_next():
    told = text_of(page.render(NOT_HELD_OUT))
    assert "next basket" not in told and "came next" not in told and "1 Whole milk, 1 l" in told


def test_a_user_without_a_history_has_a_page():
    told = text_of(page.render(EMPTY))
    for said in ("Without a history, the model expects dairy (50.0 %) next.", "dairy no event yet",
                 "generated: no event of this category", "No category that is shown has an event", "Baskets none"):
        assert said in told, said


def test_names_are_shown_and_never_run():
    evil = "</script><script>alert(1)</script>"
    written = page.render(ANN._replace(user_id=evil, titles={"milk": evil, "bun": evil}))
    assert written.count("<script>") == 1 and "&lt;script&gt;alert(1)" in written


def test_a_written_page_replaces_the_one_before_and_asks_for_nothing_else(tmp_path):
    file = tmp_path / "new" / "ann.html"
    page.write(NOT_HELD_OUT, file)
    page.write(ANN, file)
    written = file.read_text()
    assert "really took next" in written and [one.name for one in file.parent.iterdir()] == ["ann.html"]
    assert re.findall(r'(?:src|href)="([^"]*)"', written) == ["data:,"]
    assert "@import" not in written and "url(" not in written


def test_where_nothing_is_expected_the_page_says_so():
    none = ANN._replace(answer=ANN.answer._replace(predictions=[CategoryPrediction("dairy", 0.0, 0.0)]))
    told = text_of(page.render(none))
    assert "the model expects no category next." in told and "spirits 1 event" in told


# ----------------------------------------------------------------------------------------------------------- the lanes


def test_the_likeliest_categories_have_lanes_and_the_biggest_of_the_others():
    predictions = [CategoryPrediction(f"p{place}", 0.1, 0.0) for place in range(20)]
    events = [Event("x", category, 0, 0) for category, times in
              {"p3": 9, "a": 5, "b": 4, "p15": 3, "c": 2, "d": 1}.items() for _ in range(times)]
    assert lanes.shown(predictions, events) == [*(f"p{place}" for place in range(8)), "a", "b", "p15"]
    assert lanes.shown([], events[:9]) == ["p3"]


def test_dots_are_events_with_the_weight_of_each_once():
    dairy = lanes_of(ANN)["dairy"]
    # The axis has 2 % at its ends for 30 days in 96 %: 3.2 % a day.
    assert [(dot.x, dot.weight, dot.basket) for dot in dairy.dots] == [
        (34.0, None, 1), (2.0, 0.2, 0), (66.0, 0.3, 2), (66.0, 0.4, 2)]
    assert [dot.radius for dot in dairy.dots] == sorted(dot.radius for dot in dairy.dots)
    assert dairy.dots[-1].told == "Whole milk, 1 l, 1970-01-21: 40.0 % of the attention"
    assert dairy.dots[0].told == "Whole milk, 1 l, 1970-01-11"
    assert dairy.rest == pytest.approx(0.1) and dairy.undrawn == 0


def test_a_lane_knows_its_prediction_its_colour_and_what_came():
    found = lanes_of(ANN)
    assert [(name, lane.colour, lane.rank, len(lane.came)) for name, lane in found.items()] == [
        ("dairy", 1, 1, 0), ("bakery", 2, 2, 1), ("toys", 3, 3, 0), ("spirits", 0, 0, 1)]
    assert found["bakery"].came == [lanes.Came(True, "Bun <b>")] and found["spirits"].came == [lanes.Came(False, "Tea")]
    assert found["dairy"].prediction == PREDICTIONS[0] and found["spirits"].prediction is None
    assert found["bakery"].rest == 0.0  # one event has all of the attention


def test_a_biggest_category_that_is_predicted_far_down_has_its_rank_and_no_colour():
    far = [CategoryPrediction(f"p{place}", 0.01, 0.0) for place in range(8)]
    answer = ANN.answer._replace(predictions=[*far, CategoryPrediction("dairy", 0.001, 1.0)])
    dairy = lanes_of(ANN._replace(answer=answer))["dairy"]
    assert (dairy.colour, dairy.rank, dairy.prediction.probability) == (0, 9, 0.001)


def test_events_at_one_place_are_drawn_apart():
    crowd = ANN._replace(events=[Event("milk", "dairy", 0, 0)] * 3 + [Event("milk", "dairy", 20 * DAY, 1)],
                         answer=ANN.answer._replace(attention={}))
    places = [(dot.x, dot.y) for dot in lanes_of(crowd)["dairy"].dots]
    assert len(set(places)) == 4 and places[3] == (66.0, lanes.HEIGHT / 2)


def test_of_a_long_lane_dots_are_drawn_evenly_and_the_weighed_ones_always():
    subject = explained.busy(5_200, 2)
    first, second = lanes.make(subject, TimeAxis.over(0, subject.now))
    for lane in (first, second):
        assert len(lane.dots) == lanes.MOST_DOTS and lane.undrawn == 2_600 - lanes.MOST_DOTS
        early = sum(dot.x < 50 for dot in lane.dots)
        assert lanes.MOST_DOTS * 0.48 < early < lanes.MOST_DOTS * 0.52
    assert first.told == "2,600 events, 120 drawn" and first.dots[-1].weight == 1.0


def test_an_attention_to_what_the_run_no_longer_has_is_told_but_not_drawn():
    gone = (WeighedEvent("gone", 5, 0.9),)
    lane = lanes_of(ANN._replace(answer=ANN.answer._replace(attention={"dairy": gone})))["dairy"]
    assert lane.attention == gone and {dot.weight for dot in lane.dots} == {None}


def test_stems_are_baskets_as_tall_as_they_are_full():
    assert lanes.stems(EVENTS, TimeAxis.over(0, 30 * DAY)) == [
        lanes.Stem(2.0, 20.0, "1 basket of 2 events, 1970-01-01"),
        lanes.Stem(34.0, 10.0, "1 basket of 1 event, 1970-01-11"),
        lanes.Stem(66.0, 30.0, "1 basket of 3 events, 1970-01-21")]
    assert lanes.stems([], TimeAxis.over(0, DAY)) == []
    years = TimeAxis.over(0, 10_000 * DAY)
    assert lanes.stems(EVENTS[:3], years)[0].told == "1 basket of 2 events, 1970-01-01"
    both = [Event("a", "c", 0, 0), Event("a", "c", DAY, 1)]
    assert [one.told for one in lanes.stems(both, years)] == ["2 baskets of 2 events, 1970-01-01 to 1970-01-02"]


# ------------------------------------------------------------------------------------------------------------ the axis


def at(year: int, month: int, day: int = 1) -> int:
    return calendar.timegm((year, month, day, 0, 0, 0))


@pytest.mark.parametrize(("first", "last", "texts"), [
    (at(2017, 1, 3), at(2017, 12, 11), ["Mar 2017", "May", "Jul", "Sep", "Nov"]),
    (at(2016, 11, 20), at(2017, 3, 2), ["Dec 2016", "Jan 2017", "Feb", "Mar"]),
    (at(2017, 5, 1), at(2017, 5, 4), ["1 May 2017", "2 May", "3 May", "4 May"]),
    (at(2001, 6), at(2005, 2), ["Jul 2001", "Jan 2002", "Jul", "Jan 2003", "Jul", "Jan 2004", "Jul", "Jan 2005"]),
    (at(1994, 2), at(2016, 2), ["1995", "2000", "2005", "2010", "2015"]),
])
def test_marks_are_round_dates_eight_at_most(first, last, texts):
    marks = TimeAxis.over(first, last).marks()
    assert [mark.text for mark in marks] == texts
    assert [mark.x for mark in marks] == sorted({mark.x for mark in marks})


def test_places_on_the_axis_are_proportional_to_time():
    axis = TimeAxis.over(at(2017, 1, 1), at(2017, 1, 5))
    assert axis.marks()[:2] == [Mark(2.0, "1 Jan 2017"), Mark(26.0, "2 Jan")]
    assert [axis.x(at(*date)) for date in ((2016, 1), (2017, 1, 3), (2017, 1, 5), (2018, 1))] == [2.0, 50.0, 98.0, 98.0]


def test_a_single_moment_has_a_place():
    axis = TimeAxis.over(5 * DAY, 5 * DAY)
    assert axis.x(5 * DAY) == 98.0 and [mark.text for mark in axis.marks()] == ["5 Jan 1970", "6 Jan"]


# --------------------------------------------------------------------------------------------------------- the reasons


def test_events_of_one_item_are_one_reason():
    told = reasons.merged(ANN, [WeighedEvent("bun", 0, 0.45), WeighedEvent("milk", 10 * DAY, 0.3),
                                WeighedEvent("milk", 20 * DAY, 0.2)])
    assert [(one.name, one.when) for one in told] == [("Whole milk, 1 l", "2×, last 1970-01-21"),
                                                      ("Bun <b>", "1970-01-01")]
    assert [one.weight for one in told] == pytest.approx([0.5, 0.45])


def test_where_no_event_is_named_the_channel_says_why():
    assert reasons.without_reason("short-term") == "the newest events as a whole"


# -------------------------------------------------------------------------------------------------------- in a browser


@pytest.mark.parametrize("subject", [ANN, NOT_HELD_OUT, EMPTY, explained.busy(5_200, 12), explained.busy(3, 3)],
                         ids=["held out", "not held out", "no history", "5,200 events", "3 events"])
@chromium.needs_chromium
def test_the_page_fits_wide_and_narrow_windows_and_needs_nothing(subject, tmp_path):
    page.write(subject, tmp_path / "user.html")
    assert (tmp_path / "user.html").stat().st_size < 500_000
    shown = chromium.show(tmp_path / "user.html", tmp_path / "profile")
    assert (shown.console, shown.loaded, shown.overhang) == ([], [], 0)
    assert "<title>" not in shown.dom[shown.dom.index("<main>"):]  # the script ran: it took them over
    assert chromium.overhang_of_phone(tmp_path / "user.html", tmp_path / "profile", 400) == 0


@chromium.needs_chromium
def test_what_is_under_the_pointer_is_told_with_its_basket_marked(tmp_path):
    points = """<script>addEventListener("load", () => document.querySelector("circle.weighed[data-basket='2']")
        .dispatchEvent(new PointerEvent("pointerover", { bubbles: true })));</script>"""
    (tmp_path / "user.html").write_text(page.render(ANN) + points)
    dom = chromium.show(tmp_path / "user.html", tmp_path / "profile").dom
    assert re.search(r'<div id="told"[^>]*>([^<]*)</div>', dom)[1] == (
        "Whole milk, 1 l, 1970-01-21: 30.0 % of the attention")
    assert re.findall(r'class="(\w+) same"', dom) == ["weighed", "weighed", "plain"]  # twice milk, and rum


@chromium.needs_chromium
def test_a_phone_tells_what_sticks_out(tmp_path):
    (tmp_path / "wide.html").write_text("<body style='margin: 0'><div style='width: 450px'>wide</div>")
    assert chromium.overhang_of_phone(tmp_path / "wide.html", tmp_path / "profile", 400) == 50
