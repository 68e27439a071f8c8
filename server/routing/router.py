"""Decides which engine speaks a unit, by what the engines can do, their state and the server's settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from intone.server.domain import EngineInfo
from intone.server.errors import EngineError
from intone.server.events import EmotionSource, NoticeCode, ResolvedEmotion, RouteReason


@dataclass(frozen=True, slots=True)
class Candidate:
    """A loaded engine and its present state.

    Attributes:
        failing: it failed lately; it is used only if no other engine is left.
        load: units that it is speaking or has queued.
        expected_ms: predicted time to its first audio at this load; None if unknown.
        ruled_out: it failed to speak this very unit and must not be chosen again.
    """

    info: EngineInfo
    failing: bool = False
    load: int = 0
    expected_ms: float | None = None
    ruled_out: bool = False

    @property
    def healthy(self) -> bool:
        """Whether it is neither failing nor ruled out."""
        return not (self.failing or self.ruled_out)


@dataclass(frozen=True, slots=True)
class Route:
    """The chosen engine, the reason as a code and as a sentence, and notices for the client: (code, message)."""

    engine: str
    reason: RouteReason
    explanation: str
    notices: tuple[tuple[NoticeCode, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Router:
    """The routing policy. Loaded engines are always given in order of preference.

    Attributes:
        default_engine: engine of plain speech: a name, or "auto" for the first trained engine that does not voice
            emotion.
        emotion_threshold: intensity from which an emotion is strong, and spoken by an engine that voices emotion.
        emotion_engines: engine by emotion label or "neutral", whatever the intensity.
        busy_ms: an engine that has units already, and whose first audio is predicted later than this, is replaced by an
            engine that is predicted to take less than half as long; 0 never does.
    """

    default_engine: str = "auto"
    emotion_threshold: float = 0.5
    emotion_engines: Mapping[str, str] = field(default_factory=dict)
    busy_ms: float = 0.0

    def plain_engine(self, loaded: Sequence[EngineInfo]) -> str:
        """Name of the engine of plain speech. `loaded` has at least one."""
        wanted = self._plain(loaded)
        return wanted if any(info.name == wanted for info in loaded) else loaded[0].name

    def _plain(self, loaded: Sequence[EngineInfo]) -> str:
        """Name of the engine that should speak plainly, loaded or not."""
        if self.default_engine != "auto":
            return self.default_engine
        # Engines that voice emotion are the slower ones.
        return next((info.name for info in loaded if info.trained and not info.voices_emotion), loaded[0].name)

    def route(
        self,
        loaded: Sequence[Candidate],
        emotion: ResolvedEmotion,
        preference: str,
        language: str,
        avoid_busy: bool = True,
    ) -> Route:
        """Choose an engine for a unit.

        Args:
            loaded: engines in order of preference.
            emotion: of the unit.
            preference: name of a loaded engine that the client asks for; empty if it asks for none.
            language: of the unit's text, the first part of its BCP 47 code, such as "en".
            avoid_busy: whether another engine may replace one that is busy.

        Raises:
            EngineError: no engine is loaded, or all are ruled out.
        """
        if all(candidate.ruled_out for candidate in loaded):
            raise EngineError("router", "no engine is left to speak" if loaded else "no engine is loaded")
        wanted = self._wanted(loaded, emotion, preference, language)
        route = self._available(loaded, wanted)
        if route.reason is not RouteReason.PREFERENCE:  # a client that asks for an engine gets it, busy or not
            route = _in_language(loaded, self._in_time(loaded, route) if avoid_busy else route, language)
        notices = list(_shortcomings(_info(loaded, route.engine), emotion))
        if route.engine != wanted.engine or wanted.reason is RouteReason.NOT_LOADED:
            notices.insert(0, (NoticeCode.ENGINE_SUBSTITUTED, route.explanation))
        return replace(route, notices=tuple(notices))

    def _wanted(self, loaded: Sequence[Candidate], resolved: ResolvedEmotion, preference: str, language: str) -> Route:
        """The engine that should speak, which may be failing or not loaded."""
        emotion, plain = resolved.emotion, self._plain([one.info for one in loaded])
        if preference:
            return Route(preference, RouteReason.PREFERENCE, f"the client asked for {preference}")
        if named := self.emotion_engines.get(emotion.label):
            return Route(named, RouteReason.POLICY, f"this server's settings give {emotion.label} to {named}")
        if emotion.intensity < self.emotion_threshold or emotion.is_plain:
            return Route(plain, RouteReason.PLAIN, "plain speech")
        strength = f"intensity {emotion.intensity:.2f}, threshold {self.emotion_threshold:.2f}"
        if able := [one for one in loaded if one.info.voices_emotion]:
            # Of equals, the first in the order of preference.
            best = min(
                able, key=lambda one: (language not in one.info.languages, not one.info.trained, not one.healthy)
            )
            return Route(best.info.name, RouteReason.STRONG_EMOTION, f"the emotion is strong ({strength})")
        if resolved.source is EmotionSource.TEXT:
            # The client did not ask for an emotion: a notice in every reply would be noise.
            message = f"the text sounds {emotion.label} ({strength}), but no loaded engine voices emotion"
            return Route(plain, RouteReason.PLAIN, message)
        message = f"the emotion is strong ({strength}), but no loaded engine voices emotion: {plain} speaks"
        return Route(plain, RouteReason.NOT_LOADED, message)

    def _available(self, loaded: Sequence[Candidate], wanted: Route) -> Route:
        """`wanted` if that engine can be used, else its substitute."""
        found = _find(loaded, wanted.engine)
        if found and found.healthy:
            return wanted
        # A failing engine is better than none: it is tried again.
        left = [candidate for candidate in loaded if not candidate.ruled_out]
        substitute = self.plain_engine([one.info for one in left if one.healthy] or [one.info for one in left])
        if substitute == wanted.engine:
            return wanted
        reason = RouteReason.FAILING if found else RouteReason.NOT_LOADED
        state = "is failing" if found else "is not loaded"
        return Route(substitute, reason, f"{wanted.explanation}, but {wanted.engine} {state}: {substitute} speaks")

    def _in_time(self, loaded: Sequence[Candidate], route: Route) -> Route:
        """`route`, or a quicker engine if the chosen one is too busy."""
        found = _find(loaded, route.engine)
        assert found is not None
        expected_ms = found.expected_ms if found.load else None
        if not self.busy_ms or expected_ms is None or expected_ms <= self.busy_ms:
            return route
        others = [(one.expected_ms, one.info.name) for one in loaded if one.healthy and one.expected_ms is not None]
        quickest_ms, quickest = min(others, default=(expected_ms, route.engine))
        if quickest_ms > expected_ms / 2:
            return route
        busy = f"{route.engine} is busy (first audio predicted in {expected_ms:.0f} ms)"
        return Route(quickest, RouteReason.BUSY, f"{route.explanation}, but {busy}: {quickest} speaks")


def _in_language(loaded: Sequence[Candidate], route: Route, language: str) -> Route:
    """`route`, or an engine that supports the language if the chosen one does not."""
    if language in _info(loaded, route.engine).languages:
        return route
    for candidate in loaded:
        info = candidate.info
        if language in info.languages and info.trained and candidate.healthy:
            message = f"{route.engine} does not speak {language!r}: {info.name} does"
            return Route(info.name, RouteReason.LANGUAGE, message)
    return route


def _shortcomings(info: EngineInfo, resolved: ResolvedEmotion) -> list[tuple[NoticeCode, str]]:
    """Notices about what the engine cannot do for this unit."""
    found, emotion = [], resolved.emotion
    if not info.trained:
        message = f"{info.name} ({info.model}) has untrained weights: expect noise, not words"
        found.append((NoticeCode.UNTRAINED_WEIGHTS, message))
    if not emotion.is_plain and not info.voices_emotion and resolved.source is not EmotionSource.TEXT:
        message = f"{info.name} cannot voice emotion: the utterance is spoken plainly"
        found.append((NoticeCode.EMOTION_NOT_VOICED, message))
    return found


def _find(loaded: Sequence[Candidate], name: str) -> Candidate | None:
    return next((candidate for candidate in loaded if candidate.info.name == name), None)


def _info(loaded: Sequence[Candidate], name: str) -> EngineInfo:
    found = _find(loaded, name)
    assert found is not None
    return found.info
