"""A picture of a whole conversation: text, routes, audio, barge-ins, waits, stages. Needs matplotlib."""

import math
from collections.abc import Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from intone.client.events import Done, Interrupted, Rerouted, Started
from intone.client.latency import slowest_first
from intone.client.speech import Speech
from intone.client.tools.drawing import (
    FIRST,
    GRID,
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
from intone.client.tools.listener import HeardChunk
from intone.client.tools.script_runner import ScriptRun, TurnRecord
from intone.client.tools.turn_measures import first_heard_s, measure_turn
from intone.client.tools.utterance_report import milliseconds

_ENGINE_COLORS = ("#1b9e8a", "#c2479b", "#5b8def", "#b07d12", "#6b6f76")  # in the order in which engines first speak
_WRITTEN, _SERVER, _PLAYS_OUT = "#e3dcf3", "#c3cad3", "#f8e6cc"
_STRIP_S, _STRIPS_MOST = 18.0, 6
_TEXT_Y, _ROUTE_Y, _SENT_Y, _HEARD_Y = 3.15, 2.25, 1.55, 0.45
_WAVE_COLUMNS_PER_S = 60
_CHARACTERS_PER_STRIP = 200


def draw_conversation(chat: ScriptRun, path: Path, *, title: str = "") -> None:
    """Write a PNG: the conversation in strips of one scale, like lines of a score, and below them waits and stages.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: no turn has any audio.
        OSError: the file cannot be written.
    """
    spoken = [turn for turn in chat.turns if chat.listener.heard(turn.utterance_id) and not turn.skipped]
    if not spoken:
        raise ValueError("there is nothing to draw: no audio came")
    strips, length_s = _strips(chat, spoken)
    waits_inches = 1.1 + 0.3 * len(spoken)
    figure = new_figure(15, 0.8 + 2.35 * len(strips) + waits_inches)
    grid = figure.add_gridspec(len(strips) + 1, 2, height_ratios=[2.35] * len(strips) + [waits_inches])
    figure.suptitle(drawable(title or "A conversation"), x=0.01, ha="left", fontsize=14, color=INK, fontweight="bold")
    for row, (start_s, turns) in enumerate(strips):
        axes = figure.add_subplot(grid[row, :])
        _dress_strip(axes, start_s - chat.start_s, length_s, last=row == len(strips) - 1)
        starts_s = [_bounds(chat, turn)[0] for turn in turns[1:]] + [start_s + length_s]
        for turn, next_s in zip(turns, starts_s, strict=True):
            _draw_turn(axes, chat, turn, (next_s - _bounds(chat, turn)[0]) / length_s)
    _legend(figure, chat, spoken)
    _draw_waits(figure.add_subplot(grid[-1, 0]), chat, spoken)
    _draw_stages(figure.add_subplot(grid[-1, 1]), chat, spoken)
    figure.savefig(path)


# ---- strips ----------------------------------------------------------------------------------------------------------


def _strips(chat: ScriptRun, spoken: Sequence[TurnRecord]) -> tuple[list[tuple[float, list[TurnRecord]]], float]:
    """(start, turns) of each strip, broken between turns, and the one length of all of them."""
    bounds = {turn.number: _bounds(chat, turn) for turn in spoken}
    total_s = bounds[spoken[-1].number][1] - bounds[spoken[0].number][0]
    wanted_s = max(_STRIP_S, total_s / _STRIPS_MOST)
    strips: list[tuple[float, list[TurnRecord]]] = []
    for turn in spoken:
        start_s, end_s = bounds[turn.number]
        if not strips or end_s - strips[-1][0] > wanted_s:
            strips.append((start_s, []))
        strips[-1][1].append(turn)
    return strips, max(bounds[turns[-1].number][1] - start_s for start_s, turns in strips)


def _bounds(chat: ScriptRun, turn: TurnRecord) -> tuple[float, float]:
    """When its first text was sent and when the last of it was heard."""
    return chat.speech(turn).sent[0].sent_s, chat.listener.heard(turn.utterance_id)[-1].end_s


def _dress_strip(axes: Any, start_s: float, length_s: float, *, last: bool) -> None:
    style_axes(axes, "", "")
    axes.set_xlim(start_s - 0.012 * length_s, start_s + 1.012 * length_s)
    axes.set_ylim(-0.5, 4.05)
    rows = (_HEARD_Y, _SENT_Y, _ROUTE_Y, _TEXT_Y)
    axes.set_yticks(rows, ["heard", "audio sent", "engine", "text"])
    axes.tick_params(axis="y", length=0, labelsize=9)
    for y in rows:
        axes.axhline(y, color=GRID, linewidth=0.6, zorder=0)
    if last:
        axes.set_xlabel("seconds since the first text", fontsize=9, color=MUTED)


def _draw_turn(axes: Any, chat: ScriptRun, turn: TurnRecord, share: float) -> None:
    """One turn, which has this share of the strip to itself."""
    _draw_text(axes, chat, turn, share)
    _draw_routes(axes, chat, turn)
    _draw_chunks(axes, chat, turn)
    _draw_heard(axes, chat, turn)
    _mark_first(axes, chat, turn)
    _mark_barge_in(axes, chat, turn)


def _draw_text(axes: Any, chat: ScriptRun, turn: TurnRecord, share: float) -> None:
    """Pieces of text as they were sent, and above them as much of the text as there is room for."""
    moments = [piece.sent_s - chat.start_s for piece in chat.speech(turn).sent]
    axes.barh(_TEXT_Y, moments[-1] - moments[0], left=moments[0], height=0.34, color=SENT, alpha=0.15, linewidth=0)
    axes.vlines(moments, _TEXT_Y - 0.17, _TEXT_Y + 0.17, color=SENT, linewidth=0.9)
    words = drawable(shorten(turn.turn.text, max(8, math.floor(_CHARACTERS_PER_STRIP * share) - 4)))
    axes.text(moments[0], _TEXT_Y + 0.35, f"{turn.number}  {words}", fontsize=8.5, color=INK, va="bottom", clip_on=True)


def _draw_routes(axes: Any, chat: ScriptRun, turn: TurnRecord) -> None:
    """Who speaks, from the decision to the end; a change of route begins a new bar."""
    events = chat.speech(turn).events
    routes = [event for event in events if isinstance(event, Started | Rerouted)]
    ends = [event.received_s for event in events if isinstance(event, Done | Interrupted)]
    chunks = chat.speech(turn).chunks
    last_s = max([*ends[-1:], *(chunk.received_s for chunk in chunks[-1:]), routes[-1].received_s])
    colors = _engine_colors(chat)
    character_s = (axes.get_xlim()[1] - axes.get_xlim()[0]) / _CHARACTERS_PER_STRIP
    for route, until_s in zip(routes, [*(after.received_s for after in routes[1:]), last_s], strict=True):
        color = colors[route.engine]
        at_s, length_s = route.received_s - chat.start_s, until_s - route.received_s
        axes.barh(_ROUTE_Y, length_s, left=at_s, height=0.2, color=color, alpha=0.85, linewidth=0)
        label = f"{route.engine}: {route.route_reason.replace('_', ' ')}"
        if route is routes[-1] or len(label) * character_s < length_s:  # else the next label would lie over it
            axes.text(at_s, _ROUTE_Y + 0.16, label, fontsize=7.5, color=color, va="bottom", clip_on=True)


def _engine_colors(chat: ScriptRun) -> dict[str, str]:
    """Colors by name of engine."""
    events = [event for turn in chat.turns if not turn.skipped for event in chat.speech(turn).events]
    names = dict.fromkeys(event.engine for event in events if isinstance(event, Started | Rerouted))
    return dict(zip(names, cycle(_ENGINE_COLORS), strict=False))


def _draw_chunks(axes: Any, chat: ScriptRun, turn: TurnRecord) -> None:
    for kind, color in KIND_COLORS.items():
        moments = [chunk.received_s - chat.start_s for chunk in chat.speech(turn).chunks if chunk.kind == kind]
        axes.vlines(moments, _SENT_Y - 0.18, _SENT_Y + 0.18, color=color, linewidth=1.3)


def _draw_heard(axes: Any, chat: ScriptRun, turn: TurnRecord) -> None:
    """The waveform where it is heard; a filler with what it says."""
    heard = chat.listener.heard(turn.utterance_id)
    peak = max((float(np.abs(piece.samples).max(initial=0.0)) for piece in heard), default=0.0) or 1.0
    before = ("", "")
    for piece in heard:
        start_s, length_s = piece.start_s - chat.start_s, piece.end_s - piece.start_s
        color = KIND_COLORS.get(piece.chunk.kind, MUTED)
        if piece.chunk.kind == "silence":
            axes.barh(_HEARD_Y, length_s, left=start_s, height=0.16, color=color, alpha=0.55, linewidth=0)
        elif len(piece.samples):
            low, high = envelope(piece.samples, max(2, round(_WAVE_COLUMNS_PER_S * length_s)))
            clock_s = np.linspace(start_s, start_s + length_s, len(low))
            scale = 0.5 / peak
            limits = _HEARD_Y + scale * low, _HEARD_Y + scale * high
            axes.fill_between(clock_s, *limits, color=color, linewidth=0.5, edgecolor=color)
        now = (piece.chunk.kind, piece.chunk.filler)
        if piece.chunk.kind == "filler" and now != before:
            words = drawable(f"“{piece.chunk.filler}”")
            axes.text(start_s, _HEARD_Y + 0.52, words, fontsize=7.5, color=color, va="bottom", clip_on=True)
        before = now
    for underrun in chat.listener.underruns(turn.utterance_id):
        span = underrun.start_s - chat.start_s, underrun.end_s - underrun.start_s
        axes.barh(_HEARD_Y, span[1], left=span[0], height=1.0, color=UNDERRUN, linewidth=0)


def _mark_first(axes: Any, chat: ScriptRun, turn: TurnRecord) -> None:
    """A line from the first text down to the first word, with the times to the first sound and to it."""
    measures = measure_turn(chat, turn)
    word_s = first_heard_s(chat.listener.heard(turn.utterance_id), "speech")
    if word_s is None:
        return
    at_s = word_s - chat.start_s
    axes.plot([at_s, at_s], [_HEARD_Y - 0.55, _ROUTE_Y - 0.12], color=FIRST, linewidth=1.1)
    label = f"word {milliseconds(measures.first_word_ms)}"
    if measures.fillers:
        label = f"sound {milliseconds(measures.first_sound_ms)}, {label}"
    axes.text(at_s, _HEARD_Y - 0.56, label, fontsize=8, color=FIRST, va="top", clip_on=True)


def _mark_barge_in(axes: Any, chat: ScriptRun, turn: TurnRecord) -> None:
    if turn.barge_in_s is None:
        return
    at_s = turn.barge_in_s - chat.start_s
    axes.axvline(at_s, color=INK, linewidth=1.6, linestyle=(0, (3, 2)))
    stop_ms = measure_turn(chat, turn).stop_ms
    label = "barge-in " if stop_ms is None else f"barge-in, stopped after {milliseconds(stop_ms)} "
    box = {"facecolor": "white", "edgecolor": INK, "linewidth": 0.7, "boxstyle": "round,pad=0.25"}
    axes.text(at_s, _SENT_Y - 0.4, label, fontsize=8, color=INK, ha="right", va="center", bbox=box, clip_on=True)


def _legend(figure: Any, chat: ScriptRun, spoken: Sequence[TurnRecord]) -> None:
    kinds = {piece.chunk.kind for turn in spoken for piece in chat.listener.heard(turn.utterance_id)}
    names = [(kind if kind != "silence" else "pause", color) for kind, color in KIND_COLORS.items() if kind in kinds]
    if any(chat.listener.underruns(turn.utterance_id) for turn in spoken):
        names.append(("underrun", UNDERRUN))
    patches = _patches(names)
    figure.legend(handles=patches, loc="upper right", ncols=4, fontsize=9, frameon=False, labelcolor=INK)


def _color_key(axes: Any, names: Sequence[tuple[str, str]]) -> None:
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1)}
    axes.legend(handles=_patches(names), ncols=5, fontsize=8, frameon=False, labelcolor=INK, **place)


