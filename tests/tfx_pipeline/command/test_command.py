"""`ulim`: what it finds, what it says where it finds nothing, and what it imports for it."""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import ulim_tf
from tfx_pipeline.command import bench, table
from tfx_pipeline.command.__main__ import main
from tfx_pipeline.command.table import COMMANDS, EXIT_CODES, Command
from ulim_tf import doctor

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "commands.md").read_text()
HEAVY = ("tensorflow", "tfx", "apache_beam", "pandas", "scann")


@pytest.fixture
def recorded(monkeypatch):
    """A command `record` that keeps its arguments and returns the code that it is told."""
    given = []

    def parser():
        made = argparse.ArgumentParser("python -m recorder", epilog="example:\n  %(prog)s --code 3",
                                       formatter_class=argparse.RawDescriptionHelpFormatter)
        made.add_argument("--code", type=int, default=0)
        return made

    def command(args):
        given.append(args)
        if args.code == 130:
            raise KeyboardInterrupt
        return args.code

    module = type(sys)("recorder")
    module.parser, module.command = parser, command
    monkeypatch.setitem(sys.modules, "recorder", module)
    monkeypatch.setitem(COMMANDS, "record", Command("record", "keeps its arguments", "recorder", "recorder:parser"))
    return given


def examples_of(epilog: str, prog: str) -> list[list[str]]:
    """The words after the program's name of each example of a help text."""
    lines = (epilog % {"prog": prog}).replace("\\\n", "").splitlines()
    return [shlex.split(line.partition(">")[0])[len(prog.split()):] for line in lines if line.strip().startswith(prog)]


@pytest.mark.parametrize("code", [0, 1, 2, 3, 130])
def test_a_command_gets_its_arguments_and_its_code_comes_back(recorded, code):
    assert main(["record", "--code", str(code)]) == code
    assert [args.code for args in recorded] == [code]


