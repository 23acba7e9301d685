"""The gate's rules on profiles small enough to work out by hand."""

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2

from tfx_pipeline.components.data_gate import report, rules
from tfx_pipeline.components.data_gate.report import PASS, STOP, WARN, Check, Profile, Report
from tfx_pipeline.config import DataGateConfig

CONFIG = DataGateConfig()
IN_2019 = 18_000  # days since 1970


def profile(categories, users=None, days=None):
    return Profile(categories, users or {10: 4}, days or {IN_2019: sum(categories.values())})


def verdicts(checks):
    return {check.rule: check.verdict for check in checks}


def test_the_divergence_of_shares():
    # Half and half against all in one: with the middle (3/4, 1/4) it is (.5 log2(2/3) + .5 log2(2) + log2(4/3)) / 2.
    assert rules.category_divergence(profile({"a": 5, "b": 5}), profile({"a": 3})) == pytest.approx(0.311278, abs=1e-6)
    assert rules.category_divergence(profile({"a": 1, "b": 1}), profile({"a": 40, "b": 40})) == 0
    assert rules.category_divergence(profile({"a": 7}), profile({"b": 2})) == 1


def test_quantiles_of_history_lengths():
    ten_users = profile({"a": 1}, users={1: 4, 3: 1, 8: 4, 90: 1})
    assert [rules.history_length(ten_users, quantile) for quantile in (0.4, 0.5, 0.9, 1.0)] == [1, 3, 8, 90]


def test_the_event_rate_is_that_of_the_newest_days():
    days = profile({"a": 1}, days={100: 1000, 108: 10, 110: 20})
    assert rules.event_rate(days, 3) == 10  # days 108, 109 and 110
    assert rules.event_rate(days, 28) == pytest.approx(1030 / 11)  # all eleven days there are


@pytest.mark.parametrize(("categories", "days", "rule", "verdict", "told"), [
    ({"a": 9, "b": 1}, None, "largest category", PASS, "'a' has 90.0% of all events"),
    ({"a": 91, "b": 9}, None, "largest category", STOP, "'a' has 91.0% of all events"),
    ({"a": 1, "b": 1}, None, "number of categories", PASS, "2 categories"),
    ({"a": 1}, None, "number of categories", STOP, "1 categories"),
    ({"a": 1, "b": 1}, {0: 5, IN_2019: 95}, "early events", WARN, "5.0% of the events are from before 1990"),
    ({"a": 1, "b": 1}, {0: 6, IN_2019: 94}, "early events", STOP, "the oldest of 1970-01-01: are the timestamps unix"),
    ({"a": 1, "b": 1}, {7304: 1}, "early events", STOP, "the oldest of 1989-12-31"),
    ({"a": 1, "b": 1}, {7305: 1}, "early events", PASS, "0.0% of the events"),
])
def test_absolute_rules(categories, days, rule, verdict, told):
    [check] = [one for one in rules.absolute_checks(profile(categories, days=days), CONFIG) if one.rule == rule]
    assert check.verdict == verdict and told in check.told


BASELINE = Profile({"a": 40, "b": 30, "c": 20, "d": 10}, {10: 5, 20: 5}, {IN_2019 + day: 10 for day in range(28)})


