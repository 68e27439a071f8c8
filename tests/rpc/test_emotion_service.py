"""Emotion over real gRPC: read from the text, from tags and from a description, and reported."""

import pytest
from grpc import StatusCode

from intone.proto import emotion_pb2, speech_pb2
from tests.support.fakes import ScriptedEngine, info
from tests.support.live_server import chunks, codes_of, live, messages_of, spoken
from tests.support.rpc_status import code_and_field, failed, status_of


def of_stream(**settings):
    """A config with these settings."""
    return {"defaults": speech_pb2.SpeechSettings(**settings)}


async def said(text, engine=None, config=None, **settings):
    """The answers to one utterance."""
    async with live(engine or ScriptedEngine(), **settings) as server:
        talk = await server.talk(**(config or {}))
        await talk.say("u", text)
        return await talk.until("done")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I am so happy for you!", "happy"),
        ("The train leaves at nine.", "neutral"),
        ("我太难过了。", "sad"),
    ],
)
def test_the_emotion_of_a_text(run, text, label):
    async def main():
        async with live() as server:
            return await server.speech.AnalyzeEmotion(speech_pb2.AnalyzeEmotionRequest(text=text))

    answer = run(main())
    assert answer.label == label
    if label == "neutral":
        assert answer.weights == emotion_pb2.EmotionWeights() and answer.intensity == 0
    else:
        assert getattr(answer.weights, label) == pytest.approx(answer.intensity) and answer.intensity > 0
    assert answer.explanation and text not in answer.explanation


@pytest.mark.parametrize(
    ("text", "words"), [("", "blank"), (" \n", "blank"), ("a" * 1001, "1000"), ("a\x00", "U+0000")]
)
def test_texts_that_cannot_be_analyzed(run, text, words):
    async def main():
        async with live() as server:
            return await failed(server.speech.AnalyzeEmotion(speech_pb2.AnalyzeEmotionRequest(text=text)))

    code, field = code_and_field(status_of(error := run(main())))
    assert code is StatusCode.INVALID_ARGUMENT and field == "text" and words in (error.details() or "")


def test_started_reports_where_the_emotion_comes_from(run):
    (started,) = messages_of(run(said("I am so happy for you!")), "started")
    assert started.emotion.source == speech_pb2.EMOTION_SOURCE_TEXT
    assert started.emotion.weights.happy > 0.5 and started.emotion.intensity > 0.5 and started.emotion.explanation
    (started,) = messages_of(run(said("I am so happy for you!", emotion_analyzer="none")), "started")
    assert started.emotion.source == speech_pb2.EMOTION_SOURCE_NONE
    assert started.emotion.weights == emotion_pb2.EmotionWeights()
    sad = emotion_pb2.Emotion(label="sad")
    (started,) = messages_of(run(said("[angry] I am so happy!", config=of_stream(emotion=sad))), "started")
    assert started.emotion.source == speech_pb2.EMOTION_SOURCE_STREAM
    assert started.emotion.weights == emotion_pb2.EmotionWeights(sad=1)


def test_tags_are_not_spoken_and_change_the_route(run):
    engine = ScriptedEngine(info=info(voices_emotion=True))
    text = "[calm] It was quiet. [angry]Then I heard the noise of it. See [sic]."
    answers = run(said(text, engine))
    # Ordinary brackets are silent; their words are not.
    assert spoken(answers) == "It was quiet.Then I heard the noise of it.See sic."
    (started,) = messages_of(answers, "started")
    assert started.emotion.source == speech_pb2.EMOTION_SOURCE_TAG
    assert started.emotion.weights == emotion_pb2.EmotionWeights(calm=1)
    (rerouted,) = messages_of(answers, "rerouted")
    assert rerouted.emotion.weights == emotion_pb2.EmotionWeights(angry=1)
    assert rerouted.route.engine == "starter" and rerouted.route.explanation
    assert text[rerouted.text_span.start : rerouted.text_span.end] == " [angry]Then I heard the noise of it."
    order = [kind for kind, message in answers if kind in ("audio", "rerouted")]
    assert order[0] == "audio" and order.index("rerouted") < len(order) - 1
    marked = [chunk.text_span for chunk in chunks(answers) if chunk.HasField("text_span")]
    spans = [(span.start, span.end) for span in marked]
    assert "".join(text[start:end] for start, end in spans) == text


def test_a_description_matched_by_keywords_gives_a_notice(run):
    happy = emotion_pb2.Emotion(description="overjoyed")
    engine = ScriptedEngine(info=info(voices_emotion=True))
    answers = run(said("It is done.", engine, of_stream(emotion=happy)))
    (started,) = messages_of(answers, "started")
    assert started.emotion.weights.happy > 0.5 and started.emotion.source == speech_pb2.EMOTION_SOURCE_STREAM
    assert "EMOTION_APPROXIMATED" in codes_of(answers)


