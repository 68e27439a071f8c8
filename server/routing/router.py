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
        has_voice: it has the unit's voice; every engine has a built-in one.
        ruled_out: it failed to speak this very unit and must not be chosen again.
    """

    info: EngineInfo
    failing: bool = False
    load: int = 0
    expected_ms: float | None = None
    has_voice: bool = True
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
        languages: Sequence[str],
        avoid_busy: bool = True,
    ) -> Route:
        """Choose an engine for a unit.

        Args:
            loaded: engines in order of preference.
            emotion: of the unit.
            preference: name of a loaded engine that the client asks for; empty if it asks for none.
            languages: of the unit's text, the main one first, as `characters.languages_of` gives them.
            avoid_busy: whether another engine may replace one that is busy.

        Raises:
            EngineError: no engine is loaded, or all are ruled out.
        """
        if all(candidate.ruled_out for candidate in loaded):
            raise EngineError("router", "no engine is left to speak" if loaded else "no engine is loaded")
        wanted = self._wanted(loaded, emotion, preference, languages)
        route = self._available(loaded, wanted)
        if route.reason is not RouteReason.PREFERENCE:  # a client that asks for an engine gets it, busy or not
            route = _in_language(loaded, self._in_time(loaded, route) if avoid_busy else route, languages)
        notices = list(_shortcomings(_info(loaded, route.engine), emotion))
        if route.engine != wanted.engine:
            notices.insert(0, (NoticeCode.ENGINE_SUBSTITUTED, route.explanation))
        return replace(route, notices=tuple(notices))

    def _wanted(
        self, loaded: Sequence[Candidate], resolved: ResolvedEmotion, preference: str, languages: Sequence[str]
    ) -> Route:
        """The engine that should speak, which may be failing or not loaded."""
        emotion = resolved.emotion
        if preference:
            return Route(preference, RouteReason.PREFERENCE, f"the client asked for {preference}")
        if named := self.emotion_engines.get(emotion.label):
            return Route(named, RouteReason.POLICY, f"this server's settings give {emotion.label} to {named}")
        if emotion.intensity < self.emotion_threshold or emotion.is_plain:
            return self._plain_route(loaded, languages)
        strength = f"intensity {emotion.intensity:.2f}, threshold {self.emotion_threshold:.2f}"
        if able := [one for one in loaded if one.info.voices_emotion]:
            # Of equals, the first in the order of preference.
            best = min(
                able, key=lambda one: (languages[0] not in one.info.languages, not one.info.trained, not one.healthy)
            )
            return Route(best.info.name, RouteReason.STRONG_EMOTION, f"the emotion is strong ({strength})")
        if resolved.source is EmotionSource.TEXT:
            # The client did not ask for an emotion: a notice in every reply would be noise.
            message = f"the text sounds {emotion.label} ({strength}), but no loaded engine voices emotion"
            return Route(self._plain_route(loaded, languages).engine, RouteReason.PLAIN, message)
        plain = self._plain_route(loaded, languages).engine
        message = f"no loaded engine voices emotion ({strength}): {plain} speaks plainly"
        return Route(plain, RouteReason.NOT_LOADED, message)

    def _plain_route(self, loaded: Sequence[Candidate], languages: Sequence[str]) -> Route:
        """The engine that should speak plainly in the unit's voice and languages, loaded or not."""
        usual = self._plain([one.info for one in loaded])
        route = Route(usual, RouteReason.PLAIN, "plain speech")
        found = _find(loaded, usual)
        if found is not None and not found.has_voice and (able := _with_voice(loaded)):
            name = self.plain_engine([one.info for one in able])
            route = Route(name, RouteReason.PLAIN, f"plain speech in a voice that {name} has and {usual} does not")
        return _in_language(loaded, route, languages)

    def _available(self, loaded: Sequence[Candidate], wanted: Route) -> Route:
        """`wanted` if that engine can be used, else its substitute."""
        found = _find(loaded, wanted.engine)
        if found and found.healthy:
            return wanted
        # A failing engine is better than none: it is tried again.
        left = [candidate for candidate in loaded if not candidate.ruled_out]
        left = [candidate for candidate in left if candidate.healthy] or left
        if not all(candidate.has_voice for candidate in left):
            left = _with_voice(left) or left
        substitute = self.plain_engine([one.info for one in left])
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
        able = [one for one in loaded if one.healthy and one.has_voice >= found.has_voice]
        others = [(one.expected_ms, one.info.name) for one in able if one.expected_ms is not None]
        quickest_ms, quickest = min(others, default=(expected_ms, route.engine))
        if quickest_ms > expected_ms / 2:
            return route
        busy = f"{route.engine} is busy (first audio predicted in {expected_ms:.0f} ms)"
        return Route(quickest, RouteReason.BUSY, f"{route.explanation}, but {busy}: {quickest} speaks")


def _with_voice(loaded: Sequence[Candidate]) -> list[Candidate]:
    """The trained engines that have the unit's voice."""
    return [one for one in loaded if one.has_voice and one.info.trained]


def _in_language(loaded: Sequence[Candidate], route: Route, languages: Sequence[str]) -> Route:
    """`route`, or an engine that speaks more of the text: its main language, else more of its languages."""

    def spoken(info: EngineInfo) -> tuple[bool, int]:
        return languages[0] in info.languages, sum(language in info.languages for language in languages)

    found = _find(loaded, route.engine)
    if found is None:
        return route
    able = [found, *(one for one in loaded if one.info.trained and one.healthy)]
    best = max(able, key=lambda one: spoken(one.info)).info  # of equals the first
    if best is found.info:
        return route
    lacking = next(name for name in languages if name in best.languages and name not in found.info.languages)
    message = f"{route.engine} does not speak {lacking!r}: {best.name} does"
    return Route(best.name, RouteReason.LANGUAGE, message)


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
