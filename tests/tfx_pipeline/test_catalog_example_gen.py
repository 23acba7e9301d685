"""A catalogue's files as the split `catalog`: what is stored, in which order, and what is listed instead."""

import pytest
from tfx.types import standard_artifacts

from tfx_pipeline import catalog_split
from tfx_pipeline.components.catalog_example_gen.component import CatalogExampleGen
from tfx_pipeline.components.catalog_example_gen.executor import Executor
from ulim_tf.config import FeaturesConfig

CONTENT = FeaturesConfig(item_content=("brand", "size"))


@pytest.fixture
def ingest(tmp_path):
    """Runs the component on the text of files; gives the items that it stored."""

    def run(*files: str, features: FeaturesConfig = CONTENT, columns=(), share: float = 0.05):
        for number, text in enumerate(files):
            (tmp_path / f"{number}.csv").write_text(text)
        component = CatalogExampleGen(str(tmp_path / "*.csv"), dict(columns), features, share,
                                      str(tmp_path / "rejected" / "refresh.csv"))
        examples = standard_artifacts.Examples()
        examples.uri = str(tmp_path / "examples")
        Executor().Do({}, {"examples": [examples]}, component.exec_properties)
        assert examples.split_names == '["catalog"]'
        assert examples.get_string_custom_property("file_format") == "tfrecords_gzip"
        return list(catalog_split.items([str(tmp_path / "examples/Split-catalog/data_tfrecord-00000-of-00001.gz")]))

    return run


def test_rows_keep_their_order_their_titles_and_their_content(ingest):
    assert ingest("sku,category_id,title,brand,size\nb,tools,Hammer,acme,\na,food,Rye,,\n",
                  "sku,category_id,title,brand,size\nb,food,,nova,small\n", columns={"item_id": "sku"}) == [
        (b"b", b"tools", b"Hammer", b"brand=acme"), (b"a", b"food", b"Rye", b""),
        (b"b", b"food", b"", b"brand=nova\x1fsize=small")]


def test_columns_that_are_not_read_are_left_out(ingest):
    assert ingest("item_id,category_id,brand\nb,tools,acme\n", features=FeaturesConfig()) == [
        (b"b", b"tools", b"", b"")]


def test_malformed_rows_are_listed_and_the_list_goes_with_the_next_catalogue(ingest, tmp_path, capsys):
    listed = tmp_path / "rejected" / "refresh.csv"
    assert ingest("item_id,category_id\na,food\nb,\n", features=FeaturesConfig(), share=0.5) == [
        (b"a", b"food", b"", b"")]
    assert listed.read_text().splitlines()[1].startswith(f"{tmp_path}/0.csv,2,missing category_id,")
    assert f"1 of 2 rows of --catalog {tmp_path}/*.csv are malformed: 1 missing category_id." in capsys.readouterr().out
    ingest("item_id,category_id\na,food\nb,food\n", features=FeaturesConfig())
    assert not listed.exists()


def test_too_many_malformed_rows_are_an_error_and_listed(ingest, tmp_path):
    with pytest.raises(ValueError, match=r"1 of 2 rows .* At most 49% may be\. Correct them"):
        ingest("item_id,category_id\na,food\nb,\n", features=FeaturesConfig(), share=0.49)
    assert (tmp_path / "rejected" / "refresh.csv").exists()


def test_a_catalogue_without_rows_is_none(ingest):
    assert ingest("item_id,category_id\n", features=FeaturesConfig()) == []
