"""Beam's own flags, given as one string, read and checked before a pipeline starts."""

import contextlib
import io
import shlex

from apache_beam.options import pipeline_options

from tfx_pipeline.flags import BEAM_FLAG as FLAG

_DATAFLOW, _DIRECT = "DataflowRunner", "DirectRunner"
_WITH_FLAGS_OF_ITS_JOB_SERVER = ("PortableRunner", "FlinkRunner", "SparkRunner")
_RUNNERS = (_DIRECT, _DATAFLOW, *_WITH_FLAGS_OF_ITS_JOB_SERVER)
_DATAFLOW_NEEDS = ("project", "region", "temp_location")


def parse(text: str) -> list[str]:
    """The flags in a shell-quoted string.

    Raises:
        ValueError: the string is no list of flags, Beam does not know one of them or refuses its value, or they do not
            go together.
    """
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{FLAG} must be quoted as for a shell, got {text!r}: {error}. Close the quote.") from error
    for argument in arguments:
        if not argument.startswith("--"):
            raise ValueError(f"{FLAG} takes flags written --flag or --flag=value, got {argument!r}. Join a flag and "
                             "its value by '=', for example --runner=DataflowRunner.")
    options = pipeline_options.PipelineOptions(arguments)
    known, everything = _values(options, False), _values(options, True)
    runner = known["runner"] or _DIRECT
    if runner not in _RUNNERS:
        raise ValueError(f"{FLAG} must name a runner out of {', '.join(_RUNNERS)}, got --runner={runner}.")
    unknown = sorted(everything.keys() - known.keys())
    if unknown and runner not in _WITH_FLAGS_OF_ITS_JOB_SERVER:
        raise ValueError(f"{FLAG} must hold flags that {runner} knows, got --{', --'.join(unknown)}. Check the "
                         "spelling in Beam's PipelineOptions.")
    if known["streaming"]:
        raise ValueError(f"{FLAG} must describe a batch job, got --streaming. Leave it out: the log is read to its "
                         "end.")
    if runner == _DIRECT and known["direct_num_workers"] != 1 and known["direct_running_mode"] == "in_memory":
        raise ValueError(f"{FLAG} must name a running mode where there are workers, got only --direct_num_workers="
                         f"{known['direct_num_workers']}. Add --direct_running_mode=multi_processing.")
    missing = [name for name in _DATAFLOW_NEEDS if runner == _DATAFLOW and not known[name]]
    if missing:
        raise ValueError(f"{FLAG} with --runner={_DATAFLOW} must hold --{', --'.join(_DATAFLOW_NEEDS)}, got no "
                         f"--{', --'.join(missing)}. docs/scaling.md has an example.")
    return arguments


def _values(options: pipeline_options.PipelineOptions, with_unknown: bool) -> dict[str, object]:
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return options.get_all_options(retain_unknown_options=with_unknown)
    except SystemExit as error:  # Beam's parser ends the process
        refusal = told.getvalue().strip().rpartition("error: ")[2]
        raise ValueError(f"{FLAG} must hold values that Beam takes, got: {refusal}. Correct the flag.") from error
