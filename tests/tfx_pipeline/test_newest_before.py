import pytest
from tfx.types import standard_artifacts

from tfx_pipeline.newest_before import NewestBefore


def artifact(number, kind=standard_artifacts.Model):
    made = kind()
    made.id = number
    return made


def resolve(before, *candidates):
    given = {"before": [artifact(before, standard_artifacts.Examples)], "model": [artifact(one) for one in candidates]}
    return [one.id for one in NewestBefore().resolve_artifacts(None, given)["model"]]


def test_the_newest_of_what_is_older_is_chosen():
    assert resolve(10, 3, 9, 4, 11, 30) == [9]


def test_nothing_older_is_no_artifact():
    assert resolve(10, 11, 12) == resolve(10) == []


def test_without_what_to_come_before_it_refuses():
    with pytest.raises(ValueError, match="before must be one artifact of this run, got \\[\\]"):
        NewestBefore().resolve_artifacts(None, {"model": [artifact(1)]})
