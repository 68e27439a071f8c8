"""What the pictures have in common: colours, axes, text that a font can draw, waveforms. Its users need matplotlib."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intone.client.audio import Samples
from intone.client.extras import MissingExtraError

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
KIND_COLORS = {"speech": "#2f6fde", "filler": "#e08a1e", "silence": "#9aa5b1"}
SENT, FIRST, UNDERRUN = "#7c5cc4", "#d64545", "#f5c6c6"
STAGE_COLORS = ("#2f6fde", "#1b9e8a", "#e08a1e", "#7c5cc4", "#d64545", "#4c9f38", "#9aa5b1")


def new_figure(width_inches: float, height_inches: float) -> Any:
    """An empty figure that needs no display.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # heavy, and optional
    except ImportError as error:
        raise MissingExtraError("a picture", "plot") from error
    return Figure(figsize=(width_inches, height_inches), dpi=120, facecolor="white", layout="constrained")


def shorten(text: str, characters: int) -> str:
    """The text in one line of so many characters at most."""
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def drawable(text: str) -> str:
    """Text that matplotlib does not take for a formula, or a note where its font has not the characters."""
    from matplotlib import font_manager  # heavy, and optional; whoever draws has it

    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    if all(font.get_char_index(ord(character)) for character in text):
        return text.replace("$", r"\$")
    return "(not in the font of this picture)"


def style_axes(axes: Any, title: str, ylabel: str) -> None:
    """The look of a panel."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=9, color=MUTED)
    axes.tick_params(labelsize=8, colors=MUTED)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)


def envelope(samples: Samples, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest sample in each of at most `columns` equal pieces."""
    pieces = [piece for piece in np.array_split(samples, columns) if len(piece)]
    return np.array([piece.min() for piece in pieces]), np.array([piece.max() for piece in pieces])
