"""Prints what happens while text is spoken: lines on stderr for people, or JSON lines on stdout for programs."""

from collections.abc import Callable

from rich.text import Text

from intone.client.events import (
    AudioChunk,
    Closed,
    Configured,
    Done,
    Event,
    Flushed,
    GoingAway,
    Interrupted,
    Notice,
    RequestRefused,
    Rerouted,
    ResolvedEmotion,
    Route,
    Started,
    Timing,
    Usage,
)
from intone.client.json_values import event_to_json
from intone.client.latency import is_audible
from intone.client.speech import Speech
from intone.client.tools.console import Console
from intone.client.tools.emotions import describe_emotion
from intone.client.tools.json_output import write_json
from intone.client.tools.utterance_report import utterance_report, utterance_report_to_json

Line = tuple[str, str, str]
"""Topic, message, style."""


class EventPrinter:
    """Prints the events of a stream.

    Args:
        as_json: prints every event as JSON.
        clock: the clock of the events, in seconds; lines show the time since the printer was made.
    """

    def __init__(self, *, as_json: bool, clock: Callable[[], float]) -> None:
        self._as_json = as_json
        self._start_s = clock()
        self._console = Console(stderr=True, highlight=False)
        self._rate_hz = 0
        self._engine = ""
        self._filler = ""
        self._spoken = False
        self._pause: tuple[float, float] | None = None

    def print_event(self, event: Event) -> None:
        """Print an event. For people, most audio chunks print nothing."""
        if self._as_json:
            write_json(event_to_json(event))
            return
        self._print_pause(event)
        self._note(event)
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

    def _note(self, event: Event) -> None:
        """Remember what later lines need."""
        match event:
            case Configured():
                self._rate_hz = event.format.sample_rate_hz
            case Started():
                self._engine, self._spoken = event.route.engine, False
            case Rerouted():
                self._engine = event.route.engine

    def _lines(self, event: Event) -> list[Line]:
        match event:
            case Started():
                route = f"{event.route.engine} with voice {event.voice}: {_reason(event.route)} (seed {event.seed})"
                return [("started", route, ""), *_emotion(event.emotion)]
            case Rerouted():
                route = f"from character {event.text_span.start} on {event.route.engine}: {_reason(event.route)}"
                return [("rerouted", route, "magenta"), *_emotion(event.emotion)]
            case AudioChunk():
                return self._first_audio(event)
            case Timing():
                return [("timing", f"{len(event.words)} words, {event.source}{', final' * event.final}", "dim")]
            case Done():
                return [_done(event)]
            case Interrupted():
                return self._interrupted(event)
        return _stream_lines(event)

    def _first_audio(self, chunk: AudioChunk) -> list[Line]:
        """The first chunk of each filler, and the first audible speech."""
        before, self._filler = self._filler, chunk.filler_text
        if chunk.filler_text not in ("", before):
            return [("filler", f"“{chunk.filler_text}” covers the wait", "cyan")]
        if chunk.kind != "speech" or self._spoken or not is_audible(chunk):
            return []
        self._spoken = True
        return [("audio", f"first speech from {self._engine}", "cyan")]

    def _print_pause(self, event: Event) -> None:
        """Sum up the chunks of a pause; print it when it is over, with the time of its first chunk."""
        if isinstance(event, AudioChunk) and event.kind == "silence":
            since_s, duration_s = self._pause or (event.received_s, 0.0)
            self._pause = since_s, duration_s + event.duration_s
        elif self._pause is not None:
            since_s, duration_s = self._pause
            self._pause = None
            self._print(since_s, "pause", f"{1000 * duration_s:.0f} ms", "dim")

    def _interrupted(self, event: Interrupted) -> list[Line]:
        if not event.cuts:
            return [("interrupted", "nothing was left to stop", "yellow")]
        return [
            (
                "interrupted",
                f"after {cut.heard_samples / self._rate_hz:.2f} s ({cut.source}); not heard: {cut.unheard_text!r}",
                "yellow",
            )
            for cut in event.cuts
        ]


def _stream_lines(event: Event) -> list[Line]:
    """Events that are about the stream, or may be."""
    match event:
        case Configured():
            audio = f"{event.format.encoding}, {event.format.sample_rate_hz} Hz"
            return [("configured", f"{audio}, stream {event.stream_id}, intone {event.server_version}", "dim")]
        case Flushed():
            return [("flushed", event.flush_id, "")]
        case Notice():
            return [("notice", f"{event.message} [{event.code}]", "yellow")]
        case RequestRefused():
            return [("refused", str(event.error), "red")]
        case GoingAway():
            return [("going away", f"the server shuts down, in {event.grace_ms / 1000:.0f} s at the latest", "yellow")]
        case Closed() if event.error is None:  # the caller gets the error, and reports it
            return [("closed", _spoken(event.usage), "dim")]
    return []


def _reason(route: Route) -> str:
    return route.explanation or route.reason


def _emotion(emotion: ResolvedEmotion) -> list[Line]:
    description = describe_emotion(emotion)
    return [("emotion", description, "magenta")] if description else []


def _done(event: Done) -> Line:
    """Duration of the speech and, if measured, the server's first sound with its prediction and the part covered."""
    if event.error is not None:
        return "done", f"{event.reason}: {event.error}", "red"
    parts, report = [_spoken(event.usage)], event.latency
    if report.ttfa_ms is not None:
        predicted = "" if report.predicted_ttfa_ms is None else f", predicted {report.predicted_ttfa_ms:.0f} ms"
        covered = f", {report.covered_ms:.0f} ms of it covered by a filler" if report.covered_ms else ""
        parts.append(f"first sound of the server {report.ttfa_ms:.0f} ms{predicted}{covered}")
    return "done", f"{event.reason}: {'; '.join(parts)}", "yellow" if event.reason == "interrupted" else "green"


def _spoken(usage: Usage) -> str:
    return f"{usage.spoken_characters} characters, {usage.speech_ms / 1000:.2f} s of speech"
