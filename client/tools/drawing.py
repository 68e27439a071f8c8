"""Building blocks of the pictures: colours, panels, legends, labels without overlaps, waveforms. Needs matplotlib.

One colour means one thing in all pictures: what is heard (`KIND_COLORS`), what a listener waits for (`WAIT_COLORS`), a
stage of synthesis (`stage_colors`), an engine (`engine_color`). `SERIES_COLORS` are for anything else.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
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
EMOTION = "#c2479b"
WAIT_COLORS = {"text": "#ddd3f2", "server": "#a9c5f5", "filler ends": "#f8e1bd"}
"""What a listener waits for: text that is being written, the server, a filler that has not ended. Pale, beside
`KIND_COLORS`."""
SERIES_COLORS = ("#0f6e63", "#8a5a2b", "#6b7785", "#5f7f2f", "#00798c", "#c2479b")
_STAGE_COLORS = {
    "diffusion": "#0f6e63",
    "decoding to sound": "#3fa796",
    "language model": "#8a5a2b",
    "reading text and voice": "#d2b48c",
    "synthesis": "#3fa796",
}
_MORE_STAGE_COLORS = ("#5b7a8c", "#9fb8c6", "#36505f", "#c9d6dd")
_ENGINE_COLORS = {"starter": "#6b7785", "voxcpm": "#5f7f2f", "indextts": "#7a3b69"}
_OTHER_ENGINE_COLOR = "#00798c"

_CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti TC",
    "STHeiti",
    "Microsoft YaHei",
    "SimHei",
    "Arial Unicode MS",
)
"""Fonts with Chinese characters that systems come with, tried in this order for what matplotlib's font lacks."""

_SCRIPTS = {
    "CJK": "Chinese",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Korean",
    "CYRILLIC": "Cyrillic",
}
"""By the first word of the Unicode names of their characters."""

LEGEND_INCHES = 0.22
"""Height of the grid row of a legend."""

TITLE_INCHES = 0.52
"""Height of the grid row of a title with the line below it."""

_TOP_INCHES = 0.08

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
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06, rect=(0, 0, 1, 1 - _TOP_INCHES / height_inches))
    return Figure(figsize=(width_inches, height_inches), dpi=120, facecolor="white", layout=layout)


@contextmanager
def picture_fonts() -> Iterator[None]:
    """Texts that are made inside have a font with Chinese characters to fall back on, where this machine has one.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import rc_context  # slow to import, and optional

    with rc_context({"font.family": list(_font_families())}):
        yield


@lru_cache(maxsize=1)
def _font_families() -> tuple[str, ...]:
    from matplotlib import font_manager  # slow to import, and optional

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ("DejaVu Sans", *[name for name in _CJK_FONTS if name in installed][:1])


def add_title(figure: Any, cell: Any, text: str, facts: str = "") -> None:
    """Put a title into a cell of the grid, of `TITLE_INCHES`, with a line of facts below, shortened to its width."""
    axes = figure.add_subplot(cell)
    axes.set_axis_off()
    lines = ((1.0, "top", text, 14, INK, "bold"), (0.0, "bottom", facts, 9.5, MUTED, "normal"))
    for y, va, line, size, color, weight in lines:
        drawn = axes.text(0, y, "", ha="left", va=va, fontsize=size, color=color, fontweight=weight)
        drawn.set_in_layout(False)
        _fit(drawn, line, 0.9 * figure.bbox.width)


def set_title(figure: Any, text: str) -> None:
    """Put a title above all panels of a figure that has no grid row for it."""
    figure.suptitle(text, x=0.012, ha="left", fontsize=13, color=INK, fontweight="bold")


def style_legend(axes: Any, **where: Any) -> None:
    """A legend in the style of the pictures, of what was drawn with labels."""
    axes.legend(fontsize=8, frameon=False, labelcolor=INK, **where)


def stage_colors(names: Sequence[str]) -> dict[str, str]:
    """A colour for each stage of synthesis, by its name from `stages.named_stages`."""
    others = [name for name in names if name not in _STAGE_COLORS]
    more = {name: _MORE_STAGE_COLORS[number % len(_MORE_STAGE_COLORS)] for number, name in enumerate(others)}
    return {name: _STAGE_COLORS.get(name) or more[name] for name in names}


def engine_color(name: str) -> str:
    """The colour of an engine."""
    return _ENGINE_COLORS.get(name, _OTHER_ENGINE_COLOR)


def shorten(text: str, characters: int) -> str:
    """The text on one line, cut to at most this many characters."""
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"


def drawable(text: str) -> str:
    """Escape text for matplotlib, which would read `$` as math, and say in words what no font here can draw."""
    runs = groupby(text, lambda character: has_glyph(character) or character.isspace())
    parts = ["".join(run) if known else _in_words("".join(run)) for known, run in runs]
    return "".join(parts).replace("$", r"\$")


@lru_cache(maxsize=4096)
def has_glyph(character: str) -> bool:
    """Whether the fonts of the pictures can draw a character."""
    from matplotlib import font_manager  # slow to import, and optional

    files = [font_manager.findfont(font_manager.FontProperties(family=[name])) for name in _font_families()]
    return any(font_manager.get_font(file).get_char_index(ord(character)) for file in files)


def _in_words(text: str) -> str:
    """What stands for characters that cannot be drawn, such as “(9 Chinese characters)”."""
    letters = [character for character in text if character.isalnum()]
    if not letters:
        return ""  # punctuation and pictures
    scripts = {_SCRIPTS.get(unicodedata.name(character, "").split(" ")[0].split("-")[0], "") for character in letters}
    script = f"{scripts.pop()} " if len(scripts) == 1 else ""
    return f"({len(letters)} {script.lstrip()}character{'s' if len(letters) > 1 else ''})"


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
