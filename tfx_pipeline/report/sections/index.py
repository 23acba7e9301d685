"""The index in the servable: what it holds, what it finds, how large it is."""

from collections.abc import Iterator

from tfx_pipeline.components.index_builder import index_facts
from tfx_pipeline.report.blocks import Block, Facts, Missing, Table
from tfx_pipeline.report.subject import Subject
from tfx_pipeline.report.wording import number, share, size


def blocks(subject: Subject) -> Iterator[Block]:
    """Facts of the index, and the categories where it finds least."""
    servable = subject.output("IndexBuilder", "servable")
    if servable is None:
        yield Missing("No index was built.")
        return
    if not (servable / index_facts.FILE).is_file():
        yield Missing("This servable is from the cache, and older than what is told of an index.")
        return
    facts = index_facts.read(servable)
    retrieval = subject.config.retrieval
    yield Facts({
        "Kind": facts.kind,
        "Items": number(facts.items),
        **({"Rare items, not answered": number(facts.rare)} if facts.rare else {}),
        "Categories": number(facts.categories),
        "Size of the servable": size(facts.bytes),
        "Finds inside a category": share(facts.recall_in_category),
        "Finds in the whole pool": share(facts.recall_pool),
        "At least wanted": f"{share(retrieval.least_recall)} and {share(retrieval.least_pool_recall)}",
    })
    if facts.worst:
        yield Table(f"Where it finds least of the best {retrieval.per_category} items", ["category", "found"],
                    [[category, share(found)] for category, found in facts.worst.items()])