def test_the_server_settings_name_the_engine_of_an_emotion(run):
    answers = run(said("I am so happy!", emotion_engines="happy=starter"))
    (started,) = messages_of(answers, "started")
    assert started.route.reason == speech_pb2.ROUTE_REASON_POLICY
    answers = run(said("I am so happy!", emotion_engines="happy=indextts"))
    (started,) = messages_of(answers, "started")
    assert started.route.reason == speech_pb2.ROUTE_REASON_NOT_LOADED and "indextts" in started.route.explanation


def weighted(intensity=None, **weights):
    return emotion_pb2.Emotion(weights=emotion_pb2.EmotionWeights(**weights), intensity=intensity)


@pytest.mark.parametrize(
    ("emotion", "weights"),
    [
        (emotion_pb2.Emotion(label="angry"), {"angry": 1.0}),
        (emotion_pb2.Emotion(label="angry", intensity=0.5), {"angry": 0.5}),
        (emotion_pb2.Emotion(label="neutral", intensity=0.5), {}),
        (emotion_pb2.Emotion(label="开心"), {"happy": 1.0}),
        (weighted(angry=0.8), {"angry": 0.8}),
        (
            emotion_pb2.Emotion(weights=emotion_pb2.EmotionWeights(angry=0.8, sad=0.4), intensity=0.5),
            {"angry": 0.4, "sad": 0.2},
        ),
        (weighted(0.0, sad=0.8), {}),
    ],
    ids=str,
)
def test_the_intensity_multiplies_the_weights_whatever_form_they_come_in(run, emotion, weights):
    async def main():
        async with live(ScriptedEngine(info=info(voices_emotion=True))) as server:
            talk = await server.talk()
            await talk.start("u", emotion=emotion)
            await talk.say("u", "Hello.")
            return await talk.until("done")

    (started,) = messages_of(run(main()), "started")
    found = {field.name: value for field, value in started.emotion.weights.ListFields()}
    assert found == pytest.approx(weights) and started.emotion.source == speech_pb2.EMOTION_SOURCE_UTTERANCE
    assert started.emotion.intensity == pytest.approx(max(weights.values(), default=0.0))
    strong = started.route.reason == speech_pb2.ROUTE_REASON_STRONG_EMOTION
    assert strong == (started.emotion.intensity >= 0.5)


FREE_LABELS = [("relieved", {"happy": 0.25, "calm": 0.25}, False), ("joyful as a child", {"happy": 0.5}, True)]


@pytest.mark.parametrize(("label", "weights", "by_keywords"), FREE_LABELS)
def test_a_free_label_is_mapped_and_its_weights_are_answered(run, label, weights, by_keywords):
    async def main():
        async with live() as server:
            talk = await server.talk(**of_stream(emotion=emotion_pb2.Emotion(label=label, intensity=0.5)))
            await talk.say("u", "It is done.")
            known = (await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())).emotion_labels
            return await talk.until("done"), known

    answers, known = run(main())
    (started,) = messages_of(answers, "started")
    assert started.emotion.weights == emotion_pb2.EmotionWeights(**weights)
    assert ("EMOTION_APPROXIMATED" in codes_of(answers)) == by_keywords
    assert {"happy", "angry", "calm", "neutral", "开心"} <= set(known) and label not in known


PRESS = "Press [1] or [happy] now."


@pytest.mark.parametrize("level", ["stream", "utterance"])
def test_plain_text_keeps_its_brackets(run, level):
    async def main():
        async with live() as server:
            plain = {"text_format": speech_pb2.TEXT_FORMAT_PLAIN, "normalization": speech_pb2.SWITCH_OFF}
            talk = await server.talk(**(of_stream(**plain) if level == "stream" else {}))
            await talk.start("u", **({} if level == "stream" else plain))
            await talk.say("u", PRESS)
            answers = await talk.until("done")
            assert spoken(answers) == PRESS
            assert {message.emotion.source for message in messages_of(answers, "started")} <= {
                speech_pb2.EMOTION_SOURCE_NONE,
                speech_pb2.EMOTION_SOURCE_TEXT,
            }
            tagged = {"text_format": speech_pb2.TEXT_FORMAT_TAGS, "normalization": speech_pb2.SWITCH_OFF}
            await talk.start("v", **tagged)
            await talk.say("v", PRESS)
            assert "happy" not in spoken(await talk.until("done"))

    run(main())
