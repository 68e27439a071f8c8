"""Who speaks, and why: the policy as a table."""

import pytest
from fakes import info

from intone.server.domain import Emotion, Preference
from intone.server.errors import EngineError
from intone.server.events import RouteReason, WarningCode
from intone.server.router import Candidate, Router

VOXCPM = info("voxcpm")
UNTRAINED = info("voxcpm", trained=False)
STARTER = info("starter", languages=("en",))
INDEXTTS = info("indextts", voices_emotion=True)
ANGRY = Emotion((0, 0.9, 0, 0, 0, 0, 0, 0), 0.9)
IRKED = Emotion((0, 0.2, 0, 0, 0, 0, 0, 0), 0.2)
CALM = Emotion((0, 0, 0, 0, 0, 0, 0, 1.0), 1.0)
AUTO = Preference.AUTO


@pytest.mark.parametrize(
    ("loaded", "emotion", "preference", "language", "engine", "reason"),
    [
        ([VOXCPM, STARTER], Emotion(), AUTO, "en", "voxcpm", RouteReason.PLAIN),
        ([UNTRAINED, STARTER], Emotion(), AUTO, "en", "starter", RouteReason.PLAIN),
        ([UNTRAINED], Emotion(), AUTO, "en", "voxcpm", RouteReason.PLAIN),
        ([VOXCPM, STARTER, INDEXTTS], ANGRY, AUTO, "en", "indextts", RouteReason.STRONG_EMOTION),
        ([VOXCPM, STARTER, INDEXTTS], IRKED, AUTO, "en", "voxcpm", RouteReason.PLAIN),
        ([VOXCPM, STARTER, INDEXTTS], CALM, AUTO, "en", "voxcpm", RouteReason.PLAIN),
        ([VOXCPM, STARTER], ANGRY, AUTO, "en", "voxcpm", RouteReason.NOT_LOADED),
        ([VOXCPM, STARTER, INDEXTTS], ANGRY, Preference.STARTER, "en", "starter", RouteReason.PREFERENCE),
        ([VOXCPM, STARTER], Emotion(), Preference.INDEXTTS, "en", "voxcpm", RouteReason.NOT_LOADED),
        ([UNTRAINED, STARTER], Emotion(), Preference.VOXCPM, "en", "voxcpm", RouteReason.PREFERENCE),
        ([STARTER, INDEXTTS], Emotion(), AUTO, "zh", "indextts", RouteReason.LANGUAGE),
        ([STARTER], Emotion(), AUTO, "zh", "starter", RouteReason.PLAIN),
    ],
)
def test_the_route(loaded, emotion, preference, language, engine, reason) -> None:  # type: ignore[no-untyped-def]
    route = Router().route([Candidate(one) for one in loaded], emotion, preference, language)
    assert (route.engine, route.reason) == (engine, reason)
    assert engine in route.explanation or reason in (RouteReason.PLAIN, RouteReason.STRONG_EMOTION)


def test_a_failing_engine_is_replaced_and_the_client_told() -> None:
    route = Router().route([Candidate(VOXCPM, failing=True), Candidate(STARTER)], Emotion(), AUTO, "en")
    assert (route.engine, route.reason) == ("starter", RouteReason.FAILING)
    assert route.warnings[0][0] is WarningCode.ENGINE_SUBSTITUTED
    assert "voxcpm is failing" in route.warnings[0][1]


def test_a_failing_engine_alone_is_tried_again() -> None:
    route = Router().route([Candidate(VOXCPM, failing=True)], Emotion(), AUTO, "en")
    assert route.engine == "voxcpm"


def test_what_an_engine_lacks_is_said() -> None:
    route = Router().route([Candidate(UNTRAINED)], ANGRY, AUTO, "en")
    codes = [code for code, _ in route.warnings]
    assert codes == [WarningCode.ENGINE_SUBSTITUTED, WarningCode.UNTRAINED_WEIGHTS, WarningCode.EMOTION_NOT_VOICED]


def test_the_threshold_is_a_setting() -> None:
    loaded = [Candidate(VOXCPM), Candidate(INDEXTTS)]
    assert Router(emotion_threshold=0.1).route(loaded, IRKED, AUTO, "en").engine == "indextts"
    assert Router(emotion_threshold=0.95).route(loaded, ANGRY, AUTO, "en").engine == "voxcpm"


def test_the_default_engine_is_a_setting() -> None:
    loaded = [Candidate(VOXCPM), Candidate(STARTER)]
    assert Router(default_engine="starter").route(loaded, Emotion(), AUTO, "en").engine == "starter"


def test_without_engines_nothing_is_routed() -> None:
    with pytest.raises(EngineError, match="no engine is loaded"):
        Router().route([], Emotion(), AUTO, "en")
