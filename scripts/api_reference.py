"""python -m scripts.api_reference > docs/api.md     The public interface, out of the code's docstrings."""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import serving.client
import ulim_tf

_HEAD = """# Python interface

What a program may import, with the first paragraph of each docstring; `help(name)` tells the rest: shapes, units,
errors. What is not listed here may change without notice. Made from the code by `make docs`; edit the docstrings.

Axes: B batch · L long history · S short history · M same-category subsequence · N distinct categories in a history ·
K predicted categories · C all categories · V all items · D width · T targets of a moment · R candidates returned ·
U users · O buckets of items without a row · A content tokens · P most tokens of an item or a user.
"""


def render() -> str:
    """The page, in Markdown."""
    parts = [(name, value) for name, value in _public(ulim_tf) if inspect.ismodule(value)]
    names = [(name, value) for name, value in _public(ulim_tf) if not inspect.ismodule(value)]
    return "\n".join([_HEAD, *_section("ulim_tf", "", names),
                      *(line for name, module in parts
                        for line in _section(f"ulim_tf.{name}", _first_paragraph(module), _own(module))),
                      *_section("serving.client", _first_paragraph(serving.client), _public(serving.client))])


def _public(package: ModuleType) -> list[tuple[str, Any]]:
    return [(name, getattr(package, name)) for name in package.__all__]


def _own(module: ModuleType) -> list[tuple[str, Any]]:
    """Public functions and classes of a module, in its order, but for what the package has under its own name."""
    return [(name, value) for name, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value)) and name not in ulim_tf.__all__]


def _section(title: str, text: str, names: Iterable[tuple[str, Any]]) -> Iterator[str]:
    names = list(names)
    yield from (f"## `{title}`", "", *([text, ""] if text else []))
    yield from _table((name, value) for name, value in names if not inspect.isclass(value))
    for name, kind in names:
        if inspect.isclass(kind):
            yield from (f"### `{name}`", "", _first_paragraph(kind), "", _made(name, kind), "")
            yield from _table((one, value) for one, value in vars(kind).items() if not one.startswith("_")
                              and value.__doc__ and (inspect.isroutine(value) or isinstance(value, property)))


def _made(name: str, kind: type) -> str:
    settings = {type(field.default): field.name for field in dataclasses.fields(ulim_tf.UlimConfig)}
    if kind in settings:
        return f"Its fields: [configuration.md](configuration.md#{settings[kind]})."
    return f"`{name}({_parameters(kind)})`"


def _table(names: Iterable[tuple[str, Any]]) -> list[str]:
    rows = []
    for name, value in names:
        call = "" if isinstance(value, property) else f"({_parameters(value)})"
        text = _first_paragraph(value).replace("|", r"\|")
        rows.append(f"| `{name}{call}` | {text} |")
    return ["| | |", "|---|---|", *rows, ""] if rows else []


def _parameters(function: Callable[..., Any]) -> str:
    """Names and defaults; types are in the docstrings, and would make most of a line."""
    none = inspect.Parameter.empty
    shown = [one.replace(annotation=none, default=one.default if one.default is none else _Default(one.default))
             for one in inspect.signature(function).parameters.values() if one.name not in ("self", "cls")]
    return str(inspect.Signature(shown))[1:-1]


@dataclasses.dataclass(frozen=True)
class _Default:
    value: Any

    def __repr__(self) -> str:
        return f"{type(self.value).__name__}()" if dataclasses.is_dataclass(self.value) else repr(self.value)


def _first_paragraph(value: Any) -> str:
    return " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())


if __name__ == "__main__":
    sys.stdout.write(render())
