"""Tells what happens while something is spoken: lines on stderr for people, or JSON lines on stdout for programs."""

import json
import sys
from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from intone.client.events import Audio, Done, Error, Event, Flushed, Interrupted, Started, Warning, to_json
from intone.client.latency import audible
from intone.client.report import summary, summary_to_json
from intone.client.speech import Speech

CLEAR_LINE = "\r\x1b[K"


class Narrator:
    """One telling of one utterance.

    Args:
        as_json: for programs.
        now_s: the clock of the events; lines count from its first reading.
    """

    def __init__(self, *, as_json: bool, now_s: Callable[[], float]) -> None:
        self._as_json = as_json
        self._start_s = now_s()
        self._console = Console(stderr=True, highlight=False)
        self._heard: set[str] = set()

    def tell(self, event: Event) -> None:
        """What has just happened, if it is of note."""
        if self._as_json:
            write_json(to_json(event))
            return
        told = self._words(event)
        if told is not None:
            topic, words, style = told
            line = Text(f"{event.received_s - self._start_s:6.2f} s  ", style="dim")
            self._console.print(
                line + Text(f"{topic:<11} ", style=style or "bold") + Text(words, style=style), soft_wrap=True
            )

    def finish(self, speech: Speech) -> None:
        """The report at the end."""
        if self._as_json:
            write_json(summary_to_json(speech))
        else:
            self._console.print(summary(speech))

    def _words(self, event: Event) -> tuple[str, str, str] | None:
        """(topic, words, style)."""
        match event:
            case Started():
                why = event.route_explanation or event.route_reason
                return "started", f"{event.engine} with voice {event.voice}: {why} (seed {event.seed})", ""
            case Audio():
                return self._first_sound(event)
            case Flushed():
                return "flushed", event.flush_id, ""
            case Interrupted():
                return (
                    "interrupted",
                    f"after {event.heard_ms / 1000:.2f} s; not heard: {event.unheard_text!r}",
                    "yellow",
                )
            case Done(error=None):
                return "done", f"{event.reason}: {event.report.audio_ms / 1000:.2f} s of speech", "green"
            case Done():
                return "done", f"{event.reason}: {event.error}", "red"
            case Warning():
                return "warning", f"{event.message} [{event.code}]", "yellow"
            case Error():
                return "refused", str(event.error), "red"

    def _first_sound(self, chunk: Audio) -> tuple[str, str, str] | None:
        if chunk.kind in self._heard or not audible(chunk):
            return None
        self._heard.add(chunk.kind)
        return "sound", f"first {chunk.kind} from {chunk.engine}", "cyan"


def write_json(values: object) -> None:
    """One line of JSON on standard output, at once."""
    sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
    sys.stdout.flush()
