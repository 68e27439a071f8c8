"""Tells what happens while something is spoken: lines on stderr for people, or JSON lines on stdout for programs."""

import json
import sys
from collections.abc import Callable

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.text import Text

from intone.client.events import (
    Audio,
    Done,
    Error,
    Event,
    Flushed,
    Interrupted,
    Report,
    Rerouted,
    Started,
    Warning,  # noqa: A004 - the wire calls it so
    to_json,
)
from intone.client.latency import audible
from intone.client.speech import Speech
from intone.client.tools.emotions import emotion_words
from intone.client.tools.report import summary, summary_to_json

Line = tuple[str, str, str]
"""Topic, words, style."""


class Narrator:
    """One telling of one utterance, or of several one after another.

    Args:
        as_json: for programs.
        now_s: the clock of the events; lines count from its first reading.
    """

    def __init__(self, *, as_json: bool, now_s: Callable[[], float]) -> None:
        self._as_json = as_json
        self._start_s = now_s()
        self._console = Console(stderr=True, highlight=False)
        self._spoken = False
        self._sounding = ("", "")
        self._pause: tuple[float, float] | None = None

    def tell(self, event: Event) -> None:
        """What has just happened, if it is of note."""
        if self._as_json:
            write_json(to_json(event))
            return
        self._tell_pause(event)
        if isinstance(event, Started):
            self._spoken = False
        for topic, words, style in self._lines(event):
            self._print(event.received_s, topic, words, style)

    def _print(self, at_s: float, topic: str, words: str, style: str) -> None:
        line = Text(f"{at_s - self._start_s:6.2f} s  ", style="dim")
        told = Text(f"{topic:<11} ", style=style or "bold") + Text(words, style=style)
        self._console.print(line + told, soft_wrap=True)

    def finish(self, speech: Speech) -> None:
        """The report at the end."""
        if self._as_json:
            write_json(summary_to_json(speech))
        else:
            self._console.print(summary(speech))

    def _lines(self, event: Event) -> list[Line]:
        match event:
            case Started():
                who = f"{event.engine} with voice {event.voice}"
                return [("started", f"{who}: {_why(event)} (seed {event.seed})", ""), *_emotion(event)]
            case Rerouted():
                where = f"from character {event.text_span.start} on"
                return [("rerouted", f"{where} {event.engine}: {_why(event)}", "magenta"), *_emotion(event)]
            case Audio():
                return self._first_sound(event)
            case Flushed():
                return [("flushed", event.flush_id, "")]
            case Warning():
                return [("warning", f"{event.message} [{event.code}]", "yellow")]
            case Error():
                return [("refused", str(event.error), "red")]
            case Done() | Interrupted():
                return [_end(event)]

    def _first_sound(self, chunk: Audio) -> list[Line]:
        """Each filler with what it says, and the first speech."""
        before, self._sounding = self._sounding, (chunk.kind, chunk.filler)
        if chunk.kind == "filler" and before != self._sounding:
            return [("filler", f"“{chunk.filler}” covers the wait", "cyan")]
        if chunk.kind != "speech" or self._spoken or not audible(chunk):
            return []
        self._spoken = True
        return [("sound", f"first speech from {chunk.engine}", "cyan")]

    def _tell_pause(self, event: Event) -> None:
        """A pause comes in chunks; it is told when it is over, at the time it began."""
        if isinstance(event, Audio) and event.kind == "silence":
            since_s, length_s = self._pause or (event.received_s, 0.0)
            self._pause = since_s, length_s + event.duration_s
        elif self._pause is not None:
            since_s, length_s = self._pause
            self._pause = None
            self._print(since_s, "pause", f"{1000 * length_s:.0f} ms", "dim")


def _why(how: Started | Rerouted) -> str:
    return how.route_explanation or how.route_reason


def _emotion(how: Started | Rerouted) -> list[Line]:
    words = emotion_words(how)
    return [("emotion", words, "magenta")] if words else []


def _end(event: Done | Interrupted) -> Line:
    if isinstance(event, Interrupted):
        return "interrupted", f"after {event.heard_ms / 1000:.2f} s; not heard: {event.unheard_text!r}", "yellow"
    if event.error is not None:
        return "done", f"{event.reason}: {event.error}", "red"
    return "done", f"{event.reason}: {_spoken(event.report)}", "green"


def _spoken(report: Report) -> str:
    """What was said, and where the server measured a wait, what it had expected and what it covered."""
    parts = [f"{report.audio_ms / 1000:.2f} s of speech"]
    if report.ttfa_ms is not None:
        expected = "" if report.predicted_ttfa_ms is None else f", {report.predicted_ttfa_ms:.0f} ms predicted"
        covered = f", {report.covered_ms:.0f} ms covered" if report.covered_ms else ""
        parts.append(f"the first after {report.ttfa_ms:.0f} ms{expected}{covered}")
    return "; ".join(parts)


def write_json(values: object) -> None:
    """One line of JSON on standard output, at once."""
    sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def write_message(message: Message) -> None:
    """A wire message as one line of JSON, fields without a value included."""
    write_json(MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))
