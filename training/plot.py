"""Plots evaluation metrics over the inference settings that were compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]

METRICS = {"wer": "WER %", "cer": "CER %", "ser": "SER %", "per": "PER %", "mos": "predicted MOS", "rtf": "RTF"}
"""Rows of the plot: metric → label."""
SETTINGS = {"steps": "flow steps", "guidance": "guidance", "dtype": "precision", "temperature": "temperature"}
"""Columns of the plot: setting → label."""


def draw(path: Path, results: Sequence[Result]) -> None:
    """Plot a row per metric and a column per varied setting. The default has a ring; the teacher is a dotted line.

    Does nothing without matplotlib or if no setting was varied.
    """
    try:
        from matplotlib.figure import Figure  # optional dependency
    except ImportError:
        return
    columns = {name: lines for name in SETTINGS if (lines := _lines(results, name))}
    rows = [name for name in METRICS if any(result.get(name) is not None for result in results)]
    if not columns:
        return
    figure = Figure(figsize=(4 * len(columns), 2.2 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex="col", sharey="row")
    for (row, metric), name in ((pair, name) for pair in enumerate(rows) for name in columns):
        axes = grid[row][list(columns).index(name)]
        _panel(axes, columns[name], name, metric)
        _mark(axes, [result for result in results if result["name"] == "teacher"], metric)
        axes.set_ylabel(METRICS[metric] if name == next(iter(columns)) else "")
        axes.set_xlabel(SETTINGS[name] if metric == rows[-1] else "")
        axes.grid(alpha=0.3)
    for axes in grid[0]:
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _lines(results: Sequence[Result], name: str) -> dict[str, list[Result]]:
    """Results that differ in the setting `name` only, by a label of their common settings; groups of two or more."""
    lines: dict[str, list[Result]] = {}
    for result in results:
        if "steps" in result:  # the teacher has no settings
            rest = [f"{other} {result[other]}" for other in SETTINGS if other != name]
            lines.setdefault(", ".join(rest), []).append(result)
    return {rest: points for rest, points in lines.items() if len(points) > 1}


def _panel(axes: Any, lines: Mapping[str, Sequence[Result]], name: str, metric: str) -> None:
    for rest, line in lines.items():
        points = [(result[name], _value(result, metric), result["as_served"]) for result in line if metric in result]
        ordered = sorted(points, key=lambda point: point[0])
        settings = [setting for setting, _, _ in ordered]
        style = "" if isinstance(settings[0], str) else "-"  # no line between categories
        axes.plot(settings, [value for _, value, _ in ordered], style, marker="o", label=rest)
        served = [(setting, value) for setting, value, is_served in ordered if is_served]
        if served:
            axes.plot(*zip(*served, strict=True), "o", markersize=13, fillstyle="none", color="black")


def _mark(axes: Any, teachers: Sequence[Result], metric: str) -> None:
    for teacher in teachers:
        if teacher.get(metric) is not None:
            axes.axhline(_value(teacher, metric), linestyle=":", color="grey")


def _value(result: Result, metric: str) -> float:
    value: float = result[metric]
    return 100 * value if METRICS[metric].endswith("%") else value
