"""Latency measures of each turn of a script, as its listener heard them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from intone.client.events import Rerouted, Started
from intone.client.latency import is_audible
from intone.client.speech import Speech
from intone.client.tools.emotions import emotion_name
from intone.client.tools.listener import HeardChunk
from intone.client.tools.script_runner import ScriptRun, TurnRecord
from intone.client.tools.waits import wait_of


@dataclass(frozen=True, slots=True)
class TurnMeasures:
    """Measures of one turn at the listener. None means not applicable.

    Attributes:
        outcome: "completed", "empty", "interrupted", "rejected", "failed", "skipped", or "unfinished" if the call was
            lost.
        engines: the engines that spoke, in order.
        reason: route reason of the first engine; a code.
        emotion: name and intensity, or "neutral".
        voiced: False if the engines that spoke ignore the emotion.
        source: emotion source; a code.
        first_sound_ms: from the start of the turn to the first audible sound, fillers included.
        first_word_ms: from the start of the turn to the first audible speech.
        covered_ms: the part of `first_word_ms` in which a filler was heard.
        text_wait_ms: from the start of the turn until the server had the text of its first sentence.
        server_ttfa_ms: the server's first sound: from then to its first audible speech.
        filler_ms: from the start of the turn to the first audible filler.
        stop_ms: from the barge-in to the server's confirmation. The listener hears nothing more from the barge-in on.
        late_ms: duration of the audio that arrived after the barge-in and was discarded.
        heard_text: from the server if the turn was interrupted.
        heard_ms: duration of the audio heard, fillers and pauses included.
        underrun_ms: total duration of playback underruns after the first speech.
        fillers: texts of the fillers heard.
        note: why the turn was skipped or failed.
    """

    number: int
    text: str
    outcome: str
    engines: tuple[str, ...] = ()
    reason: str = ""
    emotion: str = ""
    source: str = ""
    voiced: bool = True
    first_sound_ms: float | None = None
    first_word_ms: float | None = None
    covered_ms: float = 0.0
    text_wait_ms: float | None = None
    server_ttfa_ms: float | None = None
    filler_ms: float | None = None
    stop_ms: float | None = None
    late_ms: float = 0.0
    heard_text: str = ""
    heard_ms: float = 0.0
    underrun_ms: float = 0.0
    fillers: tuple[str, ...] = ()
    note: str = ""

    @property
    def emotional(self) -> bool:
        """Whether there is an emotion to be heard."""
        return self.emotion not in ("", "neutral")


def measure_turn(run: ScriptRun, record: TurnRecord) -> TurnMeasures:
    """Measure one turn."""
    if record.skipped:
        return TurnMeasures(record.number, record.turn.text, "skipped", note=record.skipped)
    speech, heard = run.speech(record), run.listener.heard(record.utterance_id)
    routes = [event for event in speech.events if isinstance(event, Started | Rerouted)]
    sound_s, word_s = first_heard_s(heard), first_heard_s(heard, "speech")
    done, outcome = speech.done, _outcome(speech, record)
    return TurnMeasures(
        number=record.number,
        text=record.turn.text,
        outcome=outcome,
        engines=tuple(dict.fromkeys(event.route.engine for event in routes)),
        reason=routes[0].route.reason if routes else "",
        emotion=_strongest_emotion(routes),
        source=routes[0].emotion.source if routes else "",
        voiced=run.voicing is None or any(event.route.engine in run.voicing for event in routes),
        first_sound_ms=_elapsed_ms(record.started_s, sound_s),
        first_word_ms=_elapsed_ms(record.started_s, word_s),
        covered_ms=1000 * sum(part.duration_s for part in heard if _covers_wait(part, word_s)),
        text_wait_ms=_text_wait_ms(record, speech),
        server_ttfa_ms=speech.report.ttfa_ms if speech.report else None,
        filler_ms=_elapsed_ms(record.started_s, first_heard_s(heard, "filler")),
        stop_ms=_elapsed_ms(record.barge_in_s, record.stopped_s),
        late_ms=record.late_ms,
        heard_text=record.cut.heard_text if record.cut else record.turn.text if outcome == "completed" else "",
        heard_ms=1000 * sum(part.duration_s for part in heard),
        underrun_ms=1000 * sum(gap.duration_s for gap in run.listener.underruns(record.utterance_id)),
        fillers=filler_texts(heard),
        note=done.error.message if done and done.error else "",
    )


def _text_wait_ms(record: TurnRecord, speech: Speech) -> float | None:
    """The pause before the first text is part of it."""
    text_ms = wait_of(speech).text_ms
    return None if text_ms is None else 1000 * (speech.sent[0].sent_s - record.started_s) + text_ms


def first_heard_s(heard: Sequence[HeardChunk], kind: str = "") -> float | None:
    """When the first audible chunk starts to play, of one kind or of any."""
    return next((part.start_s for part in heard if kind in ("", part.chunk.kind) and is_audible(part.chunk)), None)


def filler_texts(heard: Sequence[HeardChunk]) -> tuple[str, ...]:
    """The text of each filler. A filler may consist of several chunks."""
    texts = [part.chunk.filler_text for part in heard]
    return tuple(text for text, _ in groupby(texts) if text)


def _covers_wait(part: HeardChunk, word_s: float | None) -> bool:
    return part.chunk.kind == "filler" and (word_s is None or part.start_s < word_s)


def _elapsed_ms(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else 1000 * (end_s - start_s)


def _strongest_emotion(routes: Sequence[Started | Rerouted]) -> str:
    """The strongest emotion of the turn: it may start neutral."""
    emotions = [event.emotion for event in routes]
    if not emotions:
        return ""
    strongest = max(emotions, key=lambda emotion: max(emotion.weights))
    name = emotion_name(strongest.weights)
    return name if name == "neutral" else f"{name} {strongest.intensity:.2f}"


def _outcome(speech: Speech, record: TurnRecord) -> str:
    """How the turn ended. An utterance that was sent to its end can still be interrupted while it plays."""
    if record.cut is not None:
        return "interrupted"
    return speech.done.reason if speech.done else "unfinished"
