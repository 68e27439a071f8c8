"""Fillers: made from raw audio, kept with a voice, and chosen for a wait."""

import dataclasses
import math
from collections import deque
from collections.abc import Iterable

import numpy as np

from intone.server.audio.encoding import MIN_AUDIBLE_PEAK, fade
from intone.server.audio.levels import frame_length, frame_levels
from intone.server.domain import Filler, Samples, Voice

MAX_RECENT_FILLERS = 2
"""Number of the last fillers of a stream that are not repeated."""

MIN_FILLER_MS = 60
"""Shorter sounds are clicks, not interjections."""

RELATED_EMOTIONS = {
    "happy": ("surprised",),
    "angry": ("disgusted",),
    "disgusted": ("angry",),
    "afraid": ("surprised",),
    "sad": ("melancholic",),
    "melancholic": ("sad",),
}
"""Emotions whose fillers may replace those of an emotion; preferred to neutral ones."""

_FRAME_MS = 5
_SOUND_DB = -35.0  # relative to the loudest frame: threshold for the beginning and end of the sound
_BEFORE_MS, _AFTER_MS = 10, 30  # kept around the sound
_FADE_IN_MS, _FADE_OUT_MS = 5, 20
_GAP_DB = -26.0  # relative to the loudest frame: a gap between two sounds is below this ...
_MIN_GAP_MS = 40  # ... for at least this long: a pause, or the closure of a consonant, where a cut makes no click


def make_filler(
    text: str,
    emotion: str,
    language: str,
    samples: Samples,
    rate_hz: int,
    engine: str = "",
    fingerprint: str = "",
) -> Filler | None:
    """A filler made from raw audio, trimmed; None if it holds less than `MIN_FILLER_MS` of sound.

    Args:
        text: what it says.
        emotion: "neutral" or one of `EMOTIONS`.
        language: BCP 47 code.
        samples: `[T]` at `rate_hz`.
        rate_hz: sample rate.
        engine: the engine that rendered it; empty for a clip of the user.
        fingerprint: of that engine's weights; empty for a clip.
    """
    sound = trimmed(samples, rate_hz)
    if len(sound) * 1000 < MIN_FILLER_MS * rate_hz:
        return None
    return Filler(text, emotion, language, sound, rate_hz, cut_points(sound, rate_hz), engine, fingerprint)


def trimmed(samples: Samples, rate_hz: int) -> Samples:
    """The sound in `samples` with a few milliseconds around it, faded at both ends; empty where there is no sound."""
    levels = frame_levels(samples, rate_hz, _FRAME_MS)
    threshold = max(MIN_AUDIBLE_PEAK / 2, float(levels.max(initial=0.0)) * 10 ** (_SOUND_DB / 20))
    sounding = np.flatnonzero(levels > threshold)
    if len(sounding) == 0:
        return samples[:0]
    frame = frame_length(rate_hz, _FRAME_MS)
    first = max(0, int(sounding[0]) * frame - _BEFORE_MS * rate_hz // 1000)
    last = (int(sounding[-1]) + 1) * frame + _AFTER_MS * rate_hz // 1000
    return fade(samples[first:last], _FADE_IN_MS * rate_hz // 1000, _FADE_OUT_MS * rate_hz // 1000)


def cut_points(samples: Samples, rate_hz: int) -> tuple[int, ...]:
    """Positions in milliseconds where trimmed audio may be stopped, ascending.

    The middle of every gap between two sounds, and last the end of the audio, rounded up.
    """
    levels = frame_levels(samples, rate_hz, _FRAME_MS)
    in_gap = levels < float(levels.max(initial=0.0)) * 10 ** (_GAP_DB / 20)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], in_gap, [False]]).astype(np.int8)))  # start, end, start, …
    frame_ms = 1000 * frame_length(rate_hz, _FRAME_MS) / rate_hz
    positions = [
        round((start + end) / 2 * frame_ms)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        if start > 0 and end < len(levels) and (end - start) * frame_ms >= _MIN_GAP_MS
    ]
    return (*positions, math.ceil(1000 * len(samples) / rate_hz))


