"""A picture of one utterance: what was sent, what came when, and what a listener heard. Needs matplotlib."""

from pathlib import Path
from typing import Any

import numpy as np

from intone.client.latency import SimulatedPlayback, simulate_playback, slowest_first
from intone.client.speech import Speech
from intone.client.tools.drawing import (
    FIRST,
    INK,
    KIND_COLORS,
    MUTED,
    SENT,
    STAGE_COLORS,
    UNDERRUN,
    drawable,
    envelope,
    new_figure,
    shorten,
    style_axes,
)

_WAVE_COLUMNS = 1600
_TITLE_CHARACTERS = 90
_WORD_CHARACTERS = 24
_CHARACTER_WIDTH = 0.006  # of a small letter, as part of the width of the picture


def draw_utterance(speech: Speech, path: Path) -> None:
    """Write a PNG: text sent, chunks received, audio in hand against audio played, waveform, and stages of synthesis.

    The upper three panels share one clock that starts at the first text sent; playback is that of a player which
    starts at the first chunk and waits whenever it runs dry.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: the utterance has no text or no audio.
        OSError: the file cannot be written.
    """
    if not speech.sent or not speech.chunks:
        raise ValueError("there is nothing to draw: no text was sent or no audio came")
    start_s = speech.sent[0].sent_s
    playback = simulate_playback([(chunk.received_s - start_s, chunk.duration_s) for chunk in speech.chunks])
    figure = new_figure(12, 9.2)
    text, supply, wave, stages = figure.subplots(4, 1, height_ratios=[1.15, 2.2, 1.6, 0.8])
    title = f"“{drawable(shorten(speech.text, _TITLE_CHARACTERS))}”"
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, color=INK, fontweight="bold")
    for axes in (text, supply, wave):
        axes.set_xlim(-0.02 * playback.end_s, 1.02 * playback.end_s)
    _draw_text(text, speech, start_s)
    _draw_supply(supply, speech, start_s, playback)
    _draw_wave(wave, speech, playback)
    for axes in (text, supply, wave):
        _mark_first_sound(axes, speech, labelled=axes is supply)
    _draw_stages(stages, speech)
    figure.savefig(path)


def _facts(speech: Speech) -> str:
    started, latency = speech.started, speech.latency
    who = f"{started.engine}, voice {started.voice}, {started.format.sample_rate_hz} Hz" if started else ""
    rtf = "" if latency.rtf is None else f"RTF {latency.rtf:.2f} at the client"
    audio = f"{latency.audio_ms / 1000:.2f} s of audio in {len(speech.chunks)} chunks"
    holes = f"{latency.underrun_s:.2f} s of holes in playback" if latency.underrun_s else "no holes in playback"
    return "  ·  ".join(part for part in (who, audio, rtf, holes) if part)


def _draw_text(axes: Any, speech: Speech, start_s: float) -> None:
    """Pieces of text at the moment they were sent, and chunks of audio at the moment they came."""
    style_axes(axes, f"{_facts(speech)}\n\nSent and received", "")
    axes.set_ylim(-0.6, 4.4)
    axes.set_yticks([0, 2.5], ["audio chunks", "text pieces"])
    character_s = _CHARACTER_WIDTH * axes.get_xlim()[1]
    free_from_s = [-1.0] * 4  # where each row of words has room again
    for piece in speech.sent:
        at_s, word = piece.sent_s - start_s, shorten(piece.text, _WORD_CHARACTERS)
        row = next((row for row, free_s in enumerate(free_from_s) if free_s <= at_s), None)
        height = 1.5 + 0.72 * (row or 0)
        axes.plot([at_s] * 2, [1.2, height], color=SENT, linewidth=0.8, alpha=0.5)
        if row is not None:
            axes.text(at_s, height, f" {drawable(word)}", fontsize=7.5, color=SENT, va="center", clip_on=True)
            free_from_s[row] = at_s + (len(word) + 2) * character_s
    for chunk in speech.chunks:
        color = KIND_COLORS.get(chunk.kind, MUTED)
        axes.plot([chunk.received_s - start_s] * 2, [-0.45, 0.45], color=color, linewidth=1.6)


