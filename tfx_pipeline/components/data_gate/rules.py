"""The rules of the data gate: pure functions of counts, each giving `Check`s with a sentence for people.

A rule that compares has no say where there is no earlier run.
"""

import datetime
import math
from collections.abc import Mapping
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2

from tfx_pipeline.components.data_gate.report import PASS, STOP, WARN, Check, Profile
from tfx_pipeline.config import DataGateConfig

_MOVED_SHOWN = 3
_QUANTILES = (("the median", 0.5), ("the 90th percentile", 0.9))


def absolute_checks(train: Profile, config: DataGateConfig) -> list[Check]:
    """What holds for any log: some categories, none of them nearly everything, times of this age."""
    events = sum(train.category_events.values())
    largest = max(train.category_events, key=lambda category: (train.category_events[category], category))
    categories, share = len(train.category_events), train.category_events[largest] / events
    early = sum(count for day, count in train.day_events.items() if day < _first_day(config.first_year))
    early_share = early / sum(train.day_events.values())
    oldest = _date(min(train.day_events))
    return [
        Check("number of categories", _stop(categories < config.min_categories), categories, config.min_categories,
              None, "min_categories", f"the log has events in {categories:,} categories"),
        Check("largest category", _stop(share > config.max_category_share), share, config.max_category_share, None,
              "max_category_share", f"{largest!r} has {share:.1%} of all events"),
        Check("early events", STOP if early_share > config.max_early_share else WARN if early else PASS, early_share,
              config.max_early_share, None, "max_early_share",
              f"{early_share:.1%} of the events are from before {config.first_year} (data_gate.first_year), the oldest "
              f"of {oldest}" + (": are the timestamps unix seconds? Days, minutes or hours since 1970 look like this, "
                                "and so does a clock that was never set" if early else "")),
    ]


def drift_checks(train: Profile, baseline: Profile, config: DataGateConfig) -> list[Check]:
    """How far a run's split train is from that of an earlier run."""
    divergence = category_divergence(train, baseline)
    now, before = len(train.category_events), len(baseline.category_events)
    growth = _span(train) / _span(baseline)
    rate, rate_before = event_rate(train, config.rate_days), event_rate(baseline, config.rate_days)
    return [
        Check("category drift", _stop(divergence > config.max_category_divergence), divergence,
              config.max_category_divergence, None, "max_category_divergence",
              f"the categories' shares of events are {divergence:.3f} from the earlier run's (Jensen-Shannon "
              f"divergence: 0 the same, 1 nothing in common); {_moved(train, baseline)}"),
        Check("categories kept", _stop(now < config.min_categories_kept * before), now / before,
              config.min_categories_kept, 1.0, "min_categories_kept",
              f"{now:,} categories have events, {before:,} had in the earlier run"),
        *(_ratio_check(f"history length, {name}", history_length(train, quantile), history_length(baseline, quantile),
                       config.max_history_ratio, "max_history_ratio",
                       f"{name} of the histories is {{:,.0f}} events long, and was {{:,.0f}} in the earlier run, whose "
                       f"log has {_span(baseline):,} days before the held-out time where this has {_span(train):,}",
                       growth)
          for name, quantile in _QUANTILES),
        _ratio_check("event rate", rate, rate_before, config.max_rate_ratio, "max_rate_ratio",
                     f"the newest {config.rate_days} days before the held-out time have {{:,.1f}} events a day, and "
                     "had {:,.1f} in the earlier run"),
    ]


def skew_checks(train: Profile, held_out: Profile, config: DataGateConfig) -> list[Check]:
    """How far the users that a model is evaluated on are from those that it is trained on; none of it stops a run."""
    if not held_out.category_events:
        return []
    divergence = category_divergence(held_out, train)
    return [Check("category skew", WARN if divergence > config.max_skew_divergence else PASS, divergence,
                  config.max_skew_divergence, None, "max_skew_divergence",
                  f"the categories' shares of events in split eval are {divergence:.3f} from those in split train "
                  f"(Jensen-Shannon divergence); {_moved(held_out, train)}")]


def served_checks(served: Profile, age_events: Mapping[int, int], unknown_events: int, train: Profile,
                  config: DataGateConfig) -> list[Check]:
    """How far what a server is asked about is from what its model was trained on.

    Args:
        served: of the histories of requests; its categories are of the events whose items are known.
        age_events: whole days from an event to the request -> events.
        unknown_events: those of items that training did not know.
        train: of the split train, asked about on its last day.
        config: gives the bounds.
    """
    unknown_share = unknown_events / sum(age_events.values())
    checks = [Check("unknown items", _stop(unknown_share > config.max_unknown_share), unknown_share,
                    config.max_unknown_share, None, "max_unknown_share",
                    f"{unknown_share:.1%} of the events that are sent have items that training did not know")]
    if not served.category_events:
        return checks
    divergence = category_divergence(served, train)
    last_day = max(train.day_events)
    trained_age = {last_day - day: events for day, events in train.day_events.items()}
    return [
        *checks,
        *absolute_checks(served, config),
        Check("category skew", _stop(divergence > config.max_skew_divergence), divergence, config.max_skew_divergence,
              None, "max_skew_divergence",
              f"the categories' shares of events that are sent are {divergence:.3f} from those in training "
              f"(Jensen-Shannon divergence); {_moved(served, train)}"),
        *(_ratio_check(f"history length, {name}", history_length(served, quantile), history_length(train, quantile),
                       config.max_history_ratio, "max_history_ratio",
                       f"{name} of the histories that are sent is {{:,.0f}} events long, and is {{:,.0f}} in training")
          for name, quantile in _QUANTILES),
        *(_ratio_check(f"age of events, {name}", 1 + _quantile(age_events, quantile),
                       1 + _quantile(trained_age, quantile), config.max_age_ratio, "max_age_ratio",
                       f"{name} of the events that are sent is from {{:,.0f}} days before the request, the day of the "
                       "request counted, and in training from {:,.0f} before its end")
          for name, quantile in _QUANTILES),
    ]


