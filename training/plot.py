"""Plots evaluation metrics over the inference settings that were compared."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
SERIES_COLORS = ("#0f6e63", "#8a5a2b", "#6b7785", "#5f7f2f", "#00798c", "#c2479b")
"""The style of the client's pictures, which this recipe does not import."""

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
    figure = Figure(figsize=(3.6 * len(columns), 1.7 * len(rows) + 0.9), dpi=120, layout="constrained")
    title = "Settings of the packaged voice; what the server uses has a ring"
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, color=INK, fontweight="bold")
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex="col", sharey="row")
    for (row, metric), name in ((pair, name) for pair in enumerate(rows) for name in columns):
        axes = grid[row][list(columns).index(name)]
        _panel(axes, columns[name], name, metric)
        _mark(axes, [result for result in results if result["name"] == "teacher"], metric)
        axes.set_ylabel(METRICS[metric] if name == next(iter(columns)) else "", fontsize=9, color=MUTED)
        axes.set_xlabel(SETTINGS[name] if metric == rows[-1] else "", fontsize=9, color=MUTED)
    for name, axes in zip(columns, grid[0], strict=True):
        rest = list(columns[name])
        axes.set_title(rest[0] if len(rest) == 1 else SETTINGS[name], loc="left", fontsize=9, color=INK)
        if len(rest) > 1:
            axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    figure.savefig(path)


def _lines(results: Sequence[Result], name: str) -> dict[str, list[Result]]:
    """Results that differ in the setting `name` only, by a label of their common settings; groups of two or more."""
    lines: dict[str, list[Result]] = {}
    for result in results:
        if "steps" in result:  # the teacher has no settings
            rest = [f"{other} {result[other]}" for other in SETTINGS if other != name]
            lines.setdefault(", ".join(rest), []).append(result)
    return {rest: points for rest, points in lines.items() if len(points) > 1}


def _panel(axes: Any, lines: Mapping[str, Sequence[Result]], name: str, metric: str) -> None:
    axes.tick_params(labelsize=8, colors=MUTED)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(y=0.16)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)
    for color, (rest, line) in zip(cycle(SERIES_COLORS), lines.items(), strict=False):
        points = [(result[name], _value(result, metric), result["as_served"]) for result in line if metric in result]
        ordered = sorted(points, key=lambda point: point[0])
        settings = [setting for setting, _, _ in ordered]
        style = "none" if isinstance(settings[0], str) else "-"  # no line between categories
        values = [value for _, value, _ in ordered]
        axes.plot(settings, values, linestyle=style, marker="o", label=rest, color=color, linewidth=1.4)
        served = [(setting, value) for setting, value, is_served in ordered if is_served]
        if served:
            axes.plot(*zip(*served, strict=True), "o", markersize=13, fillstyle="none", color=INK)


def _mark(axes: Any, teachers: Sequence[Result], metric: str) -> None:
    for teacher in teachers:
        if teacher.get(metric) is not None:
            axes.axhline(_value(teacher, metric), linestyle=":", color="grey")


def _value(result: Result, metric: str) -> float:
    value: float = result[metric]
    return 100 * value if METRICS[metric].endswith("%") else value
