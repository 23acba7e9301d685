"""python -m scripts.config_reference > docs/configuration.md     Every setting, out of the dataclasses that hold it."""

import dataclasses
import inspect
import sys

import yaml

from tfx_pipeline.config import PipelineConfig

_HEAD = """# Configuration

Every setting of a run's YAML file (`--config`), its default, what it may be and what it means. A file names what it
changes and leaves out the rest:

```yaml
history: {long: 2000}
training: {steps: 3000}
```

An unknown section or setting, a value of another type or out of range is refused by name. Made from the dataclasses in
[`ulim_tf/config.py`](../ulim_tf/config.py) and [`tfx_pipeline/config.py`](../tfx_pipeline/config.py) by `make docs`;
edit those.
"""


def render() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *(_section(field.name, type(field.default))
                               for field in dataclasses.fields(PipelineConfig))])


def _section(name: str, kind: type) -> str:
    rows = [f"| `{field.name}` | `{_yaml(field.default)}` | {_range(field)} | {field.metadata['doc']} |"
            for field in dataclasses.fields(kind)]
    return "\n".join([f"## `{name}`", "", inspect.getdoc(kind), "", "| setting | default | values | meaning |",
                      "|---|---|---|---|", *rows, ""])


def _range(field: dataclasses.Field) -> str:
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if low is not None and high is not None:
        return f"{low:,} to {high:,}"
    if low is not None:
        return f"from {low:,}"
    return {bool: "`true`, `false`", tuple: "names"}[type(field.default)]


def _yaml(value: object) -> str:
    return yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True).split("\n")[0]


if __name__ == "__main__":
    sys.stdout.write(render())
