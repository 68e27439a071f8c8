"""The stage table of IndexTTS: what was measured, as Markdown and as a picture, and how long the rest will take.

Knows no engine. Used by `indextts.py`.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from intone.client.tools.drawing import FIRST, INK, MUTED, new_figure, set_title, stage_colors, style_axes
from intone.client.tools.stages import named_stages

RATE_HZ, HOP_SAMPLES = 22050, 256
CODE_S = 3.44 * HOP_SAMPLES / RATE_HZ
STAGES = ("gpt_gen_time", "gpt_forward_time", "s2mel_time", "bigvgan_time")
REST = "rest"
# Of the official pipeline at the published size on two cores: where the forecast begins.
CODE_TAKES_S, FRAME_STEP_TAKES_S, SOUND_TAKES_S = 0.115, 1.37 / 620, 1.4


@dataclass(frozen=True, order=True)
class Cell:
    """A text of so many characters, said in so many codes, its mel made in so many flow steps."""

    characters: int
    codes: int
    steps: int

    @property
    def audio_s(self) -> float:
        """How long it lasts, but for part of a frame."""
        return self.codes * CODE_S

    def takes_s(self, prompt_s: float) -> float:
        """About what the official pipeline needs for it."""
        frames = (prompt_s + self.audio_s) * RATE_HZ / HOP_SAMPLES
        return CODE_TAKES_S * self.codes + FRAME_STEP_TAKES_S * frames * self.steps + SOUND_TAKES_S * self.audio_s


@dataclass(frozen=True)
class Run:
    """One text spoken once.

    Attributes:
        ttfa_s: from the request to the first sound.
        stall_s: how much later than without a pause its last sound would be heard by who plays it as it comes.
        stages_s: by name; a stage that is not there is one that this pipeline does not have.
    """

    ttfa_s: float
    total_s: float
    audio_s: float
    stall_s: float
    stages_s: dict[str, float]

    @property
    def rtf(self) -> float:
        """Wall time to audio time, first sound included."""
        return self.total_s / self.audio_s


Found = dict[Cell, dict[str, list[Run]]]
"""Runs by cell and by who spoke."""


@dataclass
class Forecast:
    """How long the rest will take: the cost of each cell, times what each speaker has needed of it so far."""

    prompt_s: float
    spent_s: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, who: str, cell: Cell, took_s: float) -> None:
        """A run is over."""
        self.spent_s.setdefault(who, []).append((cell.takes_s(self.prompt_s), took_s))

    def left_s(self, rest: Sequence[tuple[Cell, str]]) -> float:
        """Of these runs."""
        return sum(self._factor(who) * cell.takes_s(self.prompt_s) for cell, who in rest)

    def _factor(self, who: str) -> float:
        expected, took = (sum(column) for column in zip(*self.spent_s.get(who, [(1.0, 1.0)]), strict=True))
        return took / expected


def median(runs: Sequence[Run], name: str) -> float:
    """Of a figure or a stage of some runs, in seconds; `rest` is what no stage accounts for."""
    if name == REST:
        return statistics.median(run.total_s - sum(run.stages_s.values()) for run in runs)
    if name in STAGES:
        return statistics.median(run.stages_s.get(name, 0.0) for run in runs)
    return float(statistics.median(getattr(run, name) for run in runs))


def lines(found: Mapping[Cell, Mapping[str, Sequence[Run]]], base: str) -> Iterator[str]:
    """The table: medians, times in ms, shares of the total in brackets; TTFA also in parts of that of `base`."""
    yield (
        "| characters | audio s | steps | who | "
        + " | ".join(STAGES)
        + f" | rest | total | RTF | TTFA | TTFA, {base} = 1 |"
    )
    yield "|---:|---:|---:|---|" + "---:|" * (len(STAGES) + 5)
    for cell, by_who in found.items():
        for who, runs in by_who.items():
            total_s, ttfa_s = median(runs, "total_s"), median(runs, "ttfa_s")
            stages = [_stage(runs, name, total_s) for name in (*STAGES, REST)]
            of_base = f"{ttfa_s / median(by_who[base], 'ttfa_s'):.3f}" if base in by_who else "–"
            yield (
                f"| {cell.characters} | {median(runs, 'audio_s'):.2f} | {cell.steps} | {who} | {' | '.join(stages)} | "
                f"{1000 * total_s:.0f} | {median(runs, 'rtf'):.2f} | {1000 * ttfa_s:.0f} | {of_base} |"
            )


def _stage(runs: Sequence[Run], name: str, total_s: float) -> str:
    if name in STAGES and not any(name in run.stages_s for run in runs):
        return "–"
    took_s = median(runs, name)
    return f"{1000 * took_s:.0f} ({100 * took_s / total_s:.0f} %)"


def draw(found: Mapping[Cell, Mapping[str, Sequence[Run]]], title: str, path: Path) -> None:
    """A panel for each text, a bar for each run of it: stages side by side, and when the first sound comes."""
    texts = sorted({(cell.characters, cell.codes) for cell in found})
    longest = max(sum(len(by_who) for cell, by_who in found.items() if cell.characters == text) for text, _ in texts)
    figure = new_figure(4.2 * len(texts) + 2.5, 0.34 * longest + 1.9)
    colors = stage_colors(["language model", "diffusion", "decoding to sound", REST])
    columns = figure.subplots(1, len(texts), squeeze=False)[0]
    for axes, (characters, codes) in zip(columns, texts, strict=True):
        bars = [(c.steps, who, runs) for c, by in found.items() if c.codes == codes for who, runs in by.items()]
        steps = list(dict.fromkeys(each for each, _, _ in bars))
        places = [row + 0.6 * steps.index(each) for row, (each, _, _) in enumerate(bars)]
        left = [0.0] * len(bars)
        named = [named_stages({name: median(runs, name) for name in (*STAGES, REST)}) for _, _, runs in bars]
        for name, color in colors.items():
            widths = [max(0.0, stages.get(name, 0.0)) for stages in named]
            if any(widths):
                axes.barh(places, widths, 0.8, left=left, color=color, label=name)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        first_s = [median(runs, "ttfa_s") for _, _, runs in bars]
        axes.plot(first_s, places, "D", color=FIRST, markeredgecolor="white", markersize=6, label="first sound")
        for place, end, (_, _, runs) in zip(places, left, bars, strict=True):
            label = f"RTF {median(runs, 'rtf'):.2f}"
            axes.annotate(label, (end, place), (6, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
        audio_s = median(bars[0][2], "audio_s")
        style_axes(axes, f"{characters} characters, {audio_s:.2f} s of audio", "")
        axes.axvline(audio_s, color=INK, linewidth=1, linestyle=":", label="length of the audio")
        axes.set_xlim(0, 1.3 * max(*left, audio_s))
        axes.set_xlabel("seconds", fontsize=9, color=MUTED)
        axes.set_yticks(places, [f"{who}, {each} steps" for each, who, _ in bars], fontsize=8)
        axes.invert_yaxis()
    names, handles = {}, []
    for axes in columns:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            if name not in names:
                names[name] = True
                handles.append(handle)
    figure.legend(handles, list(names), loc="outside lower center", ncols=len(names), fontsize=8, frameon=False)
    set_title(figure, title)
    figure.savefig(path)
