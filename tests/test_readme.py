"""The pages do what they say: every command of a block is run, or has its flags read, and every block of code is run.

A block is found by its language and by what is in it. One that nothing here knows fails the first tests: run it here,
or say in `NOT_RUN` why not. docs/scaling.md has a test of its own (test_scaling_docs.py).
"""

import ulim_tf  # noqa: F401  isort: skip  selects Keras 2 before TensorFlow is imported

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from serving.client import Client, History
from serving.client.request_log import RequestLog
from serving.server.process import wait_until_served
from tests import documented
from tests.documented import ROOT, role
from tests.serving.server_process import free_port
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets import complete_journey
from ulim_tf import config as settings

PAGES = [page for page in documented.PAGES if page.name != "scaling.md"]
COMMANDS = [words for page in PAGES for words in documented.commands(page)]
RUN = ("demo", "train", "refresh-index", "rollback", "batch", "evaluate", "skew", "serve", "recommend")
RUN_IF_SHOWN = ("doctor", "completion", "explain")
NOT_RUN = {
    "make test": "runs this",
    "make bench": "takes half an hour",
    "make bench-full": "takes hours",
    "benchmarks.quality": "takes an hour",
    "benchmarks.training": "takes ten minutes",
}
CLIENT, NOTEBOOK = "from serving.client import Client", "import ulim_tf as ulim"
SECONDS = 600


def commands(wanted: str) -> list[list[str]]:
    """All of a role; a page must have one."""
    found = [words for words in COMMANDS if role(words) == wanted]
    assert found, f"no page shows how to {wanted} in a block"
    return found


def block(marked: str) -> str:
    """The Python block that holds a line."""
    [found] = [code for page in PAGES for code in documented.blocks(page, "python") if marked in code]
    return found


def replaced(text: str, pattern: str, by: str) -> str:
    """With all that matches replaced; something must."""
    changed, count = re.subn(pattern, by, text)
    assert count, f"nothing is like {pattern} in {text}"
    return changed


def test_every_command_is_run_or_has_a_reason():
    shown = {role(words) for words in COMMANDS}
    assert {*RUN, *NOT_RUN} <= shown <= {*RUN, *RUN_IF_SHOWN, *NOT_RUN}


def test_every_block_of_code_is_run():
    code = [code for page in PAGES for code in documented.blocks(page, "python")]
    assert len(code) == 2 and CLIENT in block(CLIENT) and NOTEBOOK in block(NOTEBOOK)
    assert set().union(*map(documented.languages, PAGES)) <= {"sh", "python", "yaml", "text"}


class Parsed(BaseException):
    """A program has read its flags."""


@pytest.fixture
def parse_only(monkeypatch):
    """Programs stop where they have read their flags."""
    parse = argparse.ArgumentParser.parse_args

    def stop(*arguments):
        parse(*arguments)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)


SPOKEN = [words for page in PAGES for words in documented.inline_commands(page)
          if "make" not in words and not re.search(r"[\[…]|NAME", " ".join(words))]


@pytest.mark.parametrize("words", [words for words in COMMANDS + SPOKEN if "make" not in words], ids=" ".join)
def test_a_command_takes_its_flags(words, parse_only, monkeypatch, capsys):
    flags = words[3:]
    if words[0].endswith("ulim"):
        module, flags = "tfx_pipeline.command", words[1:]
        if role(words).startswith("benchmarks."):
            module, flags = role(words), words[3:]
    else:
        module = words[2]
    if importlib.util.find_spec(module).submodule_search_locations:
        module += ".__main__"
    main = importlib.import_module(module).main
    monkeypatch.setattr(sys, "argv", [module, *flags])
    if flags:
        try:
            ended = main()
        except Parsed:
            ended = 0
        except SystemExit as stopped:  # after --help, or where a flag is wrong
            ended = stopped.code
        assert ended == 0, capsys.readouterr().err


