"""The report of `gpu.py` as Markdown. Needs only the standard library, and accepts reports of any part of the steps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def markdown(report: Mapping[str, Any]) -> str:
    """Conditions, the state of each step, then a table or list of its figures."""
    steps = report["steps"]
    lines = ["# intone on a GPU", "", *(f"- {name}: {text}" for name, text in report["about"].items()), ""]
    rows = [(name, step["status"], f"{step['took_s']:.1f}") for name, step in steps.items()]
    lines += table(("step", "ended", "s"), rows)
    for name, step in steps.items():
        lines += ["", f"## {name}", ""]
        for key, value in step["figures"].items():
            lines += _shown(key, value)
        if step["tail"]:
            lines += ["", "```", step["tail"], "```"]
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def _shown(key: str, value: Any) -> Iterator[str]:
    """A list of mappings is a table, anything else a line."""
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        head = list(dict.fromkeys(name for row in value for name in row))
        yield from ("", f"**{key}**", "")
        yield from table(head, [[number(row.get(name, "")) for name in head] for row in value])
        yield ""
    else:
        yield f"- {key}: {number(value)}"


def number(value: Any) -> str:
    """Three significant digits, or all before the point; mappings as a list."""
    if isinstance(value, bool) or not isinstance(value, int | float | Mapping):
        return str(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number(each)}" for name, each in value.items())
    if isinstance(value, int):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