def _patches(names: Sequence[tuple[str, str]]) -> list[Any]:
    from matplotlib.patches import Patch  # heavy, and optional; the figure is there already

    return [Patch(color=color, label=name) for name, color in names]


# ---- below the strips ------------------------------------------------------------------------------------------------


def _draw_waits(axes: Any, chat: ScriptRun, spoken: Sequence[TurnRecord]) -> None:
    """From the first text to the first word heard: whose time it was, and the fillers in it."""
    style_axes(axes, "The wait for the first word", "turn")
    waits = [measure_turn(chat, turn) for turn in spoken]
    longest_ms = max((wait.first_word_ms or 0.0 for wait in waits), default=0.0)
    for row, (turn, wait) in enumerate(zip(spoken, waits, strict=True)):
        word_ms = wait.first_word_ms
        if word_ms is None:
            continue
        _draw_shares(axes, row, chat.speech(turn), word_ms)
        sent_s = chat.speech(turn).sent[0].sent_s
        for piece in chat.listener.heard(turn.utterance_id):
            if piece.chunk.kind == "filler" and 1000 * (piece.start_s - sent_s) < word_ms:
                _bar(axes, row, piece, sent_s)
        axes.plot([word_ms] * 2, [row - 0.36, row + 0.36], color=FIRST, linewidth=2)
        axes.text(word_ms + 0.01 * longest_ms, row, milliseconds(word_ms), fontsize=8, color=FIRST, va="center")
    _turn_axis(axes, spoken)
    axes.set_xlim(0, 1.12 * longest_ms or 1.0)
    key = [("text being written", _WRITTEN), ("server at work", _SERVER)]
    if any(wait.fillers for wait in waits):
        key += [("filler heard", KIND_COLORS["filler"]), ("plays out", _PLAYS_OUT)]
    _color_key(axes, key)


