"""Whether PGIN's probabilities come true on held-out users, and how much of them it copies."""

from collections.abc import Iterator

from tfx_pipeline.report import charts
from tfx_pipeline.report.blocks import Block, Chart, Facts, Missing, Table, Text
from tfx_pipeline.report.calibration import Calibration
from tfx_pipeline.report.held_out import category_calibration
from tfx_pipeline.report.subject import SERVING_FOLDER, Subject
from tfx_pipeline.report.wording import number, share
from ulim_tf import features

_ASKED = 2000  # users; about ten seconds


def blocks(subject: Subject) -> Iterator[Block]:
    """Asks the servable, then shows what came of it."""
    servable = subject.output("IndexBuilder", "servable")
    if servable is None:
        yield Missing("There is no servable to ask for categories.")
        return
    found = category_calibration(
        str(servable / SERVING_FOLDER), subject.run.example_files(features.SPLIT_EVAL),
        subject.run.example_files(features.SPLIT_CATALOG), subject.config.features, _ASKED)
    if found is None:
        yield Missing("Nobody who was held out bought an item of a known category.")
        return
    yield from of_calibration(found)


def of_calibration(found: Calibration) -> Iterator[Block]:
    """The figures of a calibration."""
    yield Text("PGIN gives each category the probability that an item of the next basket is of it. Where that comes "
               "true, predictions of 5 % are of categories that make up 5 % of the baskets, and the points lie on the "
               "diagonal. How often such a category is in the basket at all is higher: baskets hold several.")
    yield Facts({
        "Users asked": number(found.users),
        "Copied from histories": share(found.copied),
        "Probability of all categories answered": share(found.probability),
        "Share of the baskets' items in them": share(found.share),
        "Mean calibration error": f"{100 * found.error:.2f} points",
    })
    predicted = [one.probability for one in found.bins]
    yield Chart(
        "Reliability of category probabilities", charts.reliability(
            "predicted probability", "seen in the next basket", "well calibrated", {
                "share of the basket's items": (predicted, [one.share for one in found.bins]),
                "category is in the basket": (predicted, [one.in_basket for one in found.bins])}),
        "Predicted probability of a category against what the next baskets held, means by bin of probability, both "
        f"axes logarithmic. Mean distance from the diagonal {100 * found.error:.2f} percentage points.")
    names = [_range(one.low, one.high) for one in found.bins]
    yield Chart(
        "Copied from the history",
        charts.grouped_bars("predicted probability", "share copied", names,
                            {"copied": [one.copied for one in found.bins]}),
        f"The part of the predicted probability that PGIN's pointer copied from the history, by bin of probability; "
        f"{share(found.copied)} of all.")
    yield Table("Category predictions by probability",
                ["predicted", "predictions", "mean", "share of items", "in the basket", "copied"],
                [[name, number(one.predictions), _percent(one.probability), _percent(one.share),
                  _percent(one.in_basket), share(one.copied)] for name, one in zip(names, found.bins)])


def _range(low: float, high: float) -> str:
    return f"{100 * low:g}-{100 * high:g} %"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"
