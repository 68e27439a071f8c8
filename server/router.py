"""Which engine speaks an utterance, and why. Pure: it knows what engines are, not how they work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from intone.server.domain import EngineInfo, Preference
from intone.server.errors import EngineError
from intone.server.events import EmotionSource, Feeling, RouteReason, WarningCode


@dataclass(frozen=True, slots=True)
class Candidate:
    """A loaded engine as the router sees it.

    Attributes:
        failing: it failed lately; it is tried only if nobody else is left.
        load: units that it speaks or has queued.
        expected_ms: to its first sound with those, if known.
        ruled_out: it could not speak this very unit, and is not to be chosen again.
    """

    info: EngineInfo
    failing: bool = False
    load: int = 0
    expected_ms: float | None = None
    ruled_out: bool = False

    @property
    def sound(self) -> bool:
        """Whether nothing speaks against it."""
        return not (self.failing or self.ruled_out)


@dataclass(frozen=True, slots=True)
class Route:
    """The engine that speaks, why, and what the client should be warned of: (code, words) pairs."""

    engine: str
    reason: RouteReason
    explanation: str
    warnings: tuple[tuple[WarningCode, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Router:
    """The routing policy.

    Attributes:
        default_engine: who speaks plain talk: an engine's name, or "auto" for a trained VoxCPM, else the starter voice.
        emotion_threshold: intensity from which an emotion is strong and goes to IndexTTS.
        emotion_engines: who speaks an emotion, by its name or "neutral", strong or not.
        busy_ms: an engine with other things to speak, whose first sound is expected later than this, is passed over
            for one that takes less than half of it; 0 never does that.
    """

    default_engine: str = "auto"
    emotion_threshold: float = 0.5
    emotion_engines: Mapping[str, str] = field(default_factory=dict)
    busy_ms: float = 0.0

    def plain(self, loaded: Sequence[Candidate]) -> str:
        """Name of the engine for plain talk, loaded or not."""
        if self.default_engine != "auto":
            return self.default_engine
        trained = [name for name in ("voxcpm", "starter") if _find(loaded, name) and _info(loaded, name).trained]
        return trained[0] if trained else loaded[0].info.name if loaded else "voxcpm"

    def route(self, loaded: Sequence[Candidate], feeling: Feeling, preference: Preference, language: str) -> Route:
        """Choose.

        Args:
            loaded: engines at hand.
            feeling: how the unit should sound, and who says so.
            preference: what the client asked for.
            language: BCP 47 code of its text, "en" or "zh".

        Raises:
            EngineError: no engine is loaded, or none is left.
        """
        if all(candidate.ruled_out for candidate in loaded):
            raise EngineError("router", "no engine is left to speak" if loaded else "no engine is loaded")
        wanted, reason, explanation = self._wanted(loaded, feeling, preference)
        chosen, reason, explanation = self._available(loaded, wanted, reason, explanation)
        chosen, reason, explanation = self._prompt(loaded, chosen, reason, explanation)
        chosen, reason, explanation = self._speaking(loaded, chosen, reason, explanation, language)
        warnings = list(_shortcomings(_info(loaded, chosen), feeling))
        if chosen != wanted:
            warnings.insert(0, (WarningCode.ENGINE_SUBSTITUTED, explanation))
        return Route(chosen, reason, explanation, tuple(warnings))

    def _wanted(
        self, loaded: Sequence[Candidate], feeling: Feeling, preference: Preference
    ) -> tuple[str, RouteReason, str]:
        emotion = feeling.emotion
        if preference is not Preference.AUTO:
            return preference.value, RouteReason.PREFERENCE, f"the client asked for {preference.value}"
        if named := self.emotion_engines.get(emotion.label):
            return named, RouteReason.POLICY, f"this server's policy gives {emotion.label} to {named}"
        if emotion.intensity < self.emotion_threshold or emotion.calm:
            return self.plain(loaded), RouteReason.PLAIN, "plain talk"
        strength = f"intensity {emotion.intensity:.2f}, threshold {self.emotion_threshold:.2f}"
        if feeling.source is EmotionSource.TEXT and not any(one.info.voices_emotion for one in loaded):
            # Nobody asked for it: a server without an engine for emotion need not say so in every reply.
            words = f"the text sounds {emotion.label} ({strength}), but no loaded engine voices emotion"
            return self.plain(loaded), RouteReason.PLAIN, words
        return "indextts", RouteReason.STRONG_EMOTION, f"the emotion is strong ({strength})"

    def _available(
        self, loaded: Sequence[Candidate], wanted: str, reason: RouteReason, explanation: str
    ) -> tuple[str, RouteReason, str]:
        found = _find(loaded, wanted)
        if found and found.sound:
            return wanted, reason, explanation
        # A failing engine is still better than none: it is tried again.
        left = [candidate for candidate in loaded if not candidate.ruled_out]
        sound = [candidate for candidate in left if candidate.sound] or left
        plain = self.plain(sound)
        substitute = plain if _find(sound, plain) else sound[0].info.name
        if substitute == wanted:
            return wanted, reason, explanation
        missing = RouteReason.FAILING if found else RouteReason.NOT_LOADED
        state = "is failing" if found else "is not loaded"
        return substitute, missing, f"{explanation}, but {wanted} {state}: {substitute} speaks"

    def _prompt(
        self, loaded: Sequence[Candidate], chosen: str, reason: RouteReason, explanation: str
    ) -> tuple[str, RouteReason, str]:
        """Somebody else where the one that was chosen would keep the listener waiting."""
        found = _find(loaded, chosen)
        assert found is not None
        expected_ms = found.expected_ms if found.load else None
        if reason is RouteReason.PREFERENCE or not self.busy_ms or expected_ms is None or expected_ms <= self.busy_ms:
            return chosen, reason, explanation
        others = [one for one in loaded if one.sound and one.expected_ms is not None]
        quickest = min(others, key=lambda one: one.expected_ms or 0.0, default=None)
        if quickest is None or (quickest.expected_ms or 0.0) > expected_ms / 2:
            return chosen, reason, explanation
        name = quickest.info.name
        words = f"{explanation}, but {chosen} is busy (first sound in {expected_ms:.0f} ms): {name} speaks"
        return name, RouteReason.BUSY, words

    def _speaking(
        self, loaded: Sequence[Candidate], chosen: str, reason: RouteReason, explanation: str, language: str
    ) -> tuple[str, RouteReason, str]:
        if language in _info(loaded, chosen).languages or reason is RouteReason.PREFERENCE:
            return chosen, reason, explanation
        for candidate in loaded:
            info = candidate.info
            if language in info.languages and info.trained and candidate.sound:
                return info.name, RouteReason.LANGUAGE, f"{chosen} does not speak {language!r}: {info.name} does"
        return chosen, reason, explanation


def _shortcomings(info: EngineInfo, feeling: Feeling) -> list[tuple[WarningCode, str]]:
    found, emotion = [], feeling.emotion
    if not info.trained:
        words = f"{info.name} ({info.model}) was never trained: expect noise, not words"
        found.append((WarningCode.UNTRAINED_WEIGHTS, words))
    if not emotion.calm and not info.voices_emotion and feeling.source is not EmotionSource.TEXT:
        words = f"{info.name} cannot voice emotion: the utterance is spoken plainly"
        found.append((WarningCode.EMOTION_NOT_VOICED, words))
    return found


def _find(loaded: Sequence[Candidate], name: str) -> Candidate | None:
    return next((candidate for candidate in loaded if candidate.info.name == name), None)


def _info(loaded: Sequence[Candidate], name: str) -> EngineInfo:
    found = _find(loaded, name)
    assert found is not None
    return found.info
