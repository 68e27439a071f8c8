"""Parts of a model beside the least time that a machine needs for them: as Markdown and as a picture. Measures nothing.

Used by `voxcpm_ops.py` and `indextts_ops.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from conditions import counted

from intone.client.tools.drawing import GRID, INK, MUTED, SERIES_COLORS, new_figure, set_title, style_axes

MARKERS = "ovsD"  # of a linear layer, by its number of rows


@dataclass(frozen=True)
class Machine:
    """What it reaches: bytes a second from memory, operations a second by type of weights; both in 10⁹."""

    read_gb_s: float
    gop_s: dict[str, float]


@dataclass(frozen=True)
class Part:
    """One thing that was timed; `operations` are multiplications and additions of its matrices."""

    name: str
    kind: str
    rows: int
    took_ms: float
    bytes_read: int
    operations: int
    machine: Machine

    @property
    def read_ms(self) -> float:
        """To read its bytes once."""
        return self.bytes_read / self.machine.read_gb_s / 1e6

    @property
    def compute_ms(self) -> float:
        """To do its operations."""
        return self.operations / self.machine.gop_s[self.kind] / 1e6

    @property
    def floor_ms(self) -> float:
        """The longer of both."""
        return max(self.read_ms, self.compute_ms)

    @property
    def is_linear(self) -> bool:
        """One matrix, not a part of the model that is made of them."""
        return "×" in self.name


def beside_the_best(parts: Sequence[Part]) -> list[Part]:
    """The same on a machine that does what the best of them did: others use it too, and a moment's rate is no limit."""
    known = parts[0].machine
    read_gb_s = max(known.read_gb_s, *(part.bytes_read / part.took_ms / 1e6 for part in parts))
    gop_s = dict(known.gop_s)
    for part in parts:
        gop_s[part.kind] = max(gop_s[part.kind], part.operations / part.took_ms / 1e6)
    return [replace(part, machine=Machine(read_gb_s, gop_s)) for part in parts]


def lines(parts: Sequence[Part]) -> Iterator[str]:
    """A Markdown table."""
    yield "| part | weights | rows | µs | MB | 10⁶ operations | reading, µs | computing, µs | × the floor |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|"
    for part in parts:
        figures = f"{1000 * part.took_ms:.0f} | {part.bytes_read / 1e6:.1f} | {part.operations / 1e6:.1f}"
        floors = [
            f"**{1000 * each:.0f}**" if each == part.floor_ms else f"{1000 * each:.0f}"
            for each in (part.read_ms, part.compute_ms)
        ]
        ratio = f"{part.took_ms / part.floor_ms:.2f}"
        yield f"| {part.name} | {part.kind} | {part.rows} | {figures} | {' | '.join(floors)} | {ratio} |"


def shown(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def draw(parts: Sequence[Part], title: str, path: Path) -> None:
    """Left, linear layers under the roof of the machine; right, whole parts with the floor of each."""
    whole = [part for part in parts if not part.is_linear]
    kinds = list(dict.fromkeys(part.kind for part in parts))
    colors = dict(zip(kinds, cycle(SERIES_COLORS), strict=False))
    figure = new_figure(13, max(5.5, 0.27 * len(whole) + 1.6))
    roof, bars = figure.subplots(1, 2, width_ratios=(5, 6))
    set_title(figure, title)
    _draw_roof(roof, [part for part in parts if part.is_linear], colors)
    style_axes(bars, "whole parts, and the least time possible (black line)", "")
    for row, part in enumerate(whole):
        bars.barh(row, part.took_ms, color=colors[part.kind], height=0.68)
        bars.plot((part.floor_ms, part.floor_ms), (row - 0.42, row + 0.42), color="black", linewidth=1.6)
        bars.annotate(
            f" {shown(part.took_ms)} ms, {part.took_ms / part.floor_ms:.2f}×",
            (max(part.took_ms, part.floor_ms), row),
            va="center",
            fontsize=7.5,
            color=INK,
        )
    bars.set_yticks(range(len(whole)), [f"{part.name}, {part.kind}, {part.rows} rows" for part in whole])
    bars.set(xscale="log", ylim=(len(whole) - 0.4, -0.6))
    bars.set_xlim(right=3 * bars.get_xlim()[1])
    bars.xaxis.set_major_formatter("{x:g}")
    bars.xaxis.set_minor_formatter("")
    bars.set_xlabel("milliseconds", fontsize=9, color=MUTED)
    figure.savefig(path)


def _draw_roof(axes: Any, parts: Sequence[Part], colors: dict[str, str]) -> None:
    """Operations a second against operations to a byte read, both logarithmic."""
    style_axes(axes, "linear layers, and what the machine allows", "10⁹ operations a second")
    machine = parts[0].machine
    density = np.geomspace(0.4, 4 * max(100, *(part.rows for part in parts)))
    markers = dict(zip(sorted({part.rows for part in parts}), MARKERS, strict=False))
    for kind in dict.fromkeys(part.kind for part in parts):
        allowed = np.minimum(density * machine.read_gb_s, machine.gop_s[kind])
        axes.plot(density, allowed, color=colors[kind], linewidth=1.2, label=kind)
    for part in parts:
        place = (part.operations / part.bytes_read, part.operations / part.took_ms / 1e6)
        axes.plot(*place, markers[part.rows], color=colors[part.kind], markersize=6, markeredgecolor="white")
    for rows, marker in markers.items():
        axes.plot([], [], marker, color=MUTED, label=counted(rows, "row"))
    axes.set(xscale="log", yscale="log")
    from matplotlib.ticker import LogLocator  # an optional dependency

    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_xlabel("operations to a byte of weights", fontsize=9, color=MUTED)
    axes.legend(fontsize=8, loc="lower right", edgecolor="none", labelcolor=INK)