@pytest.mark.parametrize(("change", "stopped"), [
    ({}, set()),
    ({"category_events": {"a": 80, "b": 60, "c": 40, "d": 20}}, set()),
    ({"category_events": {"a": 10, "b": 20, "c": 30, "d": 40}}, {"category drift"}),
    ({"category_events": {"a": 57, "b": 43}}, {"category drift", "categories kept"}),
    ({"history_users": {20: 5, 40: 5}}, set()),
    ({"history_users": {21: 5, 40: 5}}, {"history length, the median"}),
    ({"history_users": {10: 5, 41: 5}}, {"history length, the 90th percentile"}),
    ({"history_users": {4: 5, 10: 5}}, {"history length, the median"}),
    # Twice as many days: up to four times as long, and down to half. Half as many: from a quarter to twice.
    ({"history_users": {40: 5, 80: 5}, "day_events": {IN_2019 + day: 10 for day in range(56)}}, set()),
    ({"history_users": {41: 5, 80: 5}, "day_events": {IN_2019 + day: 10 for day in range(56)}},
     {"history length, the median"}),
    ({"history_users": {5: 5, 9: 5}, "day_events": {IN_2019 + day: 10 for day in range(56)}},
     {"history length, the 90th percentile"}),
    ({"history_users": {3: 5, 5: 5}, "day_events": {IN_2019 + day: 10 for day in range(14)}}, set()),
    ({"day_events": {IN_2019 + day: 20 for day in range(28)}}, set()),
    ({"day_events": {IN_2019 + day: 21 for day in range(28)}}, {"event rate"}),
    ({"day_events": {IN_2019 + day: 4 for day in range(28)}}, {"event rate"}),
])
def test_rules_that_compare(change, stopped):
    checks = rules.drift_checks(BASELINE._replace(**change), BASELINE, CONFIG)
    assert len(checks) == 5
    assert {check.rule for check in checks if check.verdict == STOP} == stopped


def test_a_drift_is_told_with_numbers():
    drifted = BASELINE._replace(category_events={"a": 10, "b": 30, "c": 20, "d": 40})
    check = rules.drift_checks(drifted, BASELINE, CONFIG)[0]
    # (.1 log2(.1/.25) + .4 log2(.4/.25)) / 2, twice: a and d change places.
    assert check.value == pytest.approx(0.139036, abs=1e-6)
    assert "0.139 from the earlier run's" in check.told and check.setting == "max_category_divergence"
    assert "'a' from 40.0% to 10.0%, 'd' from 10.0% to 40.0%" in check.told
    shorter = rules.drift_checks(BASELINE._replace(history_users={4: 10}), BASELINE, CONFIG)[2]
    assert shorter.told == ("the median of the histories is 4 events long, and was 10 in the earlier run, whose log "
                            "has 28 days before the held-out time where this has 28")


def test_skew_is_told_and_stops_nothing():
    other = BASELINE._replace(category_events={"a": 10, "b": 20, "c": 30, "d": 40})
    assert verdicts(rules.skew_checks(BASELINE, BASELINE, CONFIG)) == {"category skew": PASS}
    assert verdicts(rules.skew_checks(BASELINE, other, CONFIG)) == {"category skew": WARN}
    assert rules.skew_checks(BASELINE, Profile({}, {}, {}), CONFIG) == []


def test_what_the_ingest_put_right_is_told():
    counts = {"category_conflicts": 6, "items": 100, "events_cut_by_max_history": 5, "events": 100}
    conflicts, cut = rules.ingest_checks(counts, CONFIG)
    assert conflicts.verdict == WARN and "6 items have several categories" in conflicts.told
    assert cut.verdict == PASS and cut.value == 0.05


def test_only_anomalies_of_error_severity_stop():
    assert verdicts(rules.anomaly_checks(anomalies_pb2.Anomalies(), "split train")) == {"schema, split train": PASS}
    found = anomalies_pb2.Anomalies()
    found.anomaly_info["category_id"].description = "The values are gone."
    found.anomaly_info["category_id"].severity = anomalies_pb2.AnomalyInfo.ERROR
    [check] = rules.anomaly_checks(found, "split train")
    assert check.verdict == STOP and check.told == "category_id: The values are gone."
    found.anomaly_info["category_id"].severity = anomalies_pb2.AnomalyInfo.WARNING
    assert rules.anomaly_checks(found, "split train")[0].verdict == WARN


def test_a_report_is_read_as_it_was_written(tmp_path):
    written = Report("earlier/gate", [Check("rule", WARN, 0.5, 1.0, None, "min_categories", "tóld")])
    report.write_report(written, str(tmp_path))
    assert report.read_report(str(tmp_path)) == written
    (tmp_path / report.profile_file("eval")).write_text(report.profile_as_text(BASELINE))
    assert report.read_profile(str(tmp_path), "eval") == BASELINE