def ingest_checks(summary: Mapping[str, Any], config: DataGateConfig) -> list[Check]:
    """What the ingest put right and a person may want to know; none of it stops a run.

    Args:
        summary: `ingest_summary.json`.
        config: gives the share that is told.
    """
    kept = (("conflicting categories", "category_conflicts", "items",
             "items have several categories in the log; the catalogue's, or the latest, was taken"),
            ("long histories", "events_cut_by_max_history", "events",
             "events are beyond ingest.max_history of their user and were left out"))
    checks = []
    for rule, name, of, what in kept:
        share = summary[name] / max(summary[of], 1)
        checks.append(Check(rule, WARN if share > config.told_share else PASS, share, config.told_share, None,
                            "told_share", f"{summary[name]:,} {what}"))
    return checks


def anomaly_checks(anomalies: anomalies_pb2.Anomalies, where: str, error_verdict: str = STOP) -> list[Check]:
    """What differs from the schema.

    Args:
        anomalies: of one comparison.
        where: completes "schema, ..." and names it, such as "split train".
        error_verdict: of those of error severity; the others are told.
    """
    infos = [(name, info) for name, info in sorted(anomalies.anomaly_info.items())]
    if anomalies.HasField("dataset_anomaly_info"):
        infos.append(("the examples", anomalies.dataset_anomaly_info))
    rule = f"schema, {where}"
    if not infos:
        return [Check(rule, PASS, 0, 0, None, None, "all as the schema says")]
    return [Check(rule, error_verdict if info.severity == anomalies_pb2.AnomalyInfo.ERROR else WARN, None, None, None,
                  None, f"{name}: {info.description or info.short_description}") for name, info in infos]


def category_divergence(one: Profile, other: Profile) -> float:
    """Jensen-Shannon divergence, base 2, of the categories' shares of events: 0 the same, 1 nothing in common."""
    p, q = _shares(one), _shares(other)
    divergence = 0.0
    for category in p.keys() | q.keys():
        a, b = p.get(category, 0.0), q.get(category, 0.0)
        middle = (a + b) / 2
        divergence += sum(share * math.log2(share / middle) for share in (a, b) if share) / 2
    return min(max(divergence, 0.0), 1.0)


def history_length(profile: Profile, quantile: float) -> int:
    """Least number of events that this share of the users do not exceed."""
    return _quantile(profile.history_users, quantile)


def event_rate(profile: Profile, days: int) -> float:
    """Events a day in the newest `days` days of a profile, or in all of them where it has fewer."""
    last = max(profile.day_events)
    days = min(days, last - min(profile.day_events) + 1)
    return sum(count for day, count in profile.day_events.items() if day > last - days) / days


def _ratio_check(rule: str, value: float, before: float, bound: float, setting: str, told: str,
                 growth: float = 1.0) -> Check:
    """Whether a value is within a factor of what it was, of that times the log's growth, or between."""
    least, most = before * min(1.0, growth) / bound, before * max(1.0, growth) * bound
    return Check(rule, _stop(not least <= value <= most), value, bound, before, setting, told.format(value, before))


def _quantile(counts: Mapping[int, int], quantile: float) -> int:
    """Least value that this share of what is counted does not exceed."""
    below = 0
    for value, count in sorted(counts.items()):
        below += count
        if below >= quantile * sum(counts.values()):
            return value
    raise ValueError(f"quantile must be at most 1 and something be counted, got {quantile} and {counts}")


def _span(profile: Profile) -> int:
    """Days from the first event to the last, both included."""
    return max(profile.day_events) - min(profile.day_events) + 1


def _moved(one: Profile, other: Profile) -> str:
    """The categories whose shares differ most."""
    p, q = _shares(one), _shares(other)
    change = {category: p.get(category, 0.0) - q.get(category, 0.0) for category in p.keys() | q.keys()}
    most = sorted(change, key=lambda category: (-abs(change[category]), category))[:_MOVED_SHOWN]
    return "most moved: " + ", ".join(
        f"{category!r} from {q.get(category, 0.0):.1%} to {p.get(category, 0.0):.1%}" for category in most)


def _shares(profile: Profile) -> dict[str, float]:
    total = sum(profile.category_events.values())
    return {category: events / total for category, events in profile.category_events.items()}


def _stop(broken: bool) -> str:
    return STOP if broken else PASS


def _first_day(year: int) -> int:
    return (datetime.date(year, 1, 1) - datetime.date(1970, 1, 1)).days


def _date(day: int) -> datetime.date:
    return datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
