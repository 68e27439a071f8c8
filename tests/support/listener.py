"""What a listener hears of a stream: its chunks played in order and in real time, from their arrival on."""

from collections.abc import Iterable
from dataclasses import dataclass

from intone.server.events import AudioChunk, AudioKind, Interrupted, ServerEvent


@dataclass(frozen=True)
class Heard:
    """When a chunk is played, in seconds of the clock that gave the events their times."""

    start_s: float
    end_s: float
    chunk: AudioChunk
    arrived_s: float

    @property
    def sounds(self) -> bool:
        """Whether it is not a pause."""
        return self.chunk.kind is not AudioKind.SILENCE


def heard(events: Iterable[tuple[float, ServerEvent]], delay_s: float = 0.0) -> list[Heard]:
    """The playback of a stream's events. A chunk starts when it arrives or when the one before it ends. An interruption
    drops the unplayed chunks of the utterances that it cuts; the chunks behind move up. `delay_s`: from the arrival of
    a chunk to its sound."""
    played: list[Heard] = []
    for at_s, event in events:
        if isinstance(event, Interrupted):
            cut = {one.utterance_id for one in event.cuts}
            left = [part for one in played if (part := _left(one, cut, at_s)) is not None]
            played = [one for one in left if one.start_s <= at_s]
            for one in left[len(played) :]:
                _play(played, max(at_s, one.arrived_s + delay_s), one.chunk, one.arrived_s)
        elif isinstance(event, AudioChunk):
            _play(played, at_s + delay_s, event, at_s)
    return played


def heard_samples(played: list[Heard], utterance_id: str, until_s: float) -> float:
    """Samples of an utterance that were played by a moment."""
    return sum(
        one.chunk.sample_count * min(1.0, (until_s - one.start_s) / (one.chunk.duration_ms / 1000))
        for one in played
        if one.chunk.utterance_id == utterance_id and one.start_s < until_s
    )


def _play(played: list[Heard], at_s: float, chunk: AudioChunk, arrived_s: float) -> None:
    start_s = max(at_s, played[-1].end_s if played else 0.0)
    played.append(Heard(start_s, start_s + chunk.duration_ms / 1000, chunk, arrived_s))


def _left(one: Heard, cut: set[str], at_s: float) -> Heard | None:
    if one.chunk.utterance_id not in cut or one.end_s <= at_s:
        return one
    return Heard(one.start_s, at_s, one.chunk, one.arrived_s) if one.start_s < at_s else None


def silence_s(played: list[Heard], since_s: float, until_s: float) -> float:
    """The longest silence in a time span."""
    longest, silent_from_s = 0.0, since_s
    for one in played:
        if one.sounds and one.end_s > since_s and one.start_s < until_s:
            longest = max(longest, one.start_s - silent_from_s)
            silent_from_s = max(silent_from_s, one.end_s)
    return max(longest, until_s - silent_from_s)
