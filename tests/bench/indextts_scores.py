"""The quality table of streamed IndexTTS: figures of each chunk plan as Markdown and as a picture. Knows no model.

Used by `indextts_streaming.py`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from indextts_borders import USUAL, Borders
from numpy.typing import NDArray

from intone.client.tools.drawing import (
    FIRST,
    INK,
    MUTED,
    SERIES_COLORS,
    new_figure,
    set_title,
    style_axes,
    style_legend,
)

SECOND_FRAMES = 22050 / 256
ALONE = "norms alone"  # the default plan, with norms that never heard the recording
ANEW = "vocoder anew"  # the default plan, each chunk's sound made from its frames alone


@dataclass(frozen=True)
class Score:
    """Of one plan over all units.

    Attributes:
        l1: mean difference of log mel.
        cepstral_db: mel-cepstral distortion.
        share: `l1` in parts of that of another sentence.
        conditions: relative L2 difference of the conditions that the context keeps; nan where it keeps none.
        work: frames solved for and given, in parts of those of whole units.
        first_ms: audio of the first chunk.
        by_frame: `[F]`, difference at each frame of the units.
        borders: where chunks meet.
    """

    l1: float
    cepstral_db: float
    share: float
    conditions: float
    work: float
    first_ms: float
    by_frame: NDArray[np.float64]
    borders: Borders


def lines(scores: dict[str, Score]) -> Iterator[str]:
    """The table, in Markdown."""
    yield (
        "| plan | first chunk ms | log-mel L1 | MCD dB | of another sentence | conditions | frames solved | "
        "borders | jump | over usual | largest flux |"
    )
    yield "|---|" + "---:|" * 10
    for name, s in scores.items():
        yield (
            f"| {name} | {s.first_ms:.0f} | {s.l1:.3f} | {s.cepstral_db:.3f} | {100 * s.share:.1f} % | "
            f"{'–' if math.isnan(s.conditions) else f'{100 * s.conditions:.1f} %'} | {s.work:.2f} | "
            f"{s.borders.count} | {s.borders.jump:.2f} | {100 * s.borders.over_usual:.1f} % | {s.borders.largest:.2f} |"
        )


LEGEND = f"""\
- *log-mel L1*, *MCD*, *of another sentence*: mel against that of whole units: mean difference of log mel,
  mel-cepstral distortion, and the first in parts of the difference to another sentence.
- *conditions*: how far the regulator's output is from that of whole units, where the context keeps it.
- *frames solved*: work of the flow, whole units = 1.
- *jump*: the largest difference of neighbouring samples where chunks meet, the largest of the whole units = 1.
  The sound of untrained weights is noise, which hides all but large ones.
- *over usual*: frames where chunks meet whose spectral flux is over that of {USUAL} % of the frames elsewhere;
  about {100 - USUAL} % where borders cannot be told.
- *largest flux*: where chunks meet, the largest elsewhere = 1.
- `{ANEW}`: what borders sound like without a vocoder that streams. `{ALONE}`: what mel is like when the norms
  have not heard the recording."""


def draw(scores: dict[str, Score], path: Path) -> None:
    """Mel: difference over time for some plans, and the mean of all. Sound: flux and jumps at borders."""
    figure = new_figure(11, 8.5)
    (over_time, shares), (changes, jumps) = figure.subplots(2, 2, width_ratios=(3, 2))
    set_title(figure, "How close streamed IndexTTS is to whole units")
    for color, name in zip(SERIES_COLORS, ("default", "lookahead 0", "context 0", ALONE), strict=False):
        if name in scores:
            curve = np.convolve(scores[name].by_frame, np.ones(9) / 9, mode="same")
            over_time.plot(np.arange(len(curve)) / SECOND_FRAMES, curve, label=name, linewidth=1.2, color=color)
    style_axes(over_time, "Mel: difference to the whole unit, over time", "log-mel L1")
    over_time.set(ylim=(0, None))
    over_time.set_xlabel("seconds", fontsize=9, color=MUTED)
    style_legend(over_time, ncols=4, loc="upper center")
    over_time.set_ylim(0, 1.12 * over_time.get_ylim()[1])
    style_axes(shares, "Mel: mean; another sentence is 100 %", "")
    shares.barh(list(scores), [100 * s.share for s in scores.values()], color=SERIES_COLORS[0])
    shares.set_xlabel("percent", fontsize=9, color=MUTED)
    style_axes(changes, "Sound: spectral flux where chunks meet (dots), elsewhere (bars)", "")
    for place, s in enumerate(scores.values()):
        low, middle, high = np.percentile(s.borders.elsewhere, (100 - USUAL, 50, USUAL))
        changes.plot((low, high), (place, place), color="0.75", linewidth=7, solid_capstyle="butt", zorder=1)
        changes.plot(middle, place, "|", color="0.4", markersize=8, zorder=2)
        changes.plot(s.borders.at, [place] * len(s.borders.at), ".", color=FIRST, markersize=4, alpha=0.6, zorder=3)
    changes.set_yticks(range(len(scores)), list(scores))
    changes.set_xlabel(f"spectral flux; bars from {100 - USUAL} to {USUAL} %", fontsize=9, color=MUTED)
    style_axes(jumps, "Sound: largest jump where chunks meet", "")
    jumps.barh(list(scores), [s.borders.jump for s in scores.values()], color=SERIES_COLORS[1])
    jumps.axvline(1.0, color=INK, linewidth=0.8, linestyle=":")
    jumps.set_xlabel("largest jump of whole units = 1", fontsize=9, color=MUTED)
    for axes in (shares, changes, jumps):
        axes.invert_yaxis()
    figure.savefig(path)
