"""The measures of all turns of a script, as a table for people and as JSON for programs."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from intone.client.tools.routes import short_reason
from intone.client.tools.turn_measures import TurnMeasures
from intone.client.tools.utterance_report import milliseconds

_TITLE = """\
Milliseconds: the server's first sound, wait for the text, first word and first
filler heard, stop after a barge-in"""


def turn_report(measures: Sequence[TurnMeasures], wall_s: float) -> RenderableType:
    """A table with one row per turn, then the text heard in each turn, then the totals."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    columns = [column for column in _COLUMNS if column[0] not in _OPTIONAL_COLUMNS or any(map(column[1], measures))]
    for name, _ in columns:
        numeric = name not in ("engine", "emotion")
        style = "bold" if name == _HEADLINE else ""
        table.add_column(name, justify="right" if numeric else "left", style=style, no_wrap=True)
    for turn in measures:
        if turn.outcome != "skipped":
            table.add_row(*(cell(turn) for _, cell in columns))
    heard = [_heard_line(turn) for turn in measures]
    return Group(Text(_TITLE, style="italic"), table, Text(), *heard, Text(), *map(Text, totals(measures, wall_s)))


_SHORT_SOURCES = {"utterance": "asked for", "stream": "asked for", "tag": "tag", "text": "from text", "none": ""}


def _with_reason(value: str, reason: str) -> Text:
    return Text(value) + Text(f"\n{reason}" if reason else "", style="dim")


def _engine(turn: TurnMeasures) -> Text:
    return _with_reason("\n→ ".join(turn.engines), short_reason(turn.reason, emotional=turn.emotional))


def _source(turn: TurnMeasures) -> str:
    """Where the emotion is from, or that it is not heard."""
    if turn.emotional and not turn.voiced:
        return "not voiced"
    return _SHORT_SOURCES.get(turn.source, turn.source)


def _number(value_ms: float | None) -> Text:
    return Text("" if value_ms is None else f"{value_ms:.0f}" if value_ms >= 10 else f"{value_ms:.1f}")


def _heard_line(turn: TurnMeasures) -> Text:
    """Transcript of what was heard in a turn."""
    line = Text(f"{turn.number:3}. ", style="dim")
    line += Text(f"“{'” “'.join(turn.fillers)}” " if turn.fillers else "", style="dark_orange")
    line += Text(" ".join(turn.heard_text.split()))
    if turn.outcome == "interrupted":
        return line + Text(" ✂ barge-in", style="red")
    if turn.outcome == "skipped":
        return line + Text(f"skipped: {turn.note}", style="dim")
    return line if turn.outcome == "completed" else line + Text(f"{turn.outcome}: {turn.note}", style="red")


_HEADLINE = "server"
_COLUMNS: tuple[tuple[str, Callable[[TurnMeasures], Text]], ...] = (
    ("#", lambda turn: Text(str(turn.number))),
    ("engine", lambda turn: _engine(turn)),
    ("emotion", lambda turn: _with_reason(turn.emotion.replace(" + ", "\n+ "), _source(turn))),
    (_HEADLINE, lambda turn: _number(turn.server_ttfa_ms)),
    ("text", lambda turn: _number(turn.text_wait_ms)),
    ("word", lambda turn: _number(turn.first_word_ms)),
    ("filler", lambda turn: _number(turn.filler_ms)),
    ("stop", lambda turn: _number(turn.stop_ms)),
    ("underrun", lambda turn: _number(turn.underrun_ms or None)),
)
_OPTIONAL_COLUMNS = ("filler", "stop", "underrun")
"""Shown only if a turn has a value."""


def totals(measures: Sequence[TurnMeasures], wall_s: float) -> list[str]:
    """Totals and medians of the conversation, in a few lines."""
    spoken = [turn for turn in measures if turn.outcome != "skipped"]
    interrupted = [turn for turn in spoken if turn.outcome == "interrupted"]
    fillers = sum(len(turn.fillers) for turn in spoken)
    lines = [
        f"{len(spoken)} turns in {wall_s:.1f} s, {sum(turn.heard_ms for turn in spoken) / 1000:.1f} s heard, "
        f"{sum(turn.underrun_ms for turn in spoken):.0f} ms of underruns",
        f"medians: server {_median(turn.server_ttfa_ms for turn in spoken)}, "
        f"text {_median(turn.text_wait_ms for turn in spoken)}, "
        f"word {_median(turn.first_word_ms for turn in spoken)}",
    ]
    if fillers:
        lines.append(f"fillers: {fillers}, sounding for {sum(turn.covered_ms for turn in spoken):.0f} ms of waiting")
    if interrupted:
        stop_ms = _median(turn.stop_ms for turn in interrupted)
        lines.append(f"barge-ins: {len(interrupted)}, stopped after {stop_ms} (median)")
    return lines


def _median(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return milliseconds(statistics.median(known) if known else None)


def turn_report_to_json(measures: Sequence[TurnMeasures], wall_s: float) -> dict[str, Any]:
    """The measures as JSON values."""
    return {"event": "turns", "wall_s": wall_s, "turns": [asdict(turn) for turn in measures]}
