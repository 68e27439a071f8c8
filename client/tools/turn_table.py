"""A conversation's measures as a table for people and as JSON for programs. Knows measures, not how they were taken."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from intone.client.tools.report import milliseconds
from intone.client.tools.turns import TurnMeasures


def turns_table(measures: Sequence[TurnMeasures], wall_s: float) -> RenderableType:
    """One row a turn, below them what was heard of each, and the totals."""
    table = Table(box=box.SIMPLE_HEAD, title="Turn by turn, milliseconds", title_justify="left")
    columns = [column for column in _COLUMNS if column[0] not in _WHERE_THERE_IS_ONE or any(map(column[1], measures))]
    for name, _ in columns:
        numeric = name not in ("engine", "emotion")
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for turn in measures:
        if turn.outcome != "skipped":
            table.add_row(*(cell(turn) for _, cell in columns))
    heard = [_heard(turn) for turn in measures]
    return Group(table, Text("Heard", style="italic"), *heard, Text(), *map(Text, totals(measures, wall_s)))


_SOURCES = {"utterance": "asked for", "stream": "of the stream", "tag": "tag", "text": "from the text", "none": ""}


def _with_reason(what: str, why: str) -> Text:
    return Text(what) + Text(f"\n{why}" if why else "", style="dim")


def _figure(value_ms: float | None) -> Text:
    return Text("" if value_ms is None else f"{value_ms:.0f}" if value_ms >= 10 else f"{value_ms:.1f}")


def _covered(turn: TurnMeasures) -> Text:
    return Text(f"{turn.covered_ms:.0f}" if turn.fillers else "")


def _heard(turn: TurnMeasures) -> Text:
    """What a listener could write down."""
    line = Text(f"{turn.number:3}. ", style="dim")
    line += Text(f"“{'” “'.join(turn.fillers)}” " if turn.fillers else "", style="dark_orange")
    line += Text(" ".join(turn.heard_text.split()))
    if turn.outcome == "interrupted":
        return line + Text(" ✂ barge-in", style="red")
    if turn.outcome == "skipped":
        return line + Text(f"left out: {turn.note}", style="dim")
    return line if turn.outcome == "completed" else line + Text(f"{turn.outcome}: {turn.note}", style="red")


_COLUMNS: tuple[tuple[str, Callable[[TurnMeasures], Text]], ...] = (
    ("#", lambda turn: Text(str(turn.number))),
    ("engine", lambda turn: _with_reason("\n→ ".join(turn.engines), turn.reason.replace("_", " "))),
    ("emotion", lambda turn: _with_reason(turn.emotion, _SOURCES.get(turn.source, turn.source))),
    ("sound", lambda turn: _figure(turn.first_sound_ms)),
    ("word", lambda turn: _figure(turn.first_word_ms)),
    ("covered", lambda turn: _covered(turn)),
    ("stop", lambda turn: _figure(turn.stop_ms)),
    ("holes", lambda turn: _figure(turn.holes_ms or None)),
)
_WHERE_THERE_IS_ONE = ("covered", "stop", "holes")


def totals(measures: Sequence[TurnMeasures], wall_s: float) -> list[str]:
    """The whole conversation in a few lines."""
    spoken = [turn for turn in measures if turn.outcome != "skipped"]
    cut = [turn for turn in spoken if turn.outcome == "interrupted"]
    fillers = sum(len(turn.fillers) for turn in spoken)
    lines = [
        f"{len(spoken)} turns in {wall_s:.1f} s, {sum(turn.heard_ms for turn in spoken) / 1000:.1f} s heard, "
        f"{sum(turn.holes_ms for turn in spoken):.0f} ms of holes",
        f"first sound {_median(turn.first_sound_ms for turn in spoken)}, "
        f"first word {_median(turn.first_word_ms for turn in spoken)}, "
        f"first word by the server's clock {_median(turn.server_ttfa_ms for turn in spoken)} (medians)",
    ]
    if fillers:
        lines.append(f"fillers: {fillers}; they covered {sum(turn.covered_ms for turn in spoken):.0f} ms of waiting")
    if cut:
        lines.append(f"barge-ins: {len(cut)}; the server had stopped after {_median(turn.stop_ms for turn in cut)}")
    return lines


def _median(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return milliseconds(statistics.median(known) if known else None)


def turns_to_json(measures: Sequence[TurnMeasures], wall_s: float) -> dict[str, Any]:
    """The same as JSON values."""
    return {"event": "turns", "wall_s": wall_s, "turns": [asdict(turn) for turn in measures]}
