"""What the listener noticed of each turn of a conversation, and of all of it. Knows measures, not how they are told."""

from collections.abc import Sequence
from dataclasses import dataclass

from intone.client.events import Done, Interrupted, Rerouted, Started
from intone.client.latency import audible
from intone.client.tools.chat import Chat, Performed
from intone.client.tools.emotions import emotion_name
from intone.client.tools.listener import Heard


@dataclass(frozen=True, slots=True)
class TurnMeasures:
    """One turn at the listener's ear; None where there was nothing to measure.

    Attributes:
        outcome: "completed", "interrupted", "rejected", "failed", "skipped", or "unfinished" where the call was lost.
        engines: who spoke, in order.
        reason: why the first of them; a code.
        emotion: its name and strength; "neutral" where nothing says anything.
        source: where the emotion comes from; a code.
        first_sound_ms: first piece of text sent → the first audible sound is heard, a filler included.
        first_word_ms: the same, to the first audible speech.
        covered_ms: of `first_word_ms`, how long a filler was heard.
        server_ttfa_ms: the server's own figure, which starts when the first unit of text is complete.
        stop_ms: barge-in → the server's word that nothing more will come. The listener hears nothing more at once.
        late_ms: audio that came after the barge-in and was thrown away.
        heard_text: from the server where the turn was interrupted.
        heard_ms: audio heard, fillers and pauses included.
        holes_ms: silence for want of audio after the first speech.
        fillers: what they said.
        note: why it was left out or went wrong, in words.
    """

    number: int
    text: str
    outcome: str
    engines: tuple[str, ...] = ()
    reason: str = ""
    emotion: str = ""
    source: str = ""
    first_sound_ms: float | None = None
    first_word_ms: float | None = None
    covered_ms: float = 0.0
    server_ttfa_ms: float | None = None
    stop_ms: float | None = None
    late_ms: float = 0.0
    heard_text: str = ""
    heard_ms: float = 0.0
    holes_ms: float = 0.0
    fillers: tuple[str, ...] = ()
    note: str = ""


def measure_turn(chat: Chat, performed: Performed) -> TurnMeasures:
    """Measure one turn."""
    if performed.skipped:
        return TurnMeasures(performed.number, performed.turn.text, "skipped", note=performed.skipped)
    speech, heard = chat.speech(performed), chat.listener.heard(performed.utterance_id)
    routes = [event for event in speech.events if isinstance(event, Started | Rerouted)]
    sent_s = speech.sent[0].at_s if speech.sent else None
    sound_s, word_s = first_heard_s(heard), first_heard_s(heard, "speech")
    outcome, text = _outcome(chat, performed)
    return TurnMeasures(
        performed.number,
        performed.turn.text,
        outcome,
        tuple(dict.fromkeys(route.engine for route in routes)),
        routes[0].route_reason if routes else "",
        _emotion(routes),
        routes[0].emotion_source if routes else "",
        _since_ms(sent_s, sound_s),
        _since_ms(sent_s, word_s),
        1000 * sum(piece.end_s - piece.start_s for piece in heard if _covers(piece, word_s)),
        speech.report.ttfa_ms if speech.report else None,
        _since_ms(performed.barge_in_s, performed.stopped_s),
        performed.late_ms,
        text,
        1000 * sum(piece.end_s - piece.start_s for piece in heard),
        1000 * sum(hole.end_s - hole.start_s for hole in chat.listener.holes(performed.utterance_id)),
        fillers_said(heard),
        str(speech.ended.error.message) if isinstance(speech.ended, Done) and speech.ended.error else "",
    )


def first_heard_s(heard: Sequence[Heard], kind: str = "") -> float | None:
    """When the first audible chunk begins to be heard, of one kind or of any."""
    return next((piece.start_s for piece in heard if kind in ("", piece.chunk.kind) and audible(piece.chunk)), None)


def fillers_said(heard: Sequence[Heard]) -> tuple[str, ...]:
    """What the fillers said, each once although it comes in chunks."""
    said, before = [], None
    for piece in heard:
        now = (piece.chunk.kind, piece.chunk.filler)
        if piece.chunk.kind == "filler" and now != before:
            said.append(piece.chunk.filler)
        before = now
    return tuple(said)


def _covers(piece: Heard, word_s: float | None) -> bool:
    return piece.chunk.kind == "filler" and (word_s is None or piece.start_s < word_s)


def _since_ms(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else 1000 * (end_s - start_s)


def _emotion(routes: Sequence[Started | Rerouted]) -> str:
    """The strongest that was voiced: a turn may begin plain."""
    strongest = max(routes, key=lambda route: max(route.emotion, default=0.0), default=None)
    if strongest is None:
        return ""
    name = emotion_name(strongest.emotion)
    return name if name == "neutral" else f"{name} {strongest.emotion_intensity:.2f}"


def _outcome(chat: Chat, performed: Performed) -> tuple[str, str]:
    """How it ended, and the text that was heard."""
    events = chat.speech(performed).events
    # First, because an utterance that was sent to its end can still be interrupted while it is played.
    for event in events:
        if isinstance(event, Interrupted):
            return "interrupted", event.heard_text
    reason = next((event.reason for event in events if isinstance(event, Done)), "unfinished")
    return reason, performed.turn.text if reason == "completed" else ""
