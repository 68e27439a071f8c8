"""What several settings do to a voice, as a plot. Knows neither the judges nor the engine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]

DRAWN = {"wer": "WER %", "cer": "CER %", "ser": "SER %", "per": "PER %", "mos": "predicted MOS", "rtf": "RTF"}
"""The rows."""
VARIED = {"steps": "steps of the flow", "guidance": "guidance", "dtype": "computed in", "temperature": "temperature"}
"""The columns."""


def draw(path: Path, results: Sequence[Result]) -> None:
    """A row for each figure, a column for each thing that was varied: what is served has a ring, the teacher is dotted.

    Draws nothing without matplotlib, or where there is nothing to compare.
    """
    try:
        from matplotlib.figure import Figure  # optional
    except ImportError:
        return
    columns = {name: found for name in VARIED if (found := _lines(results, name))}
    rows = [name for name in DRAWN if any(result.get(name) is not None for result in results)]
    if not columns:
        return
    figure = Figure(figsize=(4 * len(columns), 2.2 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex="col", sharey="row")
    for (row, shown), name in ((pair, name) for pair in enumerate(rows) for name in columns):
        axes = grid[row][list(columns).index(name)]
        _panel(axes, columns[name], name, shown)
        _mark(axes, [result for result in results if result["name"] == "teacher"], shown)
        axes.set_ylabel(DRAWN[shown] if name == next(iter(columns)) else "")
        axes.set_xlabel(VARIED[name] if shown == rows[-1] else "")
        axes.grid(alpha=0.3)
    for axes in grid[0]:
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _lines(results: Sequence[Result], name: str) -> dict[str, list[Result]]:
    """What differs in this alone: settings that belong on one line, by what they have in common."""
    lines: dict[str, list[Result]] = {}
    for result in results:
        if "steps" in result:  # the teacher has no settings
            rest = [f"{other} {result[other]}" for other in VARIED if other != name]
            lines.setdefault(", ".join(rest), []).append(result)
    return {rest: points for rest, points in lines.items() if len(points) > 1}


def _panel(axes: Any, lines: Mapping[str, Sequence[Result]], name: str, shown: str) -> None:
    for rest, line in lines.items():
        points = [(result[name], _value(result, shown), result["as_served"]) for result in line if shown in result]
        ordered = sorted(points, key=lambda point: point[0])
        places = [place for place, _, _ in ordered]
        style = "" if isinstance(places[0], str) else "-"  # nothing lies between names
        axes.plot(places, [value for _, value, _ in ordered], style, marker="o", label=rest)
        served = [(place, value) for place, (_, value, is_served) in zip(places, ordered, strict=True) if is_served]
        if served:
            axes.plot(*zip(*served, strict=True), "o", markersize=13, fillstyle="none", color="black")


def _mark(axes: Any, teachers: Sequence[Result], shown: str) -> None:
    for teacher in teachers:
        if teacher.get(shown) is not None:
            axes.axhline(_value(teacher, shown), linestyle=":", color="grey")


def _value(result: Result, shown: str) -> float:
    value: float = result[shown]
    return 100 * value if DRAWN[shown].endswith("%") else value
