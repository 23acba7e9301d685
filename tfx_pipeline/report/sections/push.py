"""What was pushed or why not: the verdict at the top of the page, and the gates behind it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfx_pipeline.components.servable_validator import validation
from tfx_pipeline.report.blocks import BAD, GOOD, Block, Facts, Headline, Missing, Table, Text
from tfx_pipeline.report.sections import quality
from tfx_pipeline.report.subject import Subject
from tfx_pipeline.report.wording import duration

EVALUATOR, VALIDATOR, PUSHER = "Evaluator", "ServableValidator", "Pusher"

_BLESSED, _REFUSED = ("BLESSED", "INFRA_BLESSED"), ("NOT_BLESSED", "INFRA_NOT_BLESSED")
_SHOWN = 1500  # characters of an error


class _Gate(NamedTuple):
    """A step that blesses servables, what it decided (None: nothing) and why it refused."""

    step: str
    blessed: bool | None
    reasons: list[str]


def headline(subject: Subject) -> Headline:
    """The verdict on the run."""
    if subject.failure:
        step, message = subject.failure
        shown = message if len(message) <= _SHOWN else f"{message[:_SHOWN]} ..."
        verdict = "Stopped by the data gate" if step == "DataGate" else f"Failed at {step}"
        return Headline(BAD, verdict, f"{shown}\nNothing was pushed; what was served before still is.")
    refused = [gate for gate in _gates(subject) if gate.blessed is False]
    pushed, version = subject.step(PUSHER), _version(subject)
    if version and pushed and pushed.cached:
        return Headline(GOOD, f"Nothing new: version {version.name} stays",
                        f"Neither the data nor the settings changed, so nothing was pushed. Version {version.name} is "
                        f"in {version.parent}.")
    if version:
        return Headline(GOOD, f"Version {version.name} was pushed", f"It is in {version.parent}.")
    if refused:
        return Headline(BAD, f"Refused by {' and '.join(gate.step for gate in refused)}",
                        " ".join(f"{reason[0].upper()}{reason[1:]}." for gate in refused for reason in gate.reasons)
                        + " Nothing was pushed; what was served before still is.")
    return Headline(BAD, "Nothing was pushed", "The pipeline ended without a version and no gate says why.")


def blocks(subject: Subject) -> Iterator[Block]:
    """Each gate's decision, the checks of the servable, the version."""
    gates = [gate for gate in _gates(subject) if gate.blessed is not None]
    if gates:
        yield Table("Gates between the servable and the push", ["gate", "verdict", "why"],
                    [[gate.step, "blessed" if gate.blessed else "refused", "; ".join(gate.reasons)] for gate in gates],
                    words=3, moods=[GOOD if gate.blessed else BAD for gate in gates])
    else:
        yield Missing("No gate has judged a servable.")
    checks = _validation(subject)
    if checks:
        yield Table("How the servable answered as a server's model", ["check", "verdict", "what was found", "took"],
                    [[check.name, "passed" if check.passed else "failed", "; ".join(check.faults) or check.told,
                      duration(check.seconds)] for check in checks],
                    words=3, moods=[GOOD if check.passed else BAD for check in checks])
    version = _version(subject)
    if version:
        yield Facts({"Version": version.name, "Model base path": str(version.parent)})
    elif subject.step(PUSHER):
        yield Text("Nothing was pushed.")
    else:
        yield Missing("The run did not come to the Pusher.")


def _gates(subject: Subject) -> Iterator[_Gate]:
    decided = quality.verdict(subject)
    yield _Gate(EVALUATOR, _blessed(subject.output(EVALUATOR, "blessing")), decided.reasons if decided else [])
    yield _Gate(VALIDATOR, _blessed(subject.output(VALIDATOR, "blessing")),
                [f"{check.name}: {fault}" for check in _validation(subject) for fault in check.faults])


def _blessed(blessing: Path | None) -> bool | None:
    if blessing is None:
        return None
    marks = {file.name for file in blessing.iterdir()}
    return True if marks & {*_BLESSED} else False if marks & {*_REFUSED} else None


def _validation(subject: Subject) -> list[validation.Check]:
    blessing = subject.output(VALIDATOR, "blessing")
    if blessing is None or not (blessing / validation.FILE).is_file():
        return []
    return validation.read(str(blessing)).checks


def _version(subject: Subject) -> Path | None:
    step = subject.step(PUSHER)
    return step.pushed if step else None
