"""The latency report of one utterance, as a table for people and as JSON for programs."""

from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from intone.client.events import LatencyReport, Usage
from intone.client.json_values import to_json
from intone.client.speech import Speech
from intone.client.tools.stages import named_stages
from intone.client.tools.waits import wait_of


def milliseconds(value: float | None) -> str:
    """Format a time; a dash if there is none."""
    return "–" if value is None else f"{value:.0f} ms" if abs(value) >= 10 else f"{value:.1f} ms"


def ratio(value: float | None) -> str:
    """Format a number without a unit; a dash if there is none."""
    return "–" if value is None else f"{value:.2f}"


def utterance_report(speech: Speech) -> Table:
    """What the wait for the first word was spent on, and how the audio came.

    The server's first sound is the headline: the wait for the text is the writer's.
    """
    latency, server, usage = speech.latency, speech.report or LatencyReport(), speech.usage or Usage()
    wait = wait_of(speech)
    table = Table(box=box.SIMPLE, show_header=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    table.add_row("first sound of the server", milliseconds(wait.server_ms), _server_notes(server), style="bold")
    table.add_row("wait for the text", milliseconds(wait.text_ms), "it was being written, or on its way")
    table.add_row("first word received", milliseconds(wait.speech_ms), "the sum")
    if wait.filler_ms is not None or usage.filler_count:
        note = f"{usage.filler_count} of {milliseconds(usage.filler_ms)}, covering {milliseconds(server.covered_ms)}"
        table.add_row("first filler received", milliseconds(wait.filler_ms), note)
    gaps = f"between chunks; the longest {milliseconds(latency.gap_max_ms)}"
    table.add_row("gap", milliseconds(latency.gap_avg_ms), gaps)
    table.add_row("audio", f"{latency.audio_ms / 1000:.2f} s", f"in {len(speech.chunks)} chunks")
    table.add_row("real-time factor (RTF)", ratio(server.rtf), "seconds of synthesis for a second of audio")
    audible = "" if latency.continuous else "audible; where they are: --picture FILE.png"
    table.add_row("playback underruns", f"{latency.underrun_s:.2f} s", audible)
    if server.stage_ms:
        parts = [f"{name} {milliseconds(spent_ms)}" for name, spent_ms in named_stages(server.stage_ms).items()]
        table.add_row("synthesis", milliseconds(sum(server.stage_ms.values())), ", ".join(parts[:_MAX_STAGES]))
    return table


_MAX_STAGES = 5


def _server_notes(server: LatencyReport) -> str:
    """The prediction, and the part that was spent waiting for the engine."""
    notes = []
    if server.queue_ms:
        notes.append(f"of it {milliseconds(server.queue_ms)} waiting for the engine")
    if server.predicted_ttfa_ms is not None:
        notes.append(f"predicted {milliseconds(server.predicted_ttfa_ms)}")
    return "; ".join(notes)


def utterance_report_to_json(speech: Speech) -> dict[str, Any]:
    """The report as JSON values. `wait` has the times of `Wait`."""
    client = asdict(speech.latency)
    client |= {"gap_avg_ms": speech.latency.gap_avg_ms, "gap_max_ms": speech.latency.gap_max_ms}
    return {
        "event": "report",
        "wait": asdict(wait_of(speech)),
        "client": client,
        "server": to_json(speech.report),
        "usage": to_json(speech.usage),
    }
