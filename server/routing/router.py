"""Which engine speaks an utterance, and why. Pure: it knows what engines are, not how they work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from intone.server.domain import EngineInfo, Preference
from intone.server.errors import EngineError
from intone.server.events import EmotionSource, ResolvedEmotion, RouteReason, WarningCode


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
    def healthy(self) -> bool:
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

    def plain_engine(self, loaded: Sequence[EngineInfo]) -> str:
        """Name of the engine for plain talk among those that are loaded, at least one."""
        wanted = self._plain(loaded)
        return wanted if any(info.name == wanted for info in loaded) else loaded[0].name

    def _plain(self, loaded: Sequence[EngineInfo]) -> str:
        """Name of the engine that plain talk should have, loaded or not."""
        if self.default_engine != "auto":
            return self.default_engine
        trained = {info.name for info in loaded if info.trained}
        return next((name for name in ("voxcpm", "starter") if name in trained), loaded[0].name)

    def route(
        self, loaded: Sequence[Candidate], feeling: ResolvedEmotion, preference: Preference, language: str
    ) -> Route:
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
        wanted = self._wanted(loaded, feeling, preference)
        route = self._available(loaded, wanted)
        if route.reason is not RouteReason.PREFERENCE:  # who asked for an engine waits for it, whatever it reads
            route = _in_language(loaded, self._in_time(loaded, route), language)
        warnings = list(_shortcomings(_info(loaded, route.engine), feeling))
        if route.engine != wanted.engine:
            warnings.insert(0, (WarningCode.ENGINE_SUBSTITUTED, route.explanation))
        return replace(route, warnings=tuple(warnings))

    def _wanted(self, loaded: Sequence[Candidate], feeling: ResolvedEmotion, preference: Preference) -> Route:
        """Who should speak, loaded or not."""
        emotion, plain = feeling.emotion, self._plain([one.info for one in loaded])
        if preference is not Preference.AUTO:
            return Route(preference.value, RouteReason.PREFERENCE, f"the client asked for {preference.value}")
        if named := self.emotion_engines.get(emotion.label):
            return Route(named, RouteReason.POLICY, f"this server's policy gives {emotion.label} to {named}")
        if emotion.intensity < self.emotion_threshold or emotion.calm:
            return Route(plain, RouteReason.PLAIN, "plain talk")
        strength = f"intensity {emotion.intensity:.2f}, threshold {self.emotion_threshold:.2f}"
        if feeling.source is EmotionSource.TEXT and not any(one.info.voices_emotion for one in loaded):
            # Nobody asked for it: a server without an engine for emotion need not say so in every reply.
            words = f"the text sounds {emotion.label} ({strength}), but no loaded engine voices emotion"
            return Route(plain, RouteReason.PLAIN, words)
        return Route("indextts", RouteReason.STRONG_EMOTION, f"the emotion is strong ({strength})")

    def _available(self, loaded: Sequence[Candidate], wanted: Route) -> Route:
        """That engine, or the one that stands in for it."""
        found = _find(loaded, wanted.engine)
        if found and found.healthy:
            return wanted
        # A failing engine is still better than none: it is tried again.
        left = [candidate for candidate in loaded if not candidate.ruled_out]
        substitute = self.plain_engine([one.info for one in left if one.healthy] or [one.info for one in left])
        if substitute == wanted.engine:
            return wanted
        reason = RouteReason.FAILING if found else RouteReason.NOT_LOADED
        state = "is failing" if found else "is not loaded"
        return Route(substitute, reason, f"{wanted.explanation}, but {wanted.engine} {state}: {substitute} speaks")

    def _in_time(self, loaded: Sequence[Candidate], route: Route) -> Route:
        """Somebody else where the one that was chosen would keep the listener waiting."""
        found = _find(loaded, route.engine)
        assert found is not None
        expected_ms = found.expected_ms if found.load else None
        if not self.busy_ms or expected_ms is None or expected_ms <= self.busy_ms:
            return route
        others = [(one.expected_ms, one.info.name) for one in loaded if one.healthy and one.expected_ms is not None]
        quickest_ms, quickest = min(others, default=(expected_ms, route.engine))
        if quickest_ms > expected_ms / 2:
            return route
        busy = f"{route.engine} is busy (first sound in {expected_ms:.0f} ms)"
        return Route(quickest, RouteReason.BUSY, f"{route.explanation}, but {busy}: {quickest} speaks")


def _in_language(loaded: Sequence[Candidate], route: Route, language: str) -> Route:
    """Somebody else where the one that was chosen cannot read the text."""
    if language in _info(loaded, route.engine).languages:
        return route
    for candidate in loaded:
        info = candidate.info
        if language in info.languages and info.trained and candidate.healthy:
            words = f"{route.engine} does not speak {language!r}: {info.name} does"
            return Route(info.name, RouteReason.LANGUAGE, words)
    return route


def _shortcomings(info: EngineInfo, feeling: ResolvedEmotion) -> list[tuple[WarningCode, str]]:
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
