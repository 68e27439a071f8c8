"""Draws one utterance: text sent, audio received, the player's buffer, the waveform and the stages of synthesis.

Needs matplotlib.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intone.client.latency import SimulatedPlayback, simulate_playback, slowest_first
from intone.client.speech import Speech
from intone.client.tools.drawing import (
    FIRST,
    INK,
    KIND_COLORS,
    LEGEND_INCHES,
    MUTED,
    SENT,
    STAGE_COLORS,
    UNDERRUN,
    Label,
    add_panel,
    add_title,
    envelope,
    freeze_layout,
    new_figure,
    place_labels,
)

_WAVE_COLUMNS = 1600
_TEXT_ROWS = 4
_TEXT_LABELS = 40  # as many fit beside each other
_TEXT_LABELS_FROM = 0.38  # of the height of their panel
_PANEL_INCHES = (1.15, 2.2, 1.6, 0.6)


def draw_utterance(speech: Speech, path: Path) -> None:
    """Write a PNG of `utterance_figure`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: the utterance has no text or no audio.
        OSError: the file cannot be written.
    """
    utterance_figure(speech).savefig(path)


def utterance_figure(speech: Speech) -> Any:
    """Draw text sent and audio received, audio received against audio played, the waveform, and stages of synthesis.

    The upper three panels share a clock that starts at the first text sent. Playback is that of a player which starts
    at the first chunk and waits whenever it runs out of audio.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: the utterance has no text or no audio.
    """
    if not speech.sent or not speech.chunks:
        raise ValueError("there is nothing to draw: no text was sent or no audio was received")
    start_s = speech.sent[0].sent_s
    playback = simulate_playback([(chunk.received_s - start_s, chunk.duration_s) for chunk in speech.chunks])
    heights = [height for inches in _PANEL_INCHES for height in (LEGEND_INCHES, inches)]
    figure = new_figure(12, 2.6 + sum(heights))
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    cells = [(grid[row], grid[row + 1]) for row in range(0, len(heights), 2)]
    add_title(figure, f"“{speech.text}”")
    text = _draw_text(figure, cells[0], speech, start_s)
    buffer = _draw_buffer(figure, cells[1], speech, start_s, playback)
    wave = _draw_wave(figure, cells[2], speech, playback)
    for axes in (text, buffer, wave):
        axes.set_xlim(-0.02 * playback.end_s, 1.02 * playback.end_s)
        if speech.latency.ttfa_ms is not None:
            height = _TEXT_LABELS_FROM if axes is text else 1.0  # below the labels of the deltas
            axes.axvline(speech.latency.ttfa_ms / 1000, ymax=height, color=FIRST, linewidth=1.4)
    _draw_stages(figure, cells[3], speech)
    freeze_layout(figure)
    _label_text(text, speech, start_s)
    _label_ttfa(buffer, speech)
    return figure


def _facts(speech: Speech) -> str:
    started, latency = speech.started, speech.latency
    engine = f"{started.route.engine}, voice {started.voice}, {speech.sample_rate_hz} Hz" if started else ""
    rtf = "" if latency.rtf is None else f"RTF at the client {latency.rtf:.2f}"
    audio = f"{latency.audio_ms / 1000:.2f} s of audio in {len(speech.chunks)} chunks"
    underruns = f"{latency.underrun_s:.2f} s of playback underruns" if latency.underrun_s else "no playback underruns"
    return "  ·  ".join(part for part in (engine, audio, rtf, underruns) if part)


def _kinds(speech: Speech) -> list[tuple[str, str]]:
    kinds = {chunk.kind for chunk in speech.chunks}
    return [("pause" if kind == "silence" else kind, color) for kind, color in KIND_COLORS.items() if kind in kinds]


def _draw_text(figure: Any, cells: Sequence[Any], speech: Speech, start_s: float) -> Any:
    """Text deltas at the time they were sent, and audio chunks at the time they were received."""
    legend = [("text sent", SENT), *((f"{kind} received", color) for kind, color in _kinds(speech))]
    axes = add_panel(figure, cells, _facts(speech), "", legend)
    axes.set_ylim(-0.6, 4.9)
    axes.set_yticks([0, 1.1], ["audio chunks", "text deltas"])
    axes.vlines([delta.sent_s - start_s for delta in speech.sent], 0.85, 1.35, color=SENT, linewidth=0.9)
    for chunk in speech.chunks:
        color = KIND_COLORS.get(chunk.kind, MUTED)
        axes.plot([chunk.received_s - start_s] * 2, [-0.45, 0.45], color=color, linewidth=1.6)
    return axes


def _label_text(axes: Any, speech: Speech, start_s: float) -> None:
    """Label groups of deltas that were sent close together, in rows that take turns."""
    window_s = (axes.get_xlim()[1] - axes.get_xlim()[0]) / _TEXT_LABELS
    groups: list[tuple[float, str]] = []
    for delta in speech.sent:
        sent_s = delta.sent_s - start_s
        if groups and sent_s - groups[-1][0] < window_s:
            groups[-1] = groups[-1][0], groups[-1][1] + delta.text
        else:
            groups.append((sent_s, delta.text))
    for row in range(_TEXT_ROWS):
        y = 4.3 - 0.75 * row
        labels = [Label(sent_s, [], SENT, text=text.strip()) for sent_s, text in groups[row::_TEXT_ROWS]]
        place_labels(axes, y, labels, 7.5)


def _draw_buffer(figure: Any, cells: Sequence[Any], speech: Speech, start_s: float, playback: SimulatedPlayback) -> Any:
    """Seconds of audio received and played so far: the difference is what the player has buffered."""
    legend = [("received", KIND_COLORS["speech"]), ("played", INK), ("buffered", "#dfe8fa")]
    if playback.underruns:
        legend.append(("playback underrun", UNDERRUN))
    axes = add_panel(figure, cells, "Audio received and played in real time", "seconds of audio", legend)
    arrivals_s = np.array([chunk.received_s - start_s for chunk in speech.chunks])
    received_s = np.cumsum([chunk.duration_s for chunk in speech.chunks])
    steps = np.append(arrivals_s, playback.end_s), np.append(received_s, received_s[-1])
    axes.step(*steps, where="post", color=KIND_COLORS["speech"], linewidth=1.8)
    clock_s, played_s = _playback_curve(speech, playback)
    axes.plot(clock_s, played_s, color=INK, linewidth=1.4, linestyle=(0, (4, 2)))
    grid_s = np.linspace(0, playback.end_s, 2000)
    received = np.concatenate([[0], received_s])[np.searchsorted(arrivals_s, grid_s, side="right")]
    played = np.interp(grid_s, clock_s, played_s)
    axes.fill_between(grid_s, played, received, color=KIND_COLORS["speech"], alpha=0.12, linewidth=0)
    for underrun in playback.underruns:
        axes.axvspan(underrun.start_s, underrun.end_s, color=UNDERRUN, alpha=0.8, linewidth=0)
    axes.set_ylim(0, 1.35 * received_s[-1])
    return axes


def _playback_curve(speech: Speech, playback: SimulatedPlayback) -> tuple[list[float], list[float]]:
    """Corners of (time, audio played so far)."""
    clock_s, played_s = [0.0], [0.0]
    for start_s, chunk in zip(playback.starts_s, speech.chunks, strict=True):
        clock_s += [start_s, start_s + chunk.duration_s]
        played_s += [played_s[-1], played_s[-1] + chunk.duration_s]
    return clock_s, played_s


def _label_ttfa(axes: Any, speech: Speech) -> None:
    """Label the line at the first audible speech, in the empty band above the curves."""
    ttfa_ms, report = speech.latency.ttfa_ms, speech.report
    if ttfa_ms is None:
        return
    label = f"TTFA {ttfa_ms:.0f} ms"
    server = [] if report is None or report.ttfa_ms is None else [f"{label}, at the server {report.ttfa_ms:.0f} ms"]
    x, y = ttfa_ms / 1000, 0.93 * axes.get_ylim()[1]
    place_labels(axes, y, [Label(x, [*server, label], FIRST)], 9, barriers=[x])


def _draw_wave(figure: Any, cells: Sequence[Any], speech: Speech, playback: SimulatedPlayback) -> Any:
    """The waveform at the time when it is heard, coloured by kind."""
    kinds = _kinds(speech)
    legend: Sequence[tuple[str, str]] = kinds if len(kinds) > 1 else ()
    axes = add_panel(figure, cells, "Audio heard", "amplitude", legend)
    peak = max(float(np.abs(speech.samples).max(initial=0.0)), 1e-3)
    for start_s, chunk in zip(playback.starts_s, speech.chunks, strict=True):
        columns = max(2, round(_WAVE_COLUMNS * chunk.duration_s / max(playback.end_s, 1e-9)))
        low, high = envelope(chunk.samples, columns)
        clock_s = start_s + np.linspace(0, chunk.duration_s, len(low))
        color = KIND_COLORS.get(chunk.kind, MUTED)
        axes.fill_between(clock_s, low, high, color=color, linewidth=0.4, edgecolor=color)
    axes.set_ylim(-1.1 * peak, 1.1 * peak)
    axes.set_xlabel("seconds since the first text was sent", fontsize=9, color=MUTED)
    return axes


def _draw_stages(figure: Any, cells: Sequence[Any], speech: Speech) -> None:
    """The server's synthesis time by stage."""
    report = speech.report
    stage_ms = slowest_first(report.stage_ms) if report else {}
    rtf = "" if report is None or report.rtf is None else f", RTF at the server {report.rtf:.2f}"
    legend = [
        (f"{stage}  {spent_ms:.0f} ms", STAGE_COLORS[number % len(STAGE_COLORS)])
        for number, (stage, spent_ms) in enumerate(stage_ms.items())
    ]
    title = f"Synthesis time by stage: {sum(stage_ms.values()):.0f} ms{rtf}"
    axes = add_panel(figure, cells, title, "", legend)
    left_ms = 0.0
    for spent_ms, (_, color) in zip(stage_ms.values(), legend, strict=True):
        axes.barh(0, spent_ms, left=left_ms, color=color, height=0.6)
        left_ms += spent_ms
    axes.set_ylim(-0.4, 0.4)
    axes.set_yticks([])
    axes.set_xlabel("milliseconds", fontsize=9, color=MUTED)
    if stage_ms:
        axes.set_xlim(0, left_ms)