def _draw_shares(axes: Any, row: int, speech: Speech, word_ms: float) -> None:
    """The text was written until its first unit was whole; then the server worked; then fillers still played."""
    received_ms = min(speech.latency.ttfa_ms or 0.0, word_ms)
    server_ms = min(speech.report.ttfa_ms or 0.0, received_ms) if speech.report else 0.0
    bounds_ms = (0.0, received_ms - server_ms, received_ms, word_ms)
    for color, (left_ms, right_ms) in zip((_WRITTEN, _SERVER, _PLAYS_OUT), pairwise(bounds_ms), strict=True):
        axes.barh(row, right_ms - left_ms, left=left_ms, color=color, height=0.62, linewidth=0)


def _bar(axes: Any, row: int, piece: HeardChunk, sent_s: float) -> None:
    left_ms, length_ms = 1000 * (piece.start_s - sent_s), 1000 * (piece.end_s - piece.start_s)
    axes.barh(row, length_ms, left=left_ms, color=KIND_COLORS["filler"], height=0.3)


def _draw_stages(axes: Any, chat: ScriptRun, spoken: Sequence[TurnRecord]) -> None:
    """The server's synthesis time of each turn, stage after stage."""
    style_axes(axes, "Where the server's time went", "turn")
    reports = [chat.speech(turn).report for turn in spoken]
    totals: dict[str, float] = {}
    for report in reports:
        for stage, spent_ms in (report.stage_ms if report else {}).items():
            totals[stage] = totals.get(stage, 0.0) + spent_ms
    left_ms = np.zeros(len(spoken))
    for index, stage in enumerate(slowest_first(totals)):
        spent = np.array([report.stage_ms.get(stage, 0.0) if report else 0.0 for report in reports])
        color = STAGE_COLORS[index % len(STAGE_COLORS)]
        axes.barh(range(len(spoken)), spent, left=left_ms, color=color, height=0.62, label=stage)
        left_ms += spent
    _turn_axis(axes, spoken)
    if totals:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, fontsize=8, frameon=False, labelcolor=INK)


def _turn_axis(axes: Any, spoken: Sequence[TurnRecord]) -> None:
    axes.set_yticks(range(len(spoken)), [str(turn.number) for turn in spoken])
    axes.set_ylim(len(spoken) - 0.5, -0.5)
    axes.set_xlabel("milliseconds", fontsize=9, color=MUTED)
