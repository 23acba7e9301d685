"""Recall by slice: of the servable, of the last blessed one and of the simple baselines, on the same held-out users."""

from collections.abc import Iterator, Mapping

from tfx_pipeline.evaluation import results
from tfx_pipeline.report import charts
from tfx_pipeline.report.blocks import Block, Chart, Missing, Table, Text
from tfx_pipeline.report.subject import Subject
from tfx_pipeline.report.wording import number

THIS, LAST_BLESSED, FREQUENT, POPULAR = "this servable", "last blessed", "own most frequent", "most popular"

Recalls = dict[str, dict[str, float]]  # who ranks -> slice -> recall


def verdict(subject: Subject) -> results.Verdict | None:
    """What the Evaluator decided; None if it did not finish."""
    evaluation = subject.output("Evaluator", "evaluation")
    return results.read_verdict(evaluation) if evaluation else None


def blocks(subject: Subject) -> Iterator[Block]:
    """The verdict's figures, recall by slice, all other metrics folded."""
    evaluation = subject.output("Evaluator", "evaluation")
    if evaluation is None:
        yield Missing("The servable was not evaluated.")
        return
    candidate = results.read_metrics(evaluation)
    if not candidate:
        yield Missing("Nobody was held out, so there is nothing to measure: the log's last ingest.holdout_days hold no "
                      "user with an earlier event.")
        return
    last = results.read_metrics(evaluation, results.LAST_BLESSED)
    decided = results.read_verdict(evaluation)
    users = {part: of_slice["users"] for part, of_slice in candidate.items() if "users" in of_slice}
    yield Text(f"Asked for {number(users['all'])} users who bought something after the cut; their first basket is to "
               "be found. Means over users.")
    if not last:
        yield Missing("There is no blessed servable of an earlier run to compare with.")
    yield from _by_slice(recalls(candidate, last, decided.at), decided.at, users)
    yield from _by_cut_off(candidate["all"], last.get("all", {}))
    yield Table(
        "Every metric", ["metric", *candidate],
        [[name, *(_figure(of_slice.get(name)) for of_slice in candidate.values())]
         for name in dict.fromkeys(name for of_slice in candidate.values() for name in of_slice)], folded=True)


def recalls(candidate: results.Metrics, last: results.Metrics, at: int) -> Recalls:
    """Recall@at of everyone who ranks and has figures.

    Args:
        candidate: of this run's servable.
        last: of the last blessed one; empty if there was none.
        at: the cut-off R.
    """
    sources = ((THIS, candidate, ""), (LAST_BLESSED, last, ""), (FREQUENT, candidate, "frequent_"),
               (POPULAR, candidate, "popular_"))
    found = {who: {part: metrics[part][f"{prefix}recall@{at}"] for part in results.SLICES
                   if f"{prefix}recall@{at}" in metrics.get(part, {})} for who, metrics, prefix in sources}
    return {who: of_slices for who, of_slices in found.items() if of_slices}


def _by_slice(found: Recalls, at: int, users: Mapping[str, float]) -> Iterator[Block]:
    parts = [part for part in results.SLICES if any(part in of_slices for of_slices in found.values())]
    told = ", ".join(f"{who} {of_slices['all']:.4f}" for who, of_slices in found.items() if "all" in of_slices)
    yield Chart(
        f"Recall@{at} by slice",
        charts.grouped_bars("slice of users or of what they bought", f"Recall@{at}", parts,
                            {who: [of_slices.get(part) for part in parts] for who, of_slices in found.items()}),
        f"Recall@{at} by length of history and by head and tail categories. All users: {told}.")
    yield Table(f"Recall@{at} by slice", ["slice", "users", *found],
                [[part, _count(users.get(part)), *(_figure(of_slices.get(part)) for of_slices in found.values())]
                 for part in parts])


def _by_cut_off(candidate: Mapping[str, float], last: Mapping[str, float]) -> Iterator[Block]:
    cuts = sorted(int(name.rpartition("@")[2]) for name in candidate if name.startswith("recall@"))
    rows = [(THIS, candidate, ""), *([(LAST_BLESSED, last, "")] if last else []), (FREQUENT, candidate, "frequent_"),
            (POPULAR, candidate, "popular_"), (f"{THIS}, items new to the user", candidate, "novel_")]
    yield Table("Recall by cut-off, all users", ["", *(f"@{cut}" for cut in cuts)],
                [[who, *(_figure(metrics.get(f"{prefix}recall@{cut}")) for cut in cuts)]
                 for who, metrics, prefix in rows])


def _figure(value: float | None) -> str:
    return "" if value is None else number(value) if value > 1 else f"{value:.4f}"


def _count(value: float | None) -> str:
    return "" if value is None else number(value)
