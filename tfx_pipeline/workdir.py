"""What the commands that follow a run look for in its work directory, and what they say where it is missing."""

from pathlib import Path

from tfx_pipeline import run_summary
from tfx_pipeline.components.pusher import versions
from tfx_pipeline.pipeline import NAME
from tfx_pipeline.run_local import METADATA_FILE, metadata_connection

_REMEDY = "Give the --workdir of a finished `python -m tfx_pipeline.run_local`."


def newest_run(workdir: Path, step: str, did: str) -> run_summary.Run:
    """The newest run that a step finished in, with its finished steps.

    Args:
        workdir: of `run_local`.
        step: name of a component.
        did: what run_local does in that step, as "trained a model".

    Raises:
        ValueError: there is no such run.
    """
    if not (workdir / METADATA_FILE).is_file():
        raise ValueError(f"--workdir must be one that run_local {did} in, but {workdir} has no {METADATA_FILE}. "
                         f"{_REMEDY}")
    run = run_summary.newest(metadata_connection(workdir), step)
    if run is None:
        raise ValueError(f"--workdir must be one that run_local {did} in, but no {step} of {workdir} ever finished. "
                         f"{_REMEDY}")
    return run


def check_there(workdir: Path, *folders: Path) -> None:
    """Refuses a work directory that lacks folders of artifacts that its ML Metadata names.

    Raises:
        ValueError: one is gone.
    """
    gone = [folder for folder in folders if not folder.is_dir()]
    if gone:
        raise ValueError(f"--workdir must hold what its {METADATA_FILE} names, but {gone[0]} is gone. Was {workdir} "
                         "moved or cleaned? Move it back, or run the pipeline again.")


def find_servable(workdir: Path, named: Path | None = None, version: int | None = None) -> Path:
    """A version folder: the one that is named, the pushed one of a number, or the newest that was pushed.

    Args:
        workdir: of `run_local`.
        named: `--servable`, or None.
        version: `--version`, or None.

    Raises:
        ValueError: there is no such servable.
    """
    base = workdir / "serving" / NAME
    if named:
        if not (named / "saved_model.pb").is_file():
            raise ValueError(f"--servable must be a folder with a saved_model.pb, got {named}. Name one of {base}.")
        return named.absolute()
    there = versions.numbers(str(base))
    if not there:
        raise ValueError(f"--workdir must be one that a servable was pushed in, but {base} has no version. {_REMEDY}")
    if version is not None and version not in there:
        raise ValueError(f"--version must be one of {base}, got {version}; it has {', '.join(map(str, there))}. "
                         "More are kept with serving.versions_kept.")
    return Path(versions.folder_of(str(base), there[0] if version is None else version))