def same_language(one: str, other: str) -> bool:
    """Whether two BCP 47 codes name the same language, in any region: "en" and "en-GB" do."""
    return one.split("-")[0].lower() == other.split("-")[0].lower()


def user_clips(fillers: Iterable[Filler], emotion: str, language: str) -> list[Filler]:
    """The clips that the user provided for an emotion and a language."""
    return [
        filler
        for filler in fillers
        if not filler.engine and filler.emotion == emotion and same_language(filler.language, language)
    ]


def with_rendered(voice: Voice, rendered: Iterable[Filler]) -> Voice:
    """The voice with new rendered fillers, which replace earlier ones of the same text.

    Fillers for an emotion and language that have clips of the user are ignored.
    """
    added = [one for one in rendered if not user_clips(voice.fillers, one.emotion, one.language)]
    replaced = {(one.text, one.emotion, one.language) for one in added}
    kept = [one for one in voice.fillers if not one.engine or (one.text, one.emotion, one.language) not in replaced]
    return dataclasses.replace(voice, fillers=(*kept, *added))


def with_clips(voice: Voice, clips: Iterable[Filler]) -> Voice:
    """The voice with clips of the user.

    They replace rendered fillers of the same emotion and language, and earlier clips of the same text.
    """
    clips = list(clips)
    texts = {(clip.text, clip.emotion, clip.language) for clip in clips}
    kept = [
        one
        for one in voice.fillers
        if (one.text, one.emotion, one.language) not in texts
        and not (one.engine and user_clips(clips, one.emotion, one.language))
    ]
    return dataclasses.replace(voice, fillers=(*kept, *clips))


def without_clips(voice: Voice, emotion: str, language: str, text: str) -> Voice:
    """The voice without those clips of the user that have this emotion, language and text; empty stands for any.

    A language covers its regions: "de" removes clips in "de-AT" too, "de-AT" only those (RFC 4647, basic filtering).
    """
    kept = [
        one
        for one in voice.fillers
        if one.engine
        or (emotion and one.emotion != emotion)
        or (text and one.text != text)
        or (language and not f"{one.language}-".lower().startswith(f"{language}-".lower()))
    ]
    return voice if len(kept) == len(voice.fillers) else dataclasses.replace(voice, fillers=tuple(kept))


class FillerChooser:
    """Chooses the fillers of one stream, and avoids repeating recent ones."""

    def __init__(self) -> None:
        self._recent: deque[str] = deque(maxlen=MAX_RECENT_FILLERS)

    def choose(self, fillers: Iterable[Filler], emotion: str, language: str, wait_ms: float) -> Filler | None:
        """A filler for a wait of `wait_ms`, which then counts as recent; None if there is none in this language.

        Fillers of the emotion come first, then those of related emotions, then neutral ones. Clips of the user take
        precedence over rendered fillers of the same emotion. Recent fillers are used only if there are no others. Among
        the candidates it is the shortest that covers the wait, else the longest.
        """
        known = [filler for filler in fillers if same_language(filler.language, language)]
        emotions = dict.fromkeys((emotion, *RELATED_EMOTIONS.get(emotion, ()), "neutral"))
        pools = [pool for name in emotions if (pool := _pool(known, name, language))]
        if not pools:
            return None
        fresh = [kept for pool in pools if (kept := [filler for filler in pool if filler.text not in self._recent])]
        stale = [filler for pool in pools for filler in pool if filler.text != self._recent[-1]] if not fresh else []
        chosen = _fitting(fresh[0] if fresh else stale or pools[0], wait_ms)
        self._recent.append(chosen.text)
        return chosen


def _pool(known: list[Filler], emotion: str, language: str) -> list[Filler]:
    return user_clips(known, emotion, language) or [filler for filler in known if filler.emotion == emotion]


def _fitting(pool: list[Filler], wait_ms: float) -> Filler:
    covering = [filler for filler in pool if filler.duration_ms >= wait_ms]
    if covering:
        return min(covering, key=lambda filler: filler.duration_ms)
    return max(pool, key=lambda filler: filler.duration_ms)
