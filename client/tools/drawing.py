"""Building blocks of the pictures: colours, panels, legends, labels without overlaps, waveforms. Needs matplotlib."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intone.client.audio import Samples
from intone.client.extras import MissingExtraError

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
KIND_COLORS = {"speech": "#2f6fde", "filler": "#e08a1e", "silence": "#9aa5b1"}
SENT, FIRST, UNDERRUN = "#7c5cc4", "#d64545", "#f5c6c6"
STAGE_COLORS = (
    "#2f6fde",
    "#1b9e8a",
    "#e08a1e",
    "#7c5cc4",
    "#d64545",
    "#4c9f38",
    "#9aa5b1",
    "#c2479b",
    "#7a5230",
)

LEGEND_INCHES = 0.22
"""Height of the grid row of a legend."""

_GAP_PIXELS = 5
_MIN_CHARACTERS = 7
"""A text that would be shortened to less is left out."""


def require_matplotlib() -> None:
    """Check, before time is spent on what is to be drawn, that it can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("drawing a picture", "plot")


def new_figure(width_inches: float, height_inches: float) -> Any:
    """An empty figure that needs no display.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure  # slow to import, and optional

    return Figure(figsize=(width_inches, height_inches), dpi=120, facecolor="white", layout="constrained")


def add_title(figure: Any, text: str) -> None:
    """Put a title above everything else, shortened to the width of the figure."""
    title = figure.suptitle("", x=0.01, ha="left", fontsize=14, color=INK, fontweight="bold")
    _fit(title, text, 0.98 * figure.bbox.width)


def shorten(text: str, characters: int) -> str:
    """The text on one line, cut to at most this many characters."""
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"


def drawable(text: str) -> str:
    """Escape text for matplotlib, which would read `$` as math. "…" replaces what its font cannot draw."""
    from matplotlib import font_manager  # slow to import, and optional

    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    runs = groupby(text, lambda character: bool(font.get_char_index(ord(character))))
    return "".join("".join(run) if known else "…" for known, run in runs).replace("$", r"\$")


def style_axes(axes: Any, title: str, ylabel: str) -> None:
    """Set the title, the label and the look of a panel."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=9, color=MUTED)
    axes.tick_params(labelsize=8, colors=MUTED)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)


def add_panel(figure: Any, cells: Sequence[Any], title: str, ylabel: str, legend: Sequence[tuple[str, str]]) -> Any:
    """Add a panel and return its axes.

    Args:
        cells: two cells of the figure's grid, for the title with the legend, in a row of `LEGEND_INCHES`, and for the
            axes. Panels of one column are aligned.
        legend: (label, colour) pairs; may be empty.
    """
    top, axes = (figure.add_subplot(cell) for cell in cells)
    style_axes(top, title, "")
    top.set_axis_off()
    style_axes(axes, "", ylabel)
    if legend:
        add_legend(top, legend)
    return axes


def add_legend(axes: Any, legend: Sequence[tuple[str, str]]) -> None:
    """Draw a legend in axes of its own, in as many columns as fit their width."""
    from matplotlib.patches import Patch  # slow to import, and optional

    handles = [Patch(color=color, label=label) for label, color in legend]
    width = axes.get_window_extent().width  # before the layout, which makes axes wider
    for columns in range(len(handles), 0, -1):
        drawn = axes.legend(
            handles=handles,
            loc="upper left",
            ncols=columns,
            fontsize=8,
            frameon=False,
            labelcolor=INK,
            borderaxespad=0,
            borderpad=0,
        )
        if drawn.get_window_extent().width <= width:
            return


@dataclass(frozen=True, slots=True)
class Label:
    """A text that starts at `x`, in data coordinates.

    Attributes:
        variants: the first one that fits on the right is drawn, else the first one that fits when moved to the left.
        text: tried before them, shortened to the room on the right.
    """

    x: float
    variants: Sequence[str]
    color: str
    text: str = ""


def freeze_layout(figure: Any) -> None:
    """Lay out the figure and keep the layout, so that `place_labels` can measure."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def place_labels(axes: Any, y: float, labels: Sequence[Label], fontsize: float, barriers: Sequence[float] = ()) -> None:
    """Draw labels in a row without overlaps. A label that fits nowhere is left out.

    Args:
        y: the centre of the row, in data coordinates.
        barriers: x coordinates that no label may cross, such as those of vertical lines.
    """
    order = sorted(labels, key=lambda label: label.x)
    starts = [_pixel(axes, label.x) for label in order]
    walls = sorted(_pixel(axes, x) for x in barriers)
    edges = axes.get_window_extent()
    free_from = edges.x0
    for number, (label, start) in enumerate(zip(order, starts, strict=True)):
        left = max([free_from, *(wall + _GAP_PIXELS for wall in walls if wall <= start)])
        ends = [edges.x1, *(wall for wall in walls if wall > start), *starts[number + 1 : number + 2]]
        right = min(ends) - _GAP_PIXELS
        drawn = _place(axes, y, label, fontsize, max(start, left), left, right)
        if drawn is not None:
            free_from = drawn.get_window_extent().x1 + _GAP_PIXELS


def _place(axes: Any, y: float, label: Label, fontsize: float, start: float, left: float, right: float) -> Any:
    """Draw a label between `left` and `right`, at `start` if possible. Returns None if it does not fit."""
    drawn = axes.text(0, y, "", fontsize=fontsize, color=label.color, va="center")
    drawn.set_in_layout(False)
    if label.text and _fit(drawn, label.text, right - start):
        drawn.set_x(_data_x(axes, start))
        return drawn
    for leftmost in (start, left):
        for text in label.variants:
            drawn.set_text(drawable(text))
            width = drawn.get_window_extent().width
            if width <= right - leftmost:
                drawn.set_x(_data_x(axes, min(start, right - width)))
                return drawn
    drawn.remove()
    return None


def _fit(drawn: Any, text: str, width: float) -> bool:
    """Shorten the text of an artist until it fits a width in pixels; returns whether it does."""
    characters = len(text)
    while characters >= min(_MIN_CHARACTERS, len(text)):
        drawn.set_text(drawable(shorten(text, characters)))
        needed = drawn.get_window_extent().width
        if needed <= width:
            return True
        characters = min(characters - 1, int(characters * width / needed) + 1)
    return False


def _pixel(axes: Any, x: float) -> float:
    return float(axes.transData.transform((x, 0.0))[0])


def _data_x(axes: Any, pixel: float) -> float:
    return float(axes.transData.inverted().transform((pixel, 0.0))[0])


def envelope(samples: Samples, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest sample in each of at most `columns` equal parts."""
    parts = [part for part in np.array_split(samples, columns) if len(part)]
    return np.array([part.min() for part in parts]), np.array([part.max() for part in parts])
