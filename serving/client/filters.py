"""What a user may be answered."""

import dataclasses
from collections.abc import Sequence

from serving.client.texts import as_texts


@dataclasses.dataclass(frozen=True)
class Filters:
    """What `retrieve` and `explain` let through; nothing is held back by default. Unknown ids filter nothing out.

    Attributes:
        exclude_items: never these item ids.
        allow_categories: only items of these category ids; none means of all.
        deny_categories: never items of these; goes before `allow_categories`.
        exclude_seen: never an item of the history.
        limit: at most so many items; 0 means as many as the servable answers.

    Raises:
        ValueError: a negative limit.
        TypeError: ids that are no text.
    """

    exclude_items: Sequence[str] = ()
    allow_categories: Sequence[str] = ()
    deny_categories: Sequence[str] = ()
    exclude_seen: bool = False
    limit: int = 0

    def __post_init__(self):
        for name in ("exclude_items", "allow_categories", "deny_categories"):
            object.__setattr__(self, name, as_texts(name, getattr(self, name)))
        if self.limit < 0:
            raise ValueError(f"limit must be at least 0, got {self.limit}")
