"""The routing policy, as tables."""

import pytest

from intone.server.domain import Emotion
from intone.server.errors import EngineError
from intone.server.events import EmotionSource, NoticeCode, ResolvedEmotion, RouteReason
from intone.server.routing.router import Candidate, Router
from intone.server.text.characters import languages_of
from tests.support.fakes import info

VOXCPM = info("voxcpm")
UNTRAINED = info("voxcpm", trained=False)
STARTER = info("starter", languages=("en",))
INDEXTTS = info("indextts", voices_emotion=True)
ANGRY = Emotion((0, 0.9, 0, 0, 0, 0, 0, 0), 0.9)
IRKED = Emotion((0, 0.2, 0, 0, 0, 0, 0, 0), 0.2)
CALM = Emotion((0, 0, 0, 0, 0, 0, 0, 1.0), 1.0)
AUTO = ""
EN = ("en",)
CHINESE = info("chinese", languages=("zh",))
SMALL = info("small", voices_emotion=True, languages=("en",))


def asked(emotion):
    """The client asked for it."""
    return ResolvedEmotion(emotion, EmotionSource.UTTERANCE)


def read(emotion):
    """The text suggests it."""
    return ResolvedEmotion(emotion, EmotionSource.TEXT)


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
        ([VOXCPM, STARTER, INDEXTTS], ANGRY, "starter", "en", "starter", RouteReason.PREFERENCE),
        ([UNTRAINED, STARTER], Emotion(), "voxcpm", "en", "voxcpm", RouteReason.PREFERENCE),
        ([VOXCPM, SMALL, INDEXTTS], ANGRY, AUTO, "en", "small", RouteReason.STRONG_EMOTION),
        ([VOXCPM, INDEXTTS, SMALL], ANGRY, AUTO, "en", "indextts", RouteReason.STRONG_EMOTION),
        ([VOXCPM, SMALL, INDEXTTS], ANGRY, AUTO, "zh", "indextts", RouteReason.STRONG_EMOTION),
        ([STARTER, INDEXTTS], Emotion(), AUTO, "zh", "indextts", RouteReason.LANGUAGE),
        ([STARTER], Emotion(), AUTO, "zh", "starter", RouteReason.PLAIN),
    ],
)
def test_the_route(loaded, emotion, preference, language, engine, reason) -> None:
    route = Router().route([Candidate(one) for one in loaded], asked(emotion), preference, (language,))
    assert (route.engine, route.reason) == (engine, reason)
    assert engine in route.explanation or reason in (RouteReason.PLAIN, RouteReason.STRONG_EMOTION)


@pytest.mark.parametrize(
    ("loaded", "text", "language", "engine"),
    [
        ([STARTER, VOXCPM, INDEXTTS], "Good morning.", "", "starter"),
        ([STARTER, VOXCPM, INDEXTTS], "早上好。", "", "voxcpm"),
        ([STARTER, VOXCPM, INDEXTTS], "The word 你好 means hello.", "", "voxcpm"),
        ([STARTER, VOXCPM], "The word 你好 means hello.", "en", "voxcpm"),
        ([STARTER, CHINESE, VOXCPM], "The word 你好 means hello.", "en", "voxcpm"),
        ([STARTER, CHINESE], "The word 你好 means hello.", "en", "starter"),  # the main language counts first
        ([STARTER, CHINESE], "你好 means hello.", "", "chinese"),
        ([STARTER, VOXCPM], "10086.", "zh", "voxcpm"),
        ([STARTER, VOXCPM], "日本語です。", "ja", "voxcpm"),  # the ideographs at least
        ([STARTER, VOXCPM], "Guten Morgen.", "de", "starter"),
        ([STARTER, UNTRAINED], "早上好。", "", "starter"),
    ],
)
def test_plain_speech_goes_to_an_engine_that_speaks_all_of_it(loaded, text, language, engine) -> None:
    """Without a notice: the route says it."""
    candidates = [Candidate(one) for one in loaded]
    route = Router().route(candidates, ResolvedEmotion(), AUTO, languages_of(text, language))
    reason = RouteReason.PLAIN if engine == "starter" else RouteReason.LANGUAGE
    assert (route.engine, route.reason, route.notices) == (engine, reason, ())
    assert reason is RouteReason.PLAIN or f"starter does not speak 'zh': {engine} does" in route.explanation


