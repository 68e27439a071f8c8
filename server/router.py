"""Which engine speaks an utterance, and why. Pure: it knows what engines are, not how they work."""

from collections.abc import Sequence
from dataclasses import dataclass

from intone.server.domain import Emotion, EngineInfo, Preference
from intone.server.errors import EngineError
from intone.server.events import RouteReason, WarningCode


@dataclass(frozen=True, slots=True)
class Candidate:
    """A loaded engine as the router sees it."""

    info: EngineInfo
    failing: bool = False


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
    """

    default_engine: str = "auto"
    emotion_threshold: float = 0.5

    def plain(self, loaded: Sequence[Candidate]) -> str:
        """Name of the engine for plain talk, loaded or not."""
        if self.default_engine != "auto":
            return self.default_engine
        trained = [name for name in ("voxcpm", "starter") if _find(loaded, name) and _info(loaded, name).trained]
        return trained[0] if trained else loaded[0].info.name if loaded else "voxcpm"

    def route(self, loaded: Sequence[Candidate], emotion: Emotion, preference: Preference, language: str) -> Route:
        """Choose.

        Args:
            loaded: engines at hand.
            emotion: how the utterance should sound.
            preference: what the client asked for.
            language: BCP 47 code of its text, "en" or "zh".

        Raises:
            EngineError: no engine is loaded.
        """
        if not loaded:
            raise EngineError("router", "no engine is loaded")
        wanted, reason, explanation = self._wanted(loaded, emotion, preference)
        chosen, reason, explanation = self._available(loaded, wanted, reason, explanation)
        chosen, reason, explanation = self._speaking(loaded, chosen, reason, explanation, language)
        warnings = list(_shortcomings(_info(loaded, chosen), emotion))
        if chosen != wanted:
            warnings.insert(0, (WarningCode.ENGINE_SUBSTITUTED, explanation))
        return Route(chosen, reason, explanation, tuple(warnings))

    def _wanted(
        self, loaded: Sequence[Candidate], emotion: Emotion, preference: Preference
    ) -> tuple[str, RouteReason, str]:
        if preference is not Preference.AUTO:
            return preference.value, RouteReason.PREFERENCE, f"the client asked for {preference.value}"
        if emotion.intensity >= self.emotion_threshold and not emotion.calm:
            strength = f"intensity {emotion.intensity:.2f}, threshold {self.emotion_threshold:.2f}"
            # Without an engine for it, strong emotion is no reason to leave the plain one, only to say so.
            return "indextts", RouteReason.STRONG_EMOTION, f"the emotion is strong ({strength})"
        return self.plain(loaded), RouteReason.PLAIN, "plain talk"

    def _available(
        self, loaded: Sequence[Candidate], wanted: str, reason: RouteReason, explanation: str
    ) -> tuple[str, RouteReason, str]:
        found = _find(loaded, wanted)
        if found and not found.failing:
            return wanted, reason, explanation
        # A failing engine is still better than none: it is tried again.
        sound = [candidate for candidate in loaded if not candidate.failing] or list(loaded)
        plain = self.plain(sound)
        substitute = plain if _find(sound, plain) else sound[0].info.name
        if substitute == wanted:
            return wanted, reason, explanation
        missing = RouteReason.FAILING if found else RouteReason.NOT_LOADED
        state = "is failing" if found else "is not loaded"
        return substitute, missing, f"{explanation}, but {wanted} {state}: {substitute} speaks"

    def _speaking(
        self, loaded: Sequence[Candidate], chosen: str, reason: RouteReason, explanation: str, language: str
    ) -> tuple[str, RouteReason, str]:
        if language in _info(loaded, chosen).languages or reason is RouteReason.PREFERENCE:
            return chosen, reason, explanation
        for candidate in loaded:
            info = candidate.info
            if language in info.languages and info.trained and not candidate.failing:
                return info.name, RouteReason.LANGUAGE, f"{chosen} does not speak {language!r}: {info.name} does"
        return chosen, reason, explanation


def _shortcomings(info: EngineInfo, emotion: Emotion) -> list[tuple[WarningCode, str]]:
    found = []
    if not info.trained:
        words = f"{info.name} ({info.model}) was never trained: expect noise, not words"
        found.append((WarningCode.UNTRAINED_WEIGHTS, words))
    if emotion.description:
        words = "this server cannot read an emotion from a description yet: say it as a label or a vector"
        found.append((WarningCode.EMOTION_NOT_VOICED, words))
    elif not emotion.calm and not info.voices_emotion:
        words = f"{info.name} cannot voice emotion: the utterance is spoken plainly"
        found.append((WarningCode.EMOTION_NOT_VOICED, words))
    return found


def _find(loaded: Sequence[Candidate], name: str) -> Candidate | None:
    return next((candidate for candidate in loaded if candidate.info.name == name), None)


def _info(loaded: Sequence[Candidate], name: str) -> EngineInfo:
    found = _find(loaded, name)
    assert found is not None
    return found.info
