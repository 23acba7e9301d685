import json

import pytest

from benchmarks import plots, quality


def entry(value: float) -> dict:
    row = {"targets": "all", "slice": "all", "metric": "recall", "at": 20, "value": value, "low": value - 0.01,
           "high": value + 0.01, "users": 3}
    return {"steps": 5, "train_minutes": 0.5, "validation_history": [[5, 0.5, value]], "rows": [row]}


def test_a_model_measured_again_replaces_its_own_rows_only(tmp_path):
    for model, split, value in (("a", "test", 0.1), ("b", "test", 0.2), ("a", "validation", 0.3), ("a", "test", 0.4)):
        quality._merge(tmp_path, model, split, entry(value))
    results = json.loads((tmp_path / quality.RESULTS_FILE).read_text())
    found = {(row["model"], row["split"]): (row["value"], row["train_minutes"]) for row in results["rows"]}
    assert found == {("a", "test"): (0.4, 0.5), ("b", "test"): (0.2, 0.5), ("a", "validation"): (0.3, 0.5)}
    assert len(results["rows"]) == len(results["models"]) == 3
    assert quality._known_steps(tmp_path) == {"a": 5}


def test_every_figure_with_rows_is_drawn(tmp_path):
    for split in quality.SPLITS:
        quality._merge(tmp_path, "a", split, entry(0.1))
    drawn = plots.draw(json.loads((tmp_path / quality.RESULTS_FILE).read_text()), tmp_path)
    assert sorted(path.name for path in drawn) == ["minutes.png", "recall.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_an_unknown_model_is_named(capsys):
    with pytest.raises(SystemExit, match=r"must name models of the table, got Ulm\. They are: most popular, "):
        quality.main(["--models", "Ulm"])


def test_names_of_models_are_distinct_and_free_of_commas():
    names = [model.name for model in quality.all_candidates()]
    assert len(set(names)) == len(names) and not any("," in name for name in names)
