"""Draws a whole conversation: text, engines, audio, barge-ins, waits and stages of synthesis. Needs matplotlib."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from intone.client.events import Done, Rerouted, Started
from intone.client.speech import Speech
from intone.client.tools.drawing import (
    EMOTION,
    FIRST,
    GRID,
    INK,
    KIND_COLORS,
    LEGEND_INCHES,
    MUTED,
    SENT,
    TITLE_INCHES,
    UNDERRUN,
    WAIT_COLORS,
    Label,
    add_legend,
    add_panel,
    add_title,
    engine_color,
    envelope,
    freeze_layout,
    new_figure,
    picture_fonts,
    place_labels,
    stage_colors,
    style_axes,
)
from intone.client.tools.emotions import emotion_name
from intone.client.tools.listener import HeardChunk
from intone.client.tools.routes import short_reason
from intone.client.tools.script_runner import ScriptRun, TurnRecord
from intone.client.tools.stages import named_stages
from intone.client.tools.turn_measures import filler_texts, first_heard_s, measure_turn
from intone.client.tools.utterance_report import milliseconds

_STRIP_S, _MAX_STRIPS = 18.0, 6
_STRIP_INCHES = 2.9
_WAVE_COLUMNS_PER_S = 60
_MAX_Y = 5.6
# Rows of a strip: labels stand above what they describe, times of the first word below.
_BARGE_IN_LABEL_Y, _TEXT_LABEL_Y, _TEXT_Y = 5.35, 4.8, 4.35
_EMOTION_Y, _ENGINE_LABEL_Y, _ENGINE_Y, _SENT_Y = 3.75, 3.2, 2.87, 2.25
_FILLER_LABEL_Y, _HEARD_Y, _FIRST_LABEL_Y, _MIN_Y = 1.55, 0.75, -0.05, -0.35


def draw_conversation(run: ScriptRun, path: Path, *, title: str = "") -> None:
    """Write a PNG of `conversation_figure`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: no turn has any audio.
        OSError: the file cannot be written.
    """
    conversation_figure(run, title=title).savefig(path)


def conversation_figure(run: ScriptRun, *, title: str = "") -> Any:
    """Draw the conversation in strips of one time scale, and below them the waits and the stages of each turn.

    The stages are left out if the engines have only one.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: no turn has any audio.
    """
    with picture_fonts():
        return _figure(run, title or "A conversation")


def _figure(run: ScriptRun, title: str) -> Any:
    spoken = [record for record in run.turns if run.listener.heard(record.utterance_id) and not record.skipped]
    if not spoken:
        raise ValueError("there is nothing to draw: no audio was received")
    strips, duration_s = _strips(run, spoken)
    panel_inches = 1.1 + 0.3 * len(spoken)
    heights = [TITLE_INCHES, LEGEND_INCHES, *([_STRIP_INCHES] * len(strips)), LEGEND_INCHES, panel_inches]
    figure = new_figure(15, 1.0 + sum(heights))
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    add_title(figure, grid[0, :], title, _facts(run))
    legend = figure.add_subplot(grid[1, :])
    legend.set_axis_off()
    add_legend(legend, _kinds(run, spoken))
    emotional = any(_is_emotional(event) for record in spoken for event in _routes(run.speech(record)))
    drawn = []
    for row, (start_s, records) in enumerate(strips, 2):
        axes = figure.add_subplot(grid[row, :])
        _style_strip(axes, start_s - run.start_s, duration_s, emotional=emotional, last=row == len(strips) + 1)
        for record in records:
            _draw_turn(axes, run, record)
        drawn.append((axes, records))
    stages = [_stages(run, record) for record in spoken]
    if len({name for stage_ms in stages for name in stage_ms}) > 1:
        _draw_waits(figure, (grid[-2, 0], grid[-1, 0]), run, spoken)
        _draw_stages(figure, (grid[-2, 1], grid[-1, 1]), spoken, stages)
    else:
        _draw_waits(figure, (grid[-2, :], grid[-1, :]), run, spoken)
    freeze_layout(figure)
    for axes, records in drawn:
        _label_strip(axes, run, records)
    return figure


def _facts(run: ScriptRun) -> str:
    """The medians of the turns."""
    measures = [measure_turn(run, record) for record in run.turns]
    server = [turn.server_ttfa_ms for turn in measures if turn.server_ttfa_ms is not None]
    stops = [turn.stop_ms for turn in measures if turn.stop_ms is not None]
    facts = [f"{len(measures)} turns"]
    if server:
        facts.append(f"first sound of the server after {milliseconds(statistics.median(server))} (median)")
    if stops:
        facts.append(f"stopped {milliseconds(statistics.median(stops))} after a barge-in (median)")
    return "  ·  ".join(facts)


# ---- strips ----------------------------------------------------------------------------------------------------------


def _strips(run: ScriptRun, spoken: Sequence[TurnRecord]) -> tuple[list[tuple[float, list[TurnRecord]]], float]:
    """(start, turns) of each strip, and the duration that all strips show. Strips break between turns.

    The strips are as short as so many can be, so that none is much emptier than the others.
    """
    bounds = {record.number: _bounds(run, record) for record in spoken}
    total_s = bounds[spoken[-1].number][1] - bounds[spoken[0].number][0]
    wanted_s = max(_STRIP_S, total_s / _MAX_STRIPS)

    def split(limit_s: float) -> list[tuple[float, list[TurnRecord]]]:
        strips: list[tuple[float, list[TurnRecord]]] = []
        for record in spoken:
            start_s, end_s = bounds[record.number]
            if not strips or end_s - strips[-1][0] > limit_s:
                strips.append((start_s, []))
            strips[-1][1].append(record)
        return strips

    count = len(split(1.25 * wanted_s))  # rather somewhat longer strips than an empty one
    limits = (wanted_s * part / 16 for part in range(1, 21))
    strips = next(strips for strips in map(split, limits) if len(strips) == count)
    return strips, max(bounds[records[-1].number][1] - start_s for start_s, records in strips)


def _bounds(run: ScriptRun, record: TurnRecord) -> tuple[float, float]:
    """When a turn started and when the last of its audio was heard."""
    return record.started_s, run.listener.heard(record.utterance_id)[-1].end_s


def _kinds(run: ScriptRun, spoken: Sequence[TurnRecord]) -> list[tuple[str, str]]:
    """The legend of the strips."""
    heard = {part.chunk.kind for record in spoken for part in run.listener.heard(record.utterance_id)}
    legend = [("pause" if kind == "silence" else kind, color) for kind, color in KIND_COLORS.items() if kind in heard]
    if any(run.listener.underruns(record.utterance_id) for record in spoken):
        legend.append(("playback underrun", UNDERRUN))
    return [("text sent", SENT), *legend]


def _style_strip(axes: Any, start_s: float, duration_s: float, *, emotional: bool, last: bool) -> None:
    style_axes(axes, "", "")
    axes.set_xlim(start_s - 0.012 * duration_s, start_s + 1.012 * duration_s)
    axes.set_ylim(_MIN_Y, _MAX_Y)
    rows = {_HEARD_Y: "heard", _SENT_Y: "audio sent", _ENGINE_Y: "engine", _TEXT_Y: "text sent"}
    if emotional:
        rows[_EMOTION_Y] = "emotion"
    axes.set_yticks(list(rows), list(rows.values()))
    axes.tick_params(axis="y", length=0, labelsize=9)
    for y in rows:
        axes.axhline(y, color=GRID, linewidth=0.6, zorder=0)
    if last:
        axes.set_xlabel("seconds since the first turn", fontsize=9, color=MUTED)


def _draw_turn(axes: Any, run: ScriptRun, record: TurnRecord) -> None:
    sent_s = [delta.sent_s - run.start_s for delta in run.speech(record).sent]
    if sent_s:
        axes.barh(_TEXT_Y, sent_s[-1] - sent_s[0], left=sent_s[0], height=0.34, color=SENT, alpha=0.15, linewidth=0)
        axes.vlines(sent_s, _TEXT_Y - 0.17, _TEXT_Y + 0.17, color=SENT, linewidth=0.9)
    for span in _spans(run, record):
        width = span.end_s - span.start_s
        axes.barh(_ENGINE_Y, width, left=span.start_s, height=0.2, color=engine_color(span.engine), linewidth=0)
    for kind, color in KIND_COLORS.items():
        received_s = [chunk.received_s - run.start_s for chunk in run.speech(record).chunks if chunk.kind == kind]
        axes.vlines(received_s, _SENT_Y - 0.18, _SENT_Y + 0.18, color=color, linewidth=1.3)
    _draw_heard(axes, run, record)
    word_s = first_heard_s(run.listener.heard(record.utterance_id), "speech")
    if word_s is not None:
        axes.plot([word_s - run.start_s] * 2, [_HEARD_Y - 0.55, _ENGINE_Y - 0.12], color=FIRST, linewidth=1.1)
    if record.barge_in_s is not None:
        barge_in_s, ends = record.barge_in_s - run.start_s, [_MIN_Y, _BARGE_IN_LABEL_Y - 0.22]
        axes.plot([barge_in_s] * 2, ends, color=INK, linewidth=1.6, linestyle=(0, (3, 2)), gid="barge-in")


def _draw_heard(axes: Any, run: ScriptRun, record: TurnRecord) -> None:
    """The waveform at the time when it is heard, pauses as bars, underruns as blocks."""
    heard = run.listener.heard(record.utterance_id)
    peak = max((float(np.abs(part.samples).max(initial=0.0)) for part in heard), default=0.0) or 1.0
    for part in heard:
        start_s, color = part.start_s - run.start_s, KIND_COLORS.get(part.chunk.kind, MUTED)
        if part.chunk.kind == "silence":
            axes.barh(_HEARD_Y, part.duration_s, left=start_s, height=0.16, color=color, alpha=0.55, linewidth=0)
        elif len(part.samples):
            low, high = envelope(part.samples, max(2, round(_WAVE_COLUMNS_PER_S * part.duration_s)))
            clock_s = np.linspace(start_s, start_s + part.duration_s, len(low))
            limits = _HEARD_Y + 0.5 / peak * low, _HEARD_Y + 0.5 / peak * high
            axes.fill_between(clock_s, *limits, color=color, linewidth=0.5, edgecolor=color)
    for gap in run.listener.underruns(record.utterance_id):
        axes.barh(_HEARD_Y, gap.duration_s, left=gap.start_s - run.start_s, height=1.0, color=UNDERRUN, linewidth=0)


@dataclass(frozen=True, slots=True)
class _Span:
    """An engine speaks, in seconds since the first turn."""

    engine: str
    reason: str
    emotion: str
    strength: str
    start_s: float
    end_s: float


def _routes(speech: Speech) -> list[Started | Rerouted]:
    return [event for event in speech.events if isinstance(event, Started | Rerouted)]


def _spans(run: ScriptRun, record: TurnRecord) -> list[_Span]:
    """Which engine speaks, from its routing until the next one or the end of the turn."""
    speech = run.speech(record)
    routes = _routes(speech)
    if not routes:
        return []  # interrupted while a filler covered the wait for its text
    ends = [event.received_s for event in speech.events if isinstance(event, Done)]
    end_s = max([*ends, *(chunk.received_s for chunk in speech.chunks[-1:]), routes[-1].received_s])
    bounds = [*(event.received_s - run.start_s for event in routes), end_s - run.start_s]
    return [
        _Span(
            event.route.engine,
            short_reason(event.route.reason, emotional=_is_emotional(event)),
            emotion_name(event.emotion.weights) if _is_emotional(event) else "",
            _strength(run, event),
            *bound,
        )
        for event, bound in zip(routes, pairwise(bounds), strict=True)
    ]


def _is_emotional(event: Started | Rerouted) -> bool:
    return emotion_name(event.emotion.weights) != "neutral"


def _strength(run: ScriptRun, event: Started | Rerouted) -> str:
    """The intensity of the emotion, or that the engine does not voice it."""
    voiced = run.voicing is None or event.route.engine in run.voicing
    return f" {event.emotion.intensity:.2f}" if voiced else ", not voiced"


def _label_strip(axes: Any, run: ScriptRun, records: Sequence[TurnRecord]) -> None:
    """Label turns, emotions, engines, fillers, first words and barge-ins, each kind in a row of its own."""
    texts, emotions, engines, fillers, firsts, barge_ins = [], [], [], [], [], []
    for record in records:
        start_s = _bounds(run, record)[0] - run.start_s
        texts.append(Label(start_s, [str(record.number)], INK, text=f"{record.number}. {record.turn.text}"))
        before: _Span | None = None
        for span in _spans(run, record):
            if before is None or (span.engine, span.reason) != (before.engine, before.reason):
                variants = [f"{span.engine}: {span.reason}" if span.reason else span.engine, span.engine]
                engines.append(Label(span.start_s, variants, engine_color(span.engine)))
            if span.emotion and (before is None or span.emotion != before.emotion):
                emotions.append(Label(span.start_s, [span.emotion + span.strength, span.emotion], EMOTION))
            before = span
        fillers += _filler_label(run, record)
        firsts += _first_word_label(run, record)
        if record.barge_in_s is not None:
            stop_ms = measure_turn(run, record).stop_ms
            stopped = [] if stop_ms is None else [f"barge-in, stopped after {milliseconds(stop_ms)}"]
            barge_ins.append(Label(record.barge_in_s - run.start_s, [*stopped, "barge-in"], INK))
    barriers = [label.x for label in barge_ins]
    place_labels(axes, _BARGE_IN_LABEL_Y, barge_ins, 8)
    place_labels(axes, _TEXT_LABEL_Y, texts, 8.5, barriers)
    place_labels(axes, _EMOTION_Y, emotions, 8, barriers)
    place_labels(axes, _ENGINE_LABEL_Y, engines, 7.5, barriers)
    place_labels(axes, _FILLER_LABEL_Y, fillers, 7.5, [*barriers, *(label.x for label in firsts)])
    place_labels(axes, _FIRST_LABEL_Y, firsts, 8, barriers)


def _filler_label(run: ScriptRun, record: TurnRecord) -> list[Label]:
    """One label for all fillers of a turn: they follow each other closely."""
    parts = [part for part in run.listener.heard(record.utterance_id) if part.chunk.kind == "filler"]
    if not parts:
        return []
    text = " ".join(f"“{filler}”" for filler in filler_texts(parts))
    return [Label(parts[0].start_s - run.start_s, [], KIND_COLORS["filler"], text=text)]


def _first_word_label(run: ScriptRun, record: TurnRecord) -> list[Label]:
    measures = measure_turn(run, record)
    word_s = first_heard_s(run.listener.heard(record.utterance_id), "speech")
    if word_s is None:
        return []
    word = milliseconds(measures.first_word_ms)
    return [Label(word_s - run.start_s, [f"first word {word}", word], FIRST)]


# ---- panels below the strips -----------------------------------------------------------------------------------------


def _draw_waits(figure: Any, cells: Sequence[Any], run: ScriptRun, spoken: Sequence[TurnRecord]) -> None:
    """From the start of a turn to the first word heard: what the time was spent on, and the fillers in it."""
    measures = [measure_turn(run, record) for record in spoken]
    legend = [("waiting for the text", WAIT_COLORS["text"]), ("the server", WAIT_COLORS["server"])]
    if any(turn.fillers for turn in measures):
        legend += [("filler heard", KIND_COLORS["filler"]), ("until the filler ends", WAIT_COLORS["filler ends"])]
    legend.append(("first word heard", FIRST))
    axes = add_panel(figure, cells, "What the listener waits for", "turn", legend)
    longest_ms = max((turn.first_word_ms or 0.0 for turn in measures), default=0.0)
    for row, (record, turn) in enumerate(zip(spoken, measures, strict=True)):
        word_ms = turn.first_word_ms
        if word_ms is None:
            continue
        _draw_wait(axes, row, record, run.speech(record), word_ms)
        for part in run.listener.heard(record.utterance_id):
            if part.chunk.kind == "filler" and 1000 * (part.start_s - record.started_s) < word_ms:
                _draw_filler(axes, row, part, record.started_s)
        axes.plot([word_ms] * 2, [row - 0.36, row + 0.36], color=FIRST, linewidth=2)
        server = "" if turn.server_ttfa_ms is None else f"server {milliseconds(turn.server_ttfa_ms)}"
        axes.text(word_ms + 0.01 * longest_ms, row, server, fontsize=8, color=INK, va="center")
    _style_turn_axis(axes, spoken)
    axes.set_xlim(0, 1.2 * longest_ms or 1.0)


def _draw_wait(axes: Any, row: int, record: TurnRecord, speech: Speech, word_ms: float) -> None:
    """First the text is written until its first unit is complete, then the server synthesizes, then a filler ends."""
    sent_ms = 1000 * (speech.sent[0].sent_s - record.started_s)
    received_ms = min(sent_ms + (speech.latency.ttfa_ms or 0.0), word_ms)
    server_ms = min(speech.report.ttfa_ms or 0.0, received_ms) if speech.report else 0.0
    bounds_ms = (0.0, received_ms - server_ms, received_ms, word_ms)
    for color, (left_ms, right_ms) in zip(WAIT_COLORS.values(), pairwise(bounds_ms), strict=True):
        axes.barh(row, right_ms - left_ms, left=left_ms, color=color, height=0.62, linewidth=0)


def _draw_filler(axes: Any, row: int, part: HeardChunk, started_s: float) -> None:
    left_ms, width_ms = 1000 * (part.start_s - started_s), 1000 * part.duration_s
    axes.barh(row, width_ms, left=left_ms, color=KIND_COLORS["filler"], height=0.3)


def _stages(run: ScriptRun, record: TurnRecord) -> dict[str, float]:
    report = run.speech(record).report
    return named_stages(report.stage_ms) if report else {}


def _draw_stages(
    figure: Any, cells: Sequence[Any], spoken: Sequence[TurnRecord], stages: Sequence[dict[str, float]]
) -> None:
    """The synthesis time of each turn by stage."""
    totals: dict[str, float] = {}
    for stage_ms in stages:
        for stage, spent_ms in stage_ms.items():
            totals[stage] = totals.get(stage, 0.0) + spent_ms
    colors = stage_colors(sorted(totals, key=lambda name: -totals[name]))
    axes = add_panel(figure, cells, "Synthesis by stage", "", list(colors.items()))
    left_ms = np.zeros(len(spoken))
    for stage, color in colors.items():
        spent = np.array([stage_ms.get(stage, 0.0) for stage_ms in stages])
        axes.barh(range(len(spoken)), spent, left=left_ms, color=color, height=0.62)
        left_ms += spent
    _style_turn_axis(axes, spoken)


def _style_turn_axis(axes: Any, spoken: Sequence[TurnRecord]) -> None:
    axes.set_yticks(range(len(spoken)), [str(record.number) for record in spoken])
    axes.set_ylim(len(spoken) - 0.5, -0.5)
    axes.set_xlabel("milliseconds", fontsize=9, color=MUTED)
