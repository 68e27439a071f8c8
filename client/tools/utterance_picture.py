"""Draws one utterance: the wait for its first word, the player's buffer, the sound, and the stages of synthesis.

Needs matplotlib.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intone.client.latency import SimulatedPlayback, is_audible, simulate_playback
from intone.client.speech import Speech
from intone.client.tools.drawing import (
    FIRST,
    INK,
    KIND_COLORS,
    LEGEND_INCHES,
    MUTED,
    SENT,
    TITLE_INCHES,
    UNDERRUN,
    WAIT_COLORS,
    Label,
    add_panel,
    add_title,
    envelope,
    freeze_layout,
    new_figure,
    picture_fonts,
    place_labels,
    stage_colors,
)
from intone.client.tools.stages import named_stages
from intone.client.tools.utterance_report import milliseconds, ratio
from intone.client.tools.waits import wait_of

_WAVE_COLUMNS = 1600
_TEXT_ROWS = 3
_TEXT_LABELS = 24  # as many fit beside each other
_WAIT_INCHES, _BUFFER_INCHES, _WAVE_INCHES, _STAGE_INCHES = 1.35, 2.3, 1.2, 0.42
_MIN_SHOWN_S = 0.005
_WAIT_MARGIN = 1.04  # of the time to the first word


def draw_utterance(speech: Speech, path: Path) -> None:
    """Write a PNG of `utterance_figure`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: the utterance has no text or no audio.
        OSError: the file cannot be written.
    """
    utterance_figure(speech).savefig(path)


def utterance_figure(speech: Speech) -> Any:
    """Draw the wait for the first word, audio received against audio played, the waveform, and stages of synthesis.

    Playback is that of a player which starts at the first chunk and waits whenever it runs out of audio. The stages are
    left out if the engine has only one, and the wait if no speech was received.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: the utterance has no text or no audio.
    """
    if not speech.sent or not speech.chunks:
        raise ValueError("there is nothing to draw: no text was sent or no audio was received")
    with picture_fonts():
        return _figure(speech)


def _figure(speech: Speech) -> Any:
    start_s = speech.sent[0].sent_s
    playback = simulate_playback([(chunk.received_s - start_s, chunk.duration_s) for chunk in speech.chunks])
    stage_ms = named_stages(speech.report.stage_ms) if speech.report else {}
    panels = [_BUFFER_INCHES, _WAVE_INCHES]
    if speech.latency.ttfa_ms is not None:
        panels.insert(0, _WAIT_INCHES)
    if len(stage_ms) > 1:
        panels.append(_STAGE_INCHES)
    heights = [TITLE_INCHES, *(height for inches in panels for height in (LEGEND_INCHES, inches))]
    figure = new_figure(12, 0.5 * len(panels) + sum(heights))
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    cells = [(grid[row], grid[row + 1]) for row in range(1, len(heights), 2)]
    add_title(figure, grid[0], f"“{speech.text}”", _facts(speech))
    waiting = _draw_wait(figure, cells.pop(0), speech, start_s) if speech.latency.ttfa_ms is not None else None
    buffer = _draw_buffer(figure, cells.pop(0), speech, start_s, playback)
    wave = _draw_wave(figure, cells.pop(0), speech, playback)
    for axes in (buffer, wave):
        axes.set_xlim(-0.01 * playback.end_s, 1.01 * playback.end_s)
    if len(stage_ms) > 1:
        _draw_stages(figure, cells.pop(0), stage_ms)
    freeze_layout(figure)
    if waiting is not None:
        _label_wait(waiting, speech, start_s)
    return figure


def _facts(speech: Speech) -> str:
    started, latency, report = speech.started, speech.latency, speech.report
    engine = f"{started.route.engine}, voice {started.voice}, {speech.sample_rate_hz} Hz" if started else ""
    speed = "" if report is None or report.rtf is None else f"real-time factor {ratio(report.rtf)}"
    audio = f"{latency.audio_ms / 1000:.2f} s of audio in {len(speech.chunks)} chunks"
    underruns = "no playback underruns"
    if latency.underrun_s >= _MIN_SHOWN_S:
        underruns = f"{latency.underrun_s:.2f} s of playback underruns"
    return "  ·  ".join(part for part in (engine, audio, speed, underruns) if part)


def _kinds(speech: Speech) -> list[tuple[str, str]]:
    kinds = {chunk.kind for chunk in speech.chunks}
    return [("pause" if kind == "silence" else kind, color) for kind, color in KIND_COLORS.items() if kind in kinds]


def _draw_wait(figure: Any, cells: Sequence[Any], speech: Speech, start_s: float) -> Any:
    """From the first text to the first audible speech, in milliseconds: text, fillers, and who was waited for."""
    wait = wait_of(speech)
    assert wait.speech_ms is not None
    title = f"First sound of the server: {milliseconds(wait.server_ms)}"
    if wait.text_ms is not None:
        title += f", after {milliseconds(wait.text_ms)} of waiting for the text"
    legend = [("waiting for the text", WAIT_COLORS["text"]), ("the server", WAIT_COLORS["server"])]
    legend += [("text sent", SENT), ("first word received", FIRST)]
    fillers = [chunk for chunk in speech.chunks if chunk.kind == "filler"]
    if fillers:
        legend.append(("filler received", KIND_COLORS["filler"]))
    axes = add_panel(figure, cells, title, "", legend)
    text_ms = wait.speech_ms if wait.text_ms is None else wait.text_ms
    axes.barh(0, text_ms, left=0, height=0.8, color=WAIT_COLORS["text"], linewidth=0)
    axes.barh(0, wait.speech_ms - text_ms, left=text_ms, height=0.8, color=WAIT_COLORS["server"], linewidth=0)
    for chunk in fillers:
        received_ms = 1000 * (chunk.received_s - start_s)
        axes.vlines(received_ms, -0.4, 0.4, color=KIND_COLORS["filler"], linewidth=1.6)
    sent_ms = [1000 * (delta.sent_s - start_s) for delta in speech.sent]
    axes.vlines([ms for ms in sent_ms if ms <= wait.speech_ms], 0.55, 1.0, color=SENT, linewidth=1.1)
    axes.axvline(wait.speech_ms, ymax=0.36, color=FIRST, linewidth=2)
    axes.set_xlim(-0.01 * wait.speech_ms, max(_WAIT_MARGIN * wait.speech_ms, 1.0))
    axes.set_ylim(-0.5, 4.0)
    axes.set_yticks([])
    axes.set_xlabel("milliseconds since the first text was sent", fontsize=9, color=MUTED)
    return axes


def _label_wait(axes: Any, speech: Speech, start_s: float) -> None:
    """Label groups of deltas that were sent close together, in rows that take turns."""
    end_ms = axes.get_xlim()[1]
    groups: list[tuple[float, str]] = []
    for delta in speech.sent:
        sent_ms = 1000 * (delta.sent_s - start_s)
        if groups and sent_ms - groups[-1][0] < end_ms / _TEXT_LABELS:
            groups[-1] = groups[-1][0], groups[-1][1] + delta.text
        elif sent_ms <= end_ms:
            groups.append((sent_ms, delta.text))
    for row in range(_TEXT_ROWS):
        labels = [Label(sent_ms, [], SENT, text=text.strip()) for sent_ms, text in groups[row::_TEXT_ROWS]]
        place_labels(axes, 3.5 - 0.95 * row, labels, 8)


def _draw_buffer(figure: Any, cells: Sequence[Any], speech: Speech, start_s: float, playback: SimulatedPlayback) -> Any:
    """Seconds of audio received and played so far: the difference is what the player has buffered."""
    legend = [("received", KIND_COLORS["speech"]), ("played", INK), ("buffered", "#dfe8fa")]
    legend.append(("first word received", FIRST))
    if playback.underruns:
        legend.append(("playback underrun", UNDERRUN))
    axes = add_panel(figure, cells, "Audio received, and played in real time", "seconds of audio", legend)
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
    if speech.latency.ttfa_ms is not None:
        axes.axvline(speech.latency.ttfa_ms / 1000, color=FIRST, linewidth=1.4)
    axes.set_ylim(0, 1.08 * received_s[-1])
    axes.tick_params(axis="x", labelbottom=False)
    return axes


def _playback_curve(speech: Speech, playback: SimulatedPlayback) -> tuple[list[float], list[float]]:
    """Corners of (time, audio played so far)."""
    clock_s, played_s = [0.0], [0.0]
    for start_s, chunk in zip(playback.starts_s, speech.chunks, strict=True):
        clock_s += [start_s, start_s + chunk.duration_s]
        played_s += [played_s[-1], played_s[-1] + chunk.duration_s]
    return clock_s, played_s


def _draw_wave(figure: Any, cells: Sequence[Any], speech: Speech, playback: SimulatedPlayback) -> Any:
    """The waveform at the time when it is heard, coloured by kind."""
    chunks = zip(playback.starts_s, speech.chunks, strict=True)
    word_s = next((start_s for start_s, chunk in chunks if chunk.kind == "speech" and is_audible(chunk)), None)
    legend = _kinds(speech)
    if word_s is not None:
        legend.append(("first word heard", FIRST))
    axes = add_panel(figure, cells, "Heard", "", legend)
    if word_s is not None:
        axes.axvline(word_s, color=FIRST, linewidth=1.4)
    peak = max(float(np.abs(speech.samples).max(initial=0.0)), 1e-3)
    for start_s, chunk in zip(playback.starts_s, speech.chunks, strict=True):
        columns = max(2, round(_WAVE_COLUMNS * chunk.duration_s / max(playback.end_s, 1e-9)))
        low, high = envelope(chunk.samples, columns)
        clock_s = start_s + np.linspace(0, chunk.duration_s, len(low))
        color = KIND_COLORS.get(chunk.kind, MUTED)
        axes.fill_between(clock_s, low, high, color=color, linewidth=0.4, edgecolor=color)
    axes.set_ylim(-1.1 * peak, 1.1 * peak)
    axes.set_yticks([])
    axes.set_xlabel("seconds since the first text was sent", fontsize=9, color=MUTED)
    return axes


def _draw_stages(figure: Any, cells: Sequence[Any], stage_ms: dict[str, float]) -> None:
    """The server's synthesis time by stage."""
    colors = stage_colors(list(stage_ms))
    legend = [(f"{stage}  {milliseconds(spent_ms)}", colors[stage]) for stage, spent_ms in stage_ms.items()]
    title = f"Synthesis by stage: {milliseconds(sum(stage_ms.values()))}"
    axes = add_panel(figure, cells, title, "", legend)
    left_ms = 0.0
    for stage, spent_ms in stage_ms.items():
        axes.barh(0, spent_ms, left=left_ms, color=colors[stage], height=0.6)
        left_ms += spent_ms
    axes.set_ylim(-0.4, 0.4)
    axes.set_yticks([])
    axes.set_xlabel("milliseconds", fontsize=9, color=MUTED)
    axes.set_xlim(0, left_ms or 1.0)