def _draw_supply(axes: Any, speech: Speech, start_s: float, playback: SimulatedPlayback) -> None:
    """Seconds of audio received and played so far: the band between them is what the player has in hand."""
    style_axes(axes, "Supply of a real-time player", "audio, seconds")
    moments_s = np.array([chunk.received_s - start_s for chunk in speech.chunks])
    received_s = np.cumsum([chunk.duration_s for chunk in speech.chunks])
    steps = np.append(moments_s, playback.end_s), np.append(received_s, received_s[-1])
    axes.step(*steps, where="post", color=KIND_COLORS["speech"], linewidth=1.8, label="received")
    clock_s, played_s = _playback_curve(speech, playback)
    axes.plot(clock_s, played_s, color=INK, linewidth=1.4, linestyle=(0, (4, 2)), label="played")
    grid_s = np.linspace(0, playback.end_s, 2000)
    in_hand = np.concatenate([[0], received_s])[np.searchsorted(moments_s, grid_s, side="right")]
    played = np.interp(grid_s, clock_s, played_s)
    axes.fill_between(grid_s, played, in_hand, color=KIND_COLORS["speech"], alpha=0.12, linewidth=0, label="in hand")
    for number, underrun in enumerate(playback.underruns):
        label = "underrun in playback" if number == 0 else None
        axes.axvspan(underrun.start_s, underrun.end_s, color=UNDERRUN, alpha=0.8, linewidth=0, label=label)
    axes.set_ylim(0, 1.35 * received_s[-1])
    axes.legend(loc="lower right", fontsize=8, edgecolor="none", framealpha=0.9, labelcolor=INK)


def _playback_curve(speech: Speech, playback: SimulatedPlayback) -> tuple[list[float], list[float]]:
    """Corners of (clock, audio played so far)."""
    clock_s, played_s = [0.0], [0.0]
    for start_s, chunk in zip(playback.starts_s, speech.chunks, strict=True):
        clock_s += [start_s, start_s + chunk.duration_s]
        played_s += [played_s[-1], played_s[-1] + chunk.duration_s]
    return clock_s, played_s


def _draw_wave(axes: Any, speech: Speech, playback: SimulatedPlayback) -> None:
    """The waveform where it is heard, coloured by kind."""
    style_axes(axes, "What is heard", "amplitude")
    peak = max(float(np.abs(speech.samples).max(initial=0.0)), 1e-3)
    labelled: set[str] = set()
    for start_s, chunk in zip(playback.starts_s, speech.chunks, strict=True):
        columns = max(2, round(_WAVE_COLUMNS * chunk.duration_s / max(playback.end_s, 1e-9)))
        low, high = envelope(chunk.samples, columns)
        clock_s = start_s + np.linspace(0, chunk.duration_s, len(low))
        label = chunk.kind if chunk.kind not in labelled else None
        labelled.add(chunk.kind)
        color = KIND_COLORS.get(chunk.kind, MUTED)
        axes.fill_between(clock_s, low, high, color=color, linewidth=0.4, edgecolor=color, label=label)
    axes.set_ylim(-1.1 * peak, 1.1 * peak)
    axes.set_xlabel("seconds since the first text was sent", fontsize=9, color=MUTED)
    if labelled != {"speech"}:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, frameon=False, labelcolor=INK)


def _mark_first_sound(axes: Any, speech: Speech, *, labelled: bool) -> None:
    """A line at the first audible speech, in one panel with its figure."""
    ttfa_ms, report = speech.latency.ttfa_ms, speech.report
    if ttfa_ms is None:
        return
    axes.axvline(ttfa_ms / 1000, color=FIRST, linewidth=1.4)
    if labelled:
        server = "" if report is None or report.ttfa_ms is None else f"\n server's share {report.ttfa_ms:.0f} ms"
        label = f" first sound (TTFA) {ttfa_ms:.0f} ms{server}"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
        height = 0.97 * axes.get_ylim()[1]
        axes.text(ttfa_ms / 1000, height, label, fontsize=9, color=FIRST, va="top", bbox=box)


def _draw_stages(axes: Any, speech: Speech) -> None:
    """The server's synthesis time, stage after stage."""
    report = speech.report
    stage_ms = slowest_first(report.stage_ms) if report else {}
    rtf = "" if report is None or report.rtf is None else f", RTF {report.rtf:.2f} at the server"
    style_axes(axes, f"Where the server's time went: {sum(stage_ms.values()):.0f} ms{rtf}", "")
    left_ms = 0.0
    for index, (stage, spent_ms) in enumerate(stage_ms.items()):
        color = STAGE_COLORS[index % len(STAGE_COLORS)]
        axes.barh(0, spent_ms, left=left_ms, color=color, height=0.6, label=f"{stage}  {spent_ms:.0f} ms")
        left_ms += spent_ms
    axes.set_ylim(-0.4, 0.4)
    axes.set_yticks([])
    axes.set_xlabel("milliseconds", fontsize=9, color=MUTED)
    if stage_ms:
        axes.set_xlim(0, left_ms)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=7, fontsize=8, frameon=False, labelcolor=INK)
