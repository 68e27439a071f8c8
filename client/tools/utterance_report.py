"""The latency report of one utterance, as tables for people and as JSON for programs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table

from intone.client.events import LatencyReport, Usage
from intone.client.json_values import to_json
from intone.client.latency import slowest_first
from intone.client.speech import Speech

_BAR_WIDTH = 32


def milliseconds(value: float | None) -> str:
    """Format a time; a dash if there is none."""
    return "–" if value is None else f"{value:.0f} ms" if abs(value) >= 10 else f"{value:.1f} ms"


def ratio(value: float | None) -> str:
    """Format a number without a unit; a dash if there is none."""
    return "–" if value is None else f"{value:.3f}"


def latency_table(speech: Speech, title: str = "Latency") -> Table:
    """Client and server measures side by side."""
    client, server = speech.latency, speech.report or LatencyReport()
    table = Table("measure", title=title, title_justify="left")
    table.add_column("client", justify="right")
    table.add_column("server", justify="right")
    table.add_row("time to first audio (TTFA)", milliseconds(client.ttfa_ms), milliseconds(server.ttfa_ms))
    if client.filler_ttfa_ms is not None:
        table.add_row("TTFA of a filler", milliseconds(client.filler_ttfa_ms), milliseconds(server.filler_ttfa_ms))
    usage = speech.usage or Usage()
    _add_prediction_and_fillers(table, server, usage)
    table.add_row("first chunk", milliseconds(client.first_chunk_ms), "")
    table.add_row("wait for the engine", "", milliseconds(server.queue_ms))
    table.add_row("gap between chunks, mean", milliseconds(client.gap_avg_ms), "")
    table.add_row("gap between chunks, longest", milliseconds(client.gap_max_ms), "")
    table.add_row("real-time factor (RTF)", ratio(client.rtf), ratio(server.rtf))
    server_audio = f"{(usage.speech_ms + usage.filler_ms + usage.pause_ms) / 1000:.2f} s" if speech.usage else "–"
    table.add_row("audio", f"{client.audio_ms / 1000:.2f} s", server_audio)
    audible = "" if client.continuous else ", audible"
    table.add_row("playback underruns", f"{client.underrun_s:.3f} s{audible}", "")
    return table


def _add_prediction_and_fillers(table: Table, server: LatencyReport, usage: Usage) -> None:
    if server.predicted_ttfa_ms is not None:
        table.add_row("TTFA, predicted", "", milliseconds(server.predicted_ttfa_ms))
    if usage.filler_count:
        table.add_row("fillers", "", f"{usage.filler_count}, {milliseconds(usage.filler_ms)}")
        table.add_row("wait covered", "", milliseconds(server.covered_ms))


def stage_bars(stage_ms: Mapping[str, float]) -> Table:
    """A bar for each stage of synthesis."""
    total_ms = sum(stage_ms.values())
    table = Table("stage", "share", title="Synthesis time by stage", title_justify="left")
    table.add_column("time", justify="right")
    for stage, spent_ms in slowest_first(stage_ms).items():
        bar = Bar(size=max(total_ms, 1e-9), begin=0, end=spent_ms, width=_BAR_WIDTH, color="cyan")
        table.add_row(stage, bar, milliseconds(spent_ms))
    return table


def utterance_report(speech: Speech, title: str = "Latency") -> RenderableType:
    """The latency table and, if the server reported stages, their bars."""
    report = speech.report
    bars = [stage_bars(report.stage_ms)] if report and report.stage_ms else []
    return Group(latency_table(speech, title), *bars)


def utterance_report_to_json(speech: Speech) -> dict[str, Any]:
    """The report as JSON values."""
    client = asdict(speech.latency)
    client |= {"gap_avg_ms": speech.latency.gap_avg_ms, "gap_max_ms": speech.latency.gap_max_ms}
    return {"event": "report", "client": client, "server": to_json(speech.report), "usage": to_json(speech.usage)}
