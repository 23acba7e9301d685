"""Why a user is recommended what they are: `python -m tfx_pipeline.explain --workdir DIR --user U`.

Writes one HTML page that needs no network: the user's history by category, the predicted next categories, what of the
history the long-term attention weighs, and the recommendations, each with the events that spoke for it. Where the run
held the user's next basket out, it is marked what of it was recommended. Everything is as the servable's signatures
`predict_category` and `explain` answer it.
"""

import ulim_tf.quiet  # noqa: F401  isort: skip  also selects Keras 2 before TensorFlow is imported

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import grpc

from serving.server.process import NotServed
from tfx_pipeline import flags
from tfx_pipeline.catalog_split import items
from tfx_pipeline.explanation import asking, page, users
from tfx_pipeline.explanation.subject import Subject
from tfx_pipeline.run_local import METADATA_FILE
from tfx_pipeline.workdir import check_there, find_servable, newest_run
from ulim_tf import command_line, features

_FOLDER = "explanations"


def explain(*, workdir: Path, user_id: str, output: Path | None = None, servable: Path | None = None,
            version: int | None = None, progress: Callable[[str], None] = lambda _: None) -> Path:
    """Writes the page of a user.

    Args:
        workdir: of a run of `run_local`, whose newest log says what the user did.
        user_id: as in the log.
        output: the file, replaced if it is there; None is workdir/explanations/USER.html.
        servable: version folder to ask; None is a pushed one.
        version: number of the pushed one; None is the newest.
        progress: is told what begins.

    Returns:
        the file.

    Raises:
        ValueError: an argument is wrong, or there is no run, no servable or no such user. Nothing was written.
        NotServed: the servable does not load.
        grpc.RpcError: it does not answer.
        OSError: the file cannot be written.
    """
    workdir = workdir.absolute()
    output = output or workdir / _FOLDER / f"{quote(user_id, safe=' ')}.html"
    if output.is_dir():
        raise ValueError(f"--output must be a file, got the folder {output}. Name a file in it: {output / 'user.html'}")
    servable = find_servable(workdir, servable, version)
    run = newest_run(workdir, "EventExampleGen", "read a log")
    check_there(workdir, run.examples)
    progress(f"looking up user {user_id}")
    user = users.find(user_id, run.example_files(features.SPLIT_EVAL), run.example_files(features.SPLIT_TRAIN),
                      run.features_config)
    progress(f"asking version {servable.name}")
    answer = asking.ask(servable, user.history, user.events)
    titles, category_of = {}, {}
    for item in items(run.example_files(features.SPLIT_CATALOG)):
        item_id = item.item_id.decode()
        titles[item_id], category_of[item_id] = item.title.decode(), item.category_id.decode()
    page.write(Subject(
        user_id=user_id, version=servable.name, events=user.events,
        now=user.history.now or max(user.history.timestamps, default=0), next_basket=user.next_basket, answer=answer,
        titles=titles, category_of=category_of), output)
    return output


def _demo() -> Path:
    if not (flags.DEMO / METADATA_FILE).is_file():
        raise ValueError(f"--workdir must be given: without it, {flags.DEMO} is looked into, where there is no run. "
                         "Name the one of a finished `python -m tfx_pipeline.run_local`, or run `make demo`.")
    return flags.DEMO


def main(argv: list[str] | None = None) -> int:
    """`command`, of a command line."""
    return command(flags.explain().parse_args(argv))


def command(args: argparse.Namespace) -> int:
    """The command; returns its exit code: 0 written, 1 the servable or the disk refused, 2 an argument is wrong."""
    progress = command_line.timed_progress()
    try:
        written = explain(workdir=args.workdir or _demo(), user_id=args.user, output=args.output,
                          servable=args.servable, version=args.version, progress=progress)
    except ValueError as error:
        return command_line.fail(error, 2, False)
    except grpc.RpcError as error:
        return command_line.fail(f"the servable did not answer: {error.code().name}: {error.details()} It must be one "
                                 "with the signature explain, and trained on logs like this one.", 1, False)
    except (NotServed, OSError) as error:
        return command_line.fail(error, 1, False)
    progress(f"wrote {written}")
    return 0


if __name__ == "__main__":
    sys.exit(command_line.interruptible(main))
