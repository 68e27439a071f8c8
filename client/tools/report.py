"""The latency report of one utterance, for people and for programs. Knows measures, not how they were taken."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table

from intone.client.events import Report, report_to_json
from intone.client.latency import largest_first
from intone.client.speech import Speech

_BAR_WIDTH = 32
_UNKNOWN = Report(None, None, None, None, 0.0, 0.0, 0.0, {}, 0)


def milliseconds(value: float | None) -> str:
    """A time for people; a dash where there is none."""
    return "–" if value is None else f"{value:.0f} ms" if abs(value) >= 10 else f"{value:.1f} ms"


def ratio(value: float | None) -> str:
    """A number without a unit for people; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"


def latency_table(speech: Speech, title: str = "Latency") -> Table:
    """Client and server measures side by side."""
    ours, theirs = speech.latency, speech.report or _UNKNOWN
    table = Table("measure", title=title, title_justify="left")
    table.add_column("client", justify="right")
    table.add_column("server", justify="right")
    table.add_row("first sound (TTFA)", milliseconds(ours.ttfa_ms), milliseconds(theirs.ttfa_ms))
    if ours.filler_ttfa_ms is not None:
        server_ms = milliseconds(theirs.filler_ttfa_ms)
        table.add_row("first filler", milliseconds(ours.filler_ttfa_ms), server_ms)
    _add_wait(table, theirs)
    table.add_row("first chunk", milliseconds(ours.first_chunk_ms), "")
    table.add_row("wait for the engine", "", milliseconds(theirs.queue_ms))
    table.add_row("gap between chunks, mean", milliseconds(ours.gap_avg_ms), "")
    table.add_row("gap between chunks, longest", milliseconds(ours.gap_max_ms), "")
    table.add_row("real-time factor (RTF)", ratio(ours.rtf), ratio(theirs.rtf))
    server_audio = f"{(theirs.audio_ms + theirs.filler_ms + theirs.pause_ms) / 1000:.2f} s" if speech.report else "–"
    table.add_row("audio", f"{ours.audio_ms / 1000:.2f} s", server_audio)
    heard = "" if ours.continuous else ", audible"
    table.add_row("holes in playback", f"{ours.underrun_s:.3f} s{heard}", "")
    return table


def _add_wait(table: Table, theirs: Report) -> None:
    """What the server expected the wait to be, and what the listener did not have to wait in silence."""
    if theirs.predicted_ttfa_ms is not None:
        table.add_row("first sound, predicted", "", milliseconds(theirs.predicted_ttfa_ms))
    if theirs.fillers:
        told = f"{theirs.fillers}, {milliseconds(theirs.filler_ms)}"
        table.add_row("fillers", "", told)
        table.add_row("wait covered", "", milliseconds(theirs.covered_ms))


def stage_bars(stage_ms: Mapping[str, float]) -> Table:
    """One bar for each stage of synthesis."""
    total_ms = sum(stage_ms.values())
    table = Table("stage", "share", title="Where the server's time went", title_justify="left")
    table.add_column("time", justify="right")
    for stage, spent_ms in largest_first(stage_ms).items():
        bar = Bar(size=max(total_ms, 1e-9), begin=0, end=spent_ms, width=_BAR_WIDTH, color="cyan")
        table.add_row(stage, bar, milliseconds(spent_ms))
    return table


def summary(speech: Speech, title: str = "Latency") -> RenderableType:
    """Everything there is to say about one utterance."""
    report = speech.report
    bars = [stage_bars(report.stage_ms)] if report and report.stage_ms else []
    return Group(latency_table(speech, title), *bars)


def summary_to_json(speech: Speech) -> dict[str, Any]:
    """The same as JSON values."""
    client = asdict(speech.latency)
    client |= {"gap_avg_ms": speech.latency.gap_avg_ms, "gap_max_ms": speech.latency.gap_max_ms}
    return {"event": "report", "client": client, "server": report_to_json(speech.report) if speech.report else None}