def test_help_and_errors_name_the_command_as_it_was_called(recorded, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["record", "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: ulim record [-h]") and told.endswith("example:\n  ulim record --code 3\n")
    with pytest.raises(SystemExit) as ended:
        main(["record", "--cod", "three"])
    assert ended.value.code == 2
    assert "ulim record: error: argument --code: invalid int value: 'three'" in capsys.readouterr().err
    assert recorded == []


@pytest.mark.parametrize(("word", "meant"), [
    ("trian", " Did you mean train?"), ("refresh_index", " Did you mean refresh-index?"), ("xyzzy", "")])
def test_an_unknown_command_is_told_with_the_nearest(capsys, word, meant):
    assert main([word, "--help"]) == 2
    assert capsys.readouterr().err == f"error: ulim has no command '{word}'.{meant} `ulim --help` lists them.\n"


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_the_help_lists_every_command_and_exit_code(capsys, argv):
    assert main(argv) == 0
    told = capsys.readouterr().out
    for one in COMMANDS.values():
        assert f"  {one.name} " in told and one.line in told
    for code, meaning in EXIT_CODES.items():
        assert f"  {code} " in told and meaning in told


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ulim-tf {ulim_tf.__version__}\n"


def test_a_missing_extra_is_named_but_not_before_its_help(recorded, monkeypatch, capsys):
    monkeypatch.setitem(table._PROBES, "pipeline", "a_module_that_is_not_there")
    monkeypatch.setitem(COMMANDS, "record", COMMANDS["record"]._replace(extra="pipeline"))
    assert main(["record"]) == 1
    assert capsys.readouterr().err == ("error: ulim record needs the extra 'pipeline': "
                                       "pip install 'ulim-tf[pipeline]'\n")
    with pytest.raises(SystemExit):
        main(["record", "--help"])
    assert recorded == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_help_parse(name, monkeypatch):
    monkeypatch.delenv("DEMO_USERS", raising=False)
    parser = COMMANDS[name].parser()
    examples = examples_of(parser.epilog, f"ulim {name}")
    assert examples
    for words in examples:
        parser.parse_args(words)


def test_no_command_line_waits_for_a_heavy_library():
    program = f"""if True:
        import sys
        from tfx_pipeline.command.__main__ import COMMANDS
        parsers = [one.parser() for one in COMMANDS.values()]
        print(len(parsers), [name for name in {HEAVY} if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == f"{len(COMMANDS)} []\n"


def test_the_modules_are_there_with_what_the_table_promises():
    for one in COMMANDS.values():
        file = ROOT / (one.module.replace(".", "/") + ".py")
        text = file.read_text()
        assert "\ndef command(" in text, one
        assert ('sys.exit(command_line.interruptible(main))' in text) == (
            not one.module.startswith(("tfx_pipeline.command", "serving.client"))), one


def test_the_page_of_commands_knows_them_all():
    for one in COMMANDS.values():
        [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{one.name}` | {one.line[:20]}")]
        assert (one.extra or "") in row
    for code in EXIT_CODES:
        assert f"\n| {code} |" in PAGE


# bench --------------------------------------------------------------------------------------------------------------

def test_bench_lists_the_benchmarks_that_there_are(capsys):
    assert main(["bench"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(bench.BENCHMARKS)
    assert all((ROOT / "benchmarks" / f"{name}.py").is_file() for name in listed)


def test_bench_passes_on(monkeypatch):
    given = []
    module = type(sys)("benchmarks.training")
    module.main = given.append
    monkeypatch.setitem(sys.modules, "benchmarks.training", module)
    monkeypatch.setattr(sys, "argv", ["ulim"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["bench", "training", "--json", "rows.json", "--help"]) == 0
    assert given == [["--json", "rows.json", "--help"]]
    assert sys.argv[0] == "ulim bench training", "the name in the benchmark's own help"


def test_bench_outside_a_checkout_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    assert main(["bench", "index"]) == 1
    assert "benchmarks are in a checkout of the repository only" in capsys.readouterr().err


def test_bench_says_what_is_not_installed(monkeypatch, tmp_path, capsys):
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["ulim"])
    monkeypatch.setattr(sys, "path", list(sys.path))

    def without_faiss(name):
        raise ModuleNotFoundError("No module named 'faiss'", name="faiss")

    monkeypatch.setattr(bench, "import_module", without_faiss)
    assert main(["bench", "index"]) == 1
    assert capsys.readouterr().err == "error: ulim bench index needs faiss: pip install 'ulim-tf[bench]'\n"


# completion ---------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    """What bash offers for the last of some words, in a folder with the file log.csv and the folder runs."""
    folder = tmp_path_factory.mktemp("bash")
    (folder / "runs").mkdir()
    (folder / "log.csv").touch()
    script = subprocess.run([sys.executable, "-m", "tfx_pipeline.command", "completion", "bash"], check=True, cwd=ROOT,
                            capture_output=True, text=True).stdout
    (folder / "ulim.bash").write_text(script)
    ask = """source ulim.bash
             set -- $(complete -p ulim)
             function=${*: -2:1}
             read -ra COMP_WORDS <<<"$WORDS"
             COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
             $function
             echo "${COMPREPLY[*]}"
          """

    def offered(words: str) -> list[str]:
        done = subprocess.run(["bash", "-c", ask], cwd=folder, env={"WORDS": words, "PATH": "/usr/bin:/bin"},
                              capture_output=True, text=True, check=True)
        return done.stdout.split()

    return offered


@pytest.mark.parametrize(("words", "offers"), [
    ("ulim re", ["refresh-index", "recommend"]),
    ("ulim train --ev", ["--events"]),
    ("ulim train --events lo", ["log.csv"]),
    ("ulim train --workdir ru", ["runs"]),
    ("ulim train --workdir lo", []),
    ("ulim bench in", ["index", "ingest"]),
])
def test_bash_completes_commands_flags_and_files(bash, words, offers):
    assert bash(words) == offers


def test_zsh_is_given_every_command(capsys):
    assert main(["completion", "zsh"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("#compdef ulim\n")
    assert all(f"\n    {one.name}:" in told for one in COMMANDS.values())
    flags = [line for line in told.splitlines() if line.startswith('  "')]
    assert len(flags) > 50
    assert [line for line in flags if len(shlex.split(line)) != 1] == [], "a quote inside ends a description early"


# doctor, through ulim -----------------------------------------------------------------------------------------------

def test_the_doctor_s_json(monkeypatch, capsys):
    def check():
        yield doctor.Finding("numpy", "9.9", "1.26.4", False, "pip install numpy==1.26.4")

    monkeypatch.setattr(doctor, "CHECKS", (check,))
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "ok": False, "version": ulim_tf.__version__, "findings": [
            {"check": "numpy", "found": "9.9", "wanted": "1.26.4", "ok": False,
             "remedy": "pip install numpy==1.26.4"}]}
