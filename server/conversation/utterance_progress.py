"""How far one utterance has come: its state, and which audio of it belongs to which text."""

from dataclasses import dataclass
from enum import Enum

from intone.server.conversation.spoken_unit import SpokenUnit

LATIN_MS_PER_CHARACTER = 65.0
CJK_MS_PER_CHARACTER = 220.0
"""Typical speaking rates. Used only to place an interruption inside a unit whose audio is incomplete."""


class UtteranceState(Enum):
    """Life cycle of an utterance.

    ```
                the runner takes it          Done leaves the server        its last audio is played
        QUEUED ─────────────────────▶ SPEAKING ─────────────────▶ SENT ──────────────────────────▶ HEARD
           │ rejected,                   │ failed,                  │ interrupted
           │ interrupted                 │ interrupted              │
           └─────────────────────────────┴──────────────────────────┴────────────────────────────▶ STOPPED
    ```

    The client knows QUEUED and SPEAKING as open and the other states as ended. Only one utterance of a stream is
    synthesized at a time, but several may be SPEAKING: the earlier ones wait in the outbox to be sent.
    """

    QUEUED = "queued"
    SPEAKING = "speaking"
    SENT = "sent"
    HEARD = "heard"
    STOPPED = "stopped"

    @property
    def is_open(self) -> bool:
        """Whether audio or `Done` is still to come."""
        return self in (UtteranceState.QUEUED, UtteranceState.SPEAKING)


TRANSITIONS = {
    UtteranceState.QUEUED: {UtteranceState.SPEAKING, UtteranceState.STOPPED},
    UtteranceState.SPEAKING: {UtteranceState.SENT, UtteranceState.STOPPED},
    UtteranceState.SENT: {UtteranceState.HEARD, UtteranceState.STOPPED},
    UtteranceState.HEARD: set(),
    UtteranceState.STOPPED: set(),
}
"""The states that may follow each state."""


@dataclass(slots=True)
class _UnitAudio:
    """Position of one unit's audio in the utterance's audio, in samples."""

    spoken: SpokenUnit
    start: int
    end: int
    complete: bool = False


class UtteranceProgress:
    """State and audio positions of one utterance, on which decisions are based. `LatencyRecorder` is for reports only.

    Each millisecond of audio is counted in three places in turn: here when it is produced (in samples at the stream's
    rate), in `Outbox` while it is queued, and in `Playback` from when it is sent.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._state = UtteranceState.QUEUED
        self._audio_samples = 0
        self._units: list[_UnitAudio] = []
        self.ready_s: float | None = None
        """When the text arrived that completed the first speakable unit; None before that."""

    @property
    def state(self) -> UtteranceState:
        """Current state."""
        return self._state

    def advance(self, state: UtteranceState) -> None:
        """Go to the next state.

        Raises:
            RuntimeError: `TRANSITIONS` has no transition to it from the current state.
        """
        if state not in TRANSITIONS[self._state]:
            raise RuntimeError(f"an utterance cannot go from {self._state.name} to {state.name}")
        self._state = state

    # ---- audio

    @property
    def audio_samples(self) -> int:
        """Audio produced so far: speech, fillers and pauses."""
        return self._audio_samples

    @property
    def unit_count(self) -> int:
        """Units whose audio has started, or that were completed without audio."""
        return len(self._units)

    def start_unit(self, spoken: SpokenUnit) -> None:
        """The next speech belongs to this unit."""
        self._units.append(_UnitAudio(spoken, self._audio_samples, self._audio_samples))

    def add_speech(self, samples: int) -> None:
        """Speech of the current unit was produced."""
        self._audio_samples += samples
        self._units[-1].end = self._audio_samples

    def add_other(self, samples: int) -> None:
        """A filler or a pause was produced; it belongs to no unit."""
        self._audio_samples += samples

    def complete_unit(self, spoken: SpokenUnit) -> None:
        """All audio of the unit was produced, possibly none."""
        if not self._units or self._units[-1].spoken is not spoken:
            self.start_unit(spoken)
        self._units[-1].complete = True

    def unit_has_audio(self, spoken: SpokenUnit) -> bool:
        """Whether any speech of the unit was produced."""
        return any(audio.end > audio.start for audio in self._units if audio.spoken is spoken)

    @property
    def spoken_characters(self) -> int:
        """Characters of the units that have audio."""
        return sum(len(audio.spoken.unit.text) for audio in self._units if audio.end > audio.start)

    def heard_characters(self, text: str, heard_samples: float) -> int:
        """How many characters of the utterance's text lie before a sample of its audio, cut at a word boundary."""
        position = 0
        for audio in self._units:
            if heard_samples > audio.start:
                position = self._position_at(audio, heard_samples)
        return _word_start(text, position)

    def _position_at(self, audio: _UnitAudio, heard_samples: float) -> int:
        """Position in the utterance's text at a sample of the unit, whose words are spoken at a constant rate."""
        spoken, produced_ms = audio.spoken, self._ms(audio.end - audio.start)
        total_ms = produced_ms if audio.complete else max(produced_ms, typical_duration_ms(spoken.text))
        if total_ms <= 0:
            return spoken.unit.start
        return spoken.position_at(min(1.0, self._ms(heard_samples - audio.start) / total_ms))

    def _ms(self, samples: float) -> float:
        return 1000 * samples / self._rate_hz


def typical_duration_ms(text: str) -> float:
    """Typical duration of a text when spoken."""
    return sum(LATIN_MS_PER_CHARACTER if ord(character) < 0x2E80 else CJK_MS_PER_CHARACTER for character in text)


def _word_start(text: str, position: int) -> int:
    """The last position up to `position` that is not inside a word."""
    while 0 < position < len(text) and _inside_word(text[position - 1], text[position]):
        position -= 1
    return position


def _inside_word(before: str, after: str) -> bool:
    return (
        all(character.isalnum() or character in "'’" for character in before + after) and max(before, after) < "\u2e80"
    )
