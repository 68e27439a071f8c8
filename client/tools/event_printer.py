"""Prints what happens while text is spoken: lines on stderr for people, or JSON lines on stdout for programs."""

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from intone.client.events import (
    AudioChunk,
    Done,
    Event,
    Flushed,
    Interrupted,
    LatencyReport,
    Notice,
    RequestRefused,
    Rerouted,
    Started,
    event_to_json,
)
from intone.client.latency import is_audible
from intone.client.speech import Speech
from intone.client.tools.emotions import describe_emotion
from intone.client.tools.json_output import write_json
from intone.client.tools.utterance_report import utterance_report, utterance_report_to_json

Line = tuple[str, str, str]
"""Topic, message, style."""


class EventPrinter:
    """Prints the events of one utterance, or of several one after another.

    Args:
        as_json: prints every event as JSON.
        clock: the clock of the events, in seconds; lines show the time since the printer was made.
    """

    def __init__(self, *, as_json: bool, clock: Callable[[], float]) -> None:
        self._as_json = as_json
        self._start_s = clock()
        self._console = Console(stderr=True, highlight=False)
        self._spoken = False
        self._playing = ("", "")
        self._pause: tuple[float, float] | None = None

    def print_event(self, event: Event) -> None:
        """Print an event. For people, most audio chunks print nothing."""
        if self._as_json:
            write_json(event_to_json(event))
            return
        self._print_pause(event)
        if isinstance(event, Started):
            self._spoken = False
        for topic, message, style in self._lines(event):
            self._print(event.received_s, topic, message, style)

    def print_report(self, speech: Speech) -> None:
        """Print the latency report of an utterance."""
        if self._as_json:
            write_json(utterance_report_to_json(speech))
        else:
            self._console.print(utterance_report(speech))

    def _print(self, at_s: float, topic: str, message: str, style: str) -> None:
        time = Text(f"{at_s - self._start_s:6.2f} s  ", style="dim")
        line = Text(f"{topic:<11} ", style=style or "bold") + Text(message, style=style)
        self._console.print(time + line, soft_wrap=True)

    def _lines(self, event: Event) -> list[Line]:
        match event:
            case Started():
                route = f"{event.engine} with voice {event.voice}: {_reason(event)} (seed {event.seed})"
                return [("started", route, ""), *_emotion(event)]
            case Rerouted():
                route = f"from character {event.text_span.start} on {event.engine}: {_reason(event)}"
                return [("rerouted", route, "magenta"), *_emotion(event)]
            case AudioChunk():
                return self._first_audio(event)
            case Flushed():
                return [("flushed", event.flush_id, "")]
            case Notice():
                return [("warning", f"{event.message} [{event.code}]", "yellow")]
            case RequestRefused():
                return [("refused", str(event.error), "red")]
            case Done() | Interrupted():
                return [_end(event)]

    def _first_audio(self, chunk: AudioChunk) -> list[Line]:
        """The first chunk of each filler, and the first audible speech."""
        before, self._playing = self._playing, (chunk.kind, chunk.filler)
        if chunk.kind == "filler" and before != self._playing:
            return [("filler", f"“{chunk.filler}” covers the wait", "cyan")]
        if chunk.kind != "speech" or self._spoken or not is_audible(chunk):
            return []
        self._spoken = True
        return [("audio", f"first speech from {chunk.engine}", "cyan")]

    def _print_pause(self, event: Event) -> None:
        """Sum up the chunks of a pause; print it when it is over, with the time of its first chunk."""
        if isinstance(event, AudioChunk) and event.kind == "silence":
            since_s, duration_s = self._pause or (event.received_s, 0.0)
            self._pause = since_s, duration_s + event.duration_s
        elif self._pause is not None:
            since_s, duration_s = self._pause
            self._pause = None
            self._print(since_s, "pause", f"{1000 * duration_s:.0f} ms", "dim")


def _reason(route: Started | Rerouted) -> str:
    return route.route_explanation or route.route_reason


def _emotion(route: Started | Rerouted) -> list[Line]:
    description = describe_emotion(route)
    return [("emotion", description, "magenta")] if description else []


def _end(event: Done | Interrupted) -> Line:
    if isinstance(event, Interrupted):
        return "interrupted", f"after {event.heard_ms / 1000:.2f} s; not heard: {event.unheard_text!r}", "yellow"
    if event.error is not None:
        return "done", f"{event.reason}: {event.error}", "red"
    return "done", f"{event.reason}: {_summary(event.report)}", "green"


def _summary(report: LatencyReport) -> str:
    """Duration of the speech and, if measured, TTFA with its prediction and the part covered by audio."""
    parts = [f"{report.audio_ms / 1000:.2f} s of speech"]
    if report.ttfa_ms is not None:
        predicted = "" if report.predicted_ttfa_ms is None else f", predicted {report.predicted_ttfa_ms:.0f} ms"
        covered = f", covered {report.covered_ms:.0f} ms" if report.covered_ms else ""
        parts.append(f"TTFA at the server {report.ttfa_ms:.0f} ms{predicted}{covered}")
    return "; ".join(parts)