def test_an_engine_replaced_for_another_language_than_its_own_is_a_notice_where_it_was_named_for_an_emotion() -> None:
    route = Router(emotion_engines={"angry": "starter"}).route(
        [Candidate(STARTER), Candidate(VOXCPM)], asked(ANGRY), AUTO, ("zh",)
    )
    assert (route.engine, route.reason) == ("voxcpm", RouteReason.LANGUAGE)
    assert [code for code, _ in route.notices] == [NoticeCode.ENGINE_SUBSTITUTED, NoticeCode.EMOTION_NOT_VOICED]


@pytest.mark.parametrize(
    ("default_engine", "with_voice", "emotion", "preference", "languages", "engine"),
    [
        ("auto", {"indextts"}, Emotion(), AUTO, EN, "indextts"),
        ("auto", {"indextts", "voxcpm"}, Emotion(), AUTO, EN, "voxcpm"),
        ("starter", {"indextts"}, Emotion(), AUTO, EN, "indextts"),
        ("auto", {"indextts"}, Emotion(), AUTO, ("zh", "en"), "indextts"),
        ("auto", set(), Emotion(), AUTO, EN, "starter"),
        ("auto", {"voxcpm"}, ANGRY, AUTO, EN, "indextts"),  # emotion first
        ("auto", {"indextts"}, Emotion(), "starter", EN, "starter"),
    ],
)
def test_plain_speech_goes_to_an_engine_that_has_the_voice(
    default_engine, with_voice, emotion, preference, languages, engine
) -> None:
    loaded = [Candidate(one, has_voice=one.name in with_voice) for one in (STARTER, VOXCPM, INDEXTTS)]
    route = Router(default_engine=default_engine).route(loaded, asked(emotion), preference, languages)
    assert (route.engine, route.notices) == (engine, ())


def test_a_substitute_has_the_voice_if_possible() -> None:
    starter, voxcpm = Candidate(STARTER, has_voice=False), Candidate(VOXCPM, failing=True)
    route = Router().route([starter, voxcpm, Candidate(INDEXTTS)], ResolvedEmotion(), AUTO, EN)
    assert (route.engine, route.reason) == ("indextts", RouteReason.FAILING)
    assert Router().route([starter, voxcpm], ResolvedEmotion(), AUTO, EN).engine == "starter"
    busy = Candidate(INDEXTTS, load=2, expected_ms=9000.0)
    quick = Candidate(STARTER, expected_ms=10.0, has_voice=False)
    assert Router(busy_ms=3000.0).route([quick, busy], asked(ANGRY), AUTO, EN).engine == "indextts"


def test_a_failing_engine_is_replaced_with_a_notice() -> None:
    route = Router().route([Candidate(VOXCPM, failing=True), Candidate(STARTER)], ResolvedEmotion(), AUTO, EN)
    assert (route.engine, route.reason) == ("starter", RouteReason.FAILING)
    assert route.notices[0][0] is NoticeCode.ENGINE_SUBSTITUTED
    assert "voxcpm is failing" in route.notices[0][1]


def test_a_failing_engine_alone_is_tried_again() -> None:
    route = Router().route([Candidate(VOXCPM, failing=True)], ResolvedEmotion(), AUTO, EN)
    assert route.engine == "voxcpm"


def test_shortcomings_of_the_engine_are_notices() -> None:
    route = Router().route([Candidate(UNTRAINED)], asked(ANGRY), AUTO, EN)
    codes = [code for code, _ in route.notices]
    assert codes == [NoticeCode.UNTRAINED_WEIGHTS, NoticeCode.EMOTION_NOT_VOICED], "no engine was replaced"


def test_the_threshold_is_a_setting() -> None:
    loaded = [Candidate(VOXCPM), Candidate(INDEXTTS)]
    assert Router(emotion_threshold=0.1).route(loaded, asked(IRKED), AUTO, EN).engine == "indextts"
    assert Router(emotion_threshold=0.95).route(loaded, asked(ANGRY), AUTO, EN).engine == "voxcpm"


def test_the_default_engine_is_a_setting() -> None:
    loaded = [Candidate(VOXCPM), Candidate(STARTER)]
    assert Router(default_engine="starter").route(loaded, ResolvedEmotion(), AUTO, EN).engine == "starter"


@pytest.mark.parametrize(
    ("default_engine", "loaded", "plain"),
    [
        ("auto", [INDEXTTS, VOXCPM, STARTER], "voxcpm"),
        ("auto", [INDEXTTS, STARTER, VOXCPM], "starter"),
        ("auto", [UNTRAINED, STARTER], "starter"),
        ("auto", [INDEXTTS, UNTRAINED], "indextts"),
        ("starter", [VOXCPM, STARTER], "starter"),
        ("starter", [INDEXTTS, VOXCPM], "indextts"),
    ],
)
def test_the_plain_engine_is_a_loaded_one(default_engine, loaded, plain) -> None:
    assert Router(default_engine=default_engine).plain_engine(loaded) == plain