def recipe(target: str) -> list[list[str]]:
    """The commands that make would run."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, env=inherited, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.replace("\\\n", "").splitlines()]


def test_make_has_every_target():
    spoken = [words for page in PAGES for words in documented.inline_commands(page) if words[0] == "make"]
    targets = {words[1] for words in COMMANDS + spoken if words[0] == "make"}
    assert {"demo", "test", "bench", "bench-full", "docs"} <= targets
    for target in targets:
        assert recipe(target)


def test_the_settings_are_ours(tmp_path):
    found = [text for page in PAGES for text in documented.blocks(page, "yaml")]
    assert len(found) >= 2
    for text in found:
        (tmp_path / "settings.yaml").write_text(text)
        assert settings.load(PipelineConfig, tmp_path / "settings.yaml") != PipelineConfig()


# On real households, as the README tells it -------------------------------------------------------------------------

HOUSEHOLDS, DEMO_HOUSEHOLDS = 60, 40
FEW = """
features: {item_content: []}
history: {long: 500, short: 30, subsequence: 20}
model: {width: 16, heads: 2, hidden: 32}
training: {validation_users: 6}
retrieval: {categories: 20, per_category: 10, short_term: 50, results: 100}
"""


def run(directory: Path, words: list[str], **environment: str) -> str:
    """What a command prints that works in a folder and must succeed."""
    done = subprocess.run(started(words), cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}"
    return done.stdout


def started(words: list[str]) -> list[str]:
    """With the interpreter that runs the tests in the place of .venv's."""
    program = words[0].rpartition("/")[2]
    return [sys.executable, *(["-m", "tfx_pipeline.command"] if program == "ulim" else []), *words[1:]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with the files that the README talks about, of a few households; one is user 42."""
    directory = tmp_path_factory.mktemp("readme")
    events, catalog, _ = map(pd.read_parquet, complete_journey.write(directory / "data", HOUSEHOLDS))
    events["user_id"] = events.user_id.replace(events.user_id.iloc[0], "42")
    for folder in ("log", "newer"):
        (directory / folder).mkdir()
    named = {"user_id": "household_id", "item_id": "product_id"}
    events.rename(columns=named).to_parquet(directory / "log" / "2017.parquet")
    events.to_parquet(directory / "newer" / "2017.parquet")
    events.to_csv(directory / "events.csv", index=False)
    products = catalog[["item_id", "category_id", "title"]].rename(columns=named)
    products.to_csv(directory / "products.csv", index=False)
    products.iloc[1:].to_csv(directory / "new_products.csv", index=False)
    (directory / "few.yaml").write_text(FEW)
    return SimpleNamespace(directory=directory, events=events, catalog=catalog,
                           base=directory / "runs" / "shop" / "serving" / "ulim")


def versions(shop) -> set[str]:
    return {path.name for path in shop.base.iterdir() if path.name.isdecimal()}


@pytest.fixture(scope="module")
def trained(shop):
    """The shop after the README's training, with small settings."""
    [words] = [words for words in documented.commands(documented.README) if role(words) == "train"]
    shop.told = run(shop.directory, [*words, "--config", "few.yaml", "--train_steps", "30"])
    return shop


@pytest.fixture(scope="module")
def served(trained):
    """The address of the README's server."""
    [words] = commands("serve")
    port, rest_port = free_port(), free_port()
    line = replaced(replaced(shlex.join(words), "8500", str(port)), "8501", str(rest_port))
    with open(trained.directory / "server.log", "w") as log:
        process = subprocess.Popen(started(shlex.split(line)), cwd=trained.directory, stdout=log, stderr=log,
                                   env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        wait_until_served(f"127.0.0.1:{port}", 120, process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0


@pytest.mark.e2e
@pytest.mark.full
def test_the_demo_runs_on_a_few_households(tmp_path):
    commands("demo")
    told = run(tmp_path, recipe("demo")[-1], DEMO_USERS=str(DEMO_HOUSEHOLDS))
    assert f"{DEMO_HOUSEHOLDS} households" in told.splitlines()[0]
    assert re.search(r"^demo: ok, pipeline .*, Recall@100 0\.\d{4} on \d+ users, servable ", told, re.MULTILINE)


@pytest.mark.e2e
def test_training_leaves_what_the_readme_says(trained):
    assert f"{len(trained.events):,} of {len(trained.events):,} rows kept" in trained.told
    work = trained.directory / "runs" / "shop"
    assert len(versions(trained)) == 1
    for path in ("report/index.html", "metadata.sqlite", "pipeline.log"):
        assert (work / path).is_file()


@pytest.mark.e2e
def test_all_users_are_recommended_to(trained):
    for words in commands("batch"):
        run(trained.directory, words)
    rows = pd.read_parquet(trained.directory / words[words.index("--output") + 1])
    assert 0 < len(rows) <= HOUSEHOLDS and "42" in set(rows.user_id)


@pytest.mark.e2e
@pytest.mark.parametrize("words", [words for words in COMMANDS if role(words) in RUN_IF_SHOWN], ids=" ".join)
def test_a_command_ends_well(trained, words):
    assert run(trained.directory, words)


@pytest.mark.e2e
def test_what_is_served_is_measured_again(trained):
    for words in commands("evaluate"):
        assert "Recall" in run(trained.directory, words)


@pytest.mark.e2e
def test_a_client_asks(trained, served):
    for words in commands("recommend"):
        told = run(trained.directory, shlex.split(replaced(shlex.join(words), r"127\.0\.0\.1:8500", served)))
        header, *rows = told.splitlines()
        assert header.split() == ["rank", "item", "category", "channel", "score"] and len(rows) == 20


@pytest.mark.e2e
def test_the_clients_code_runs(served, capsys):
    code = replaced(replaced(block(CLIENT), r"127\.0\.0\.1:8500", served), r"timeout=[\d.]+", "timeout=60")
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    items, categories = printed[:10], printed[10:]
    assert len({line.split()[0] for line in items}) == 10
    assert len(categories) == 5


@pytest.mark.e2e
def test_what_was_asked_is_compared_with_training(trained, served):
    asked = [History(of_user.item_id.tolist(), of_user.timestamp.tolist())
             for _, of_user in trained.events.groupby("user_id")]
    with Client(served, timeout=60, request_log=RequestLog(str(trained.directory / "logs" / "asked"), 1)) as client:
        for _ in range(2):  # a hundred histories are the least
            for history in asked:
                client.recommend(history)
    for words in commands("skew"):
        assert "category" in run(trained.directory, words)


@pytest.mark.e2e
def test_a_new_catalogue_and_back(trained):
    """Last, since it pushes versions."""
    before = versions(trained)
    for words in commands("refresh-index"):
        assert f"{len(trained.catalog) - 1:,} items can be answered" in run(trained.directory, words)
    [refreshed] = versions(trained) - before
    for words in commands("rollback"):  # without a version, to the one before, under a new number
        time.sleep(1)  # versions are numbered by the second
        line = re.sub(r"(--version )\d+", rf"\g<1>{refreshed}", shlex.join(words))
        assert refreshed in run(trained.directory, shlex.split(line))


@pytest.mark.e2e
def test_the_notebooks_code_runs(tmp_path, monkeypatch):
    events, catalog, _ = map(pd.read_parquet, complete_journey.write(tmp_path / "data", 20))
    monkeypatch.chdir(tmp_path)
    code = replaced(replaced(block(NOTEBOOK), r"steps_per_epoch=\d+", "steps_per_epoch=2"), r"epochs=\d+", "epochs=1")
    variables = {"events": events, "catalog": catalog}
    exec(compile(code, "README.md", "exec"), variables)
    assert Path("model.keras").stat().st_size > 10_000
    assert variables["model"].built
