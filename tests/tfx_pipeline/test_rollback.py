"""The command on a base path of three versions."""

import pytest

from tfx_pipeline import rollback


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "serving" / "ulim"
    for number in (10, 20, 30):
        (folder / str(number) / "variables").mkdir(parents=True)
        (folder / str(number) / "saved_model.pb").write_text(f"graph {number}")
        (folder / str(number) / "variables" / "data").write_text(f"data {number}")
    return folder


@pytest.fixture
def run(base, tmp_path, capsys):
    def command(*flags: str) -> tuple[int, str, str]:
        code = rollback.main(["--workdir", str(tmp_path), *flags])
        return code, *capsys.readouterr()

    return command


def newest(base) -> tuple[int, str, str]:
    number = max(int(folder.name) for folder in base.iterdir())
    folder = base / str(number)
    return number, (folder / "saved_model.pb").read_text(), (folder / "variables" / "data").read_text()


def test_the_version_before_becomes_the_newest_and_every_other_stays(run, base):
    code, told, _ = run()
    number, *content = newest(base)
    assert code == 0 and number > 30 and content == ["graph 20", "data 20"]
    assert {folder.name for folder in base.iterdir()} == {"10", "20", "30", str(number)}
    header, first, *others = told.splitlines()[1:]
    assert told.startswith(f"published {base / str(number)}\n") and header.split() == ["version", "made"]
    assert first.startswith(str(number)) and first.endswith("served, 20 published again")
    assert [line.split()[0] for line in others] == ["30", "20", "10"] and "again" not in "".join(others)


def test_going_back_twice_does_not_bring_the_bad_version_back(run, base):
    assert run()[0] == 0 and run()[0] == 0
    assert newest(base)[1] == "graph 10"
    code, _, told = run()
    assert code == 2 and "there must be a version before 10, which is served, but" in told
    assert told.endswith("Nothing was changed.\n")


def test_a_version_can_be_named_even_the_one_that_was_bad(run, base):
    assert run("--version", "10")[0] == 0 and newest(base)[1] == "graph 10"
    assert run("--version", "30")[0] == 0 and newest(base)[1] == "graph 30"


def test_listing_changes_nothing(run, base):
    code, told, _ = run("--list")
    assert code == 0 and [line.split()[0] for line in told.splitlines()] == ["version", "30", "20", "10"]
    assert newest(base)[0] == 30 and len(list(base.iterdir())) == 3


@pytest.mark.parametrize(("version", "message"), [
    ("15", "--version must be one of .*, got 15; it has 30, 20, 10. More are kept with serving.versions_kept"),
    ("30", "--version must not be the one that is served, got 30. Choose another of 30, 20, 10"),
])
def test_wrong_versions_are_told(run, base, version, message):
    with pytest.raises(ValueError, match=message):
        rollback.rollback(base, int(version))
    assert run("--version", version)[0] == 2
    assert len(list(base.iterdir())) == 3


def test_a_work_directory_without_a_version_is_told(tmp_path, capsys):
    assert rollback.main(["--workdir", str(tmp_path)]) == 2
    assert "has no version. Run the pipeline first" in capsys.readouterr().err


def test_without_links_the_files_are_copied(run, base, monkeypatch):
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    assert run()[0] == 0
    assert newest(base)[1:] == ("graph 20", "data 20")


def test_other_servables_go_back_with_it_where_they_have_the_version(run, base):
    for name, number in (("ulim_gpu", 20), ("ulim_encoder", 30)):
        (base.parent / name / str(number)).mkdir(parents=True)
        (base.parent / name / str(number) / "saved_model.pb").write_text(f"{name} {number}")
    assert run()[0] == 0
    number = newest(base)[0]
    assert (base.parent / "ulim_gpu" / str(number) / "saved_model.pb").read_text() == "ulim_gpu 20"
    assert [folder.name for folder in (base.parent / "ulim_encoder").iterdir()] == ["30"]