def test_without_engines_nothing_is_routed() -> None:
    with pytest.raises(EngineError, match="no engine is loaded"):
        Router().route([], ResolvedEmotion(), AUTO, EN)


def test_emotion_read_from_the_text_causes_no_notice() -> None:
    route = Router().route([Candidate(VOXCPM), Candidate(STARTER)], read(ANGRY), AUTO, EN)
    assert (route.engine, route.reason, route.notices) == ("voxcpm", RouteReason.PLAIN, ())
    assert "angry" in route.explanation
    both = [Candidate(VOXCPM), Candidate(INDEXTTS)]
    assert Router().route(both, read(ANGRY), AUTO, EN).reason is RouteReason.STRONG_EMOTION


def test_settings_may_name_an_engine_for_an_emotion() -> None:
    router = Router(emotion_engines={"angry": "starter", "neutral": "indextts"})
    loaded = [Candidate(VOXCPM), Candidate(STARTER), Candidate(INDEXTTS)]
    assert router.route(loaded, asked(ANGRY), AUTO, EN).engine == "starter"
    assert router.route(loaded, asked(IRKED), AUTO, EN).reason is RouteReason.POLICY
    assert router.route(loaded, ResolvedEmotion(), AUTO, EN).engine == "indextts"
    assert router.route(loaded, asked(ANGRY), "voxcpm", EN).engine == "voxcpm"
    assert router.route([Candidate(VOXCPM)], asked(ANGRY), AUTO, EN).reason is RouteReason.NOT_LOADED


@pytest.mark.parametrize(
    ("load", "indextts_ms", "voxcpm_ms", "preference", "engine", "reason"),
    [
        (2, 2900.0, 100.0, AUTO, "indextts", RouteReason.STRONG_EMOTION),
        (2, 3100.0, 100.0, AUTO, "voxcpm", RouteReason.BUSY),
        (0, 3100.0, 100.0, AUTO, "indextts", RouteReason.STRONG_EMOTION),  # slow, not busy
        (2, 3100.0, 2000.0, AUTO, "indextts", RouteReason.STRONG_EMOTION),
        (2, 3100.0, None, AUTO, "indextts", RouteReason.STRONG_EMOTION),
        (2, None, 100.0, AUTO, "indextts", RouteReason.STRONG_EMOTION),
        (2, 3100.0, 100.0, "indextts", "indextts", RouteReason.PREFERENCE),
    ],
)
def test_a_busy_engine_is_replaced_by_a_quick_one(load, indextts_ms, voxcpm_ms, preference, engine, reason) -> None:
    loaded = [Candidate(VOXCPM, expected_ms=voxcpm_ms), Candidate(INDEXTTS, load=load, expected_ms=indextts_ms)]
    route = Router(busy_ms=3000.0).route(loaded, asked(ANGRY), preference, EN)
    assert (route.engine, route.reason) == (engine, reason)
    substituted = NoticeCode.ENGINE_SUBSTITUTED in [code for code, _ in route.notices]
    assert substituted == (reason is RouteReason.BUSY)


def test_offline_no_engine_is_avoided_because_it_is_busy() -> None:
    loaded = [Candidate(VOXCPM, expected_ms=100.0), Candidate(INDEXTTS, load=2, expected_ms=60_000.0)]
    router = Router(busy_ms=3000.0)
    assert router.route(loaded, asked(ANGRY), AUTO, EN).reason is RouteReason.BUSY
    route = router.route(loaded, asked(ANGRY), AUTO, EN, avoid_busy=False)
    assert (route.engine, route.reason) == ("indextts", RouteReason.STRONG_EMOTION)


def test_an_engine_that_is_ruled_out_is_not_chosen() -> None:
    """Not even if all others are failing: then one of those is tried."""
    loaded = [Candidate(VOXCPM, ruled_out=True), Candidate(INDEXTTS, failing=True)]
    route = Router().route(loaded, ResolvedEmotion(), AUTO, EN)
    assert (route.engine, route.reason) == ("indextts", RouteReason.FAILING)
    with pytest.raises(EngineError, match="no engine is left"):
        Router().route([Candidate(VOXCPM, ruled_out=True)], ResolvedEmotion(), AUTO, EN)
