"""Emotion over real gRPC: read from the text, from tags and from a description, and reported."""

import pytest
from grpc import StatusCode

from intone.proto import emotion_pb2, speech_pb2
from tests.support.fakes import ScriptedEngine, info
from tests.support.live_server import chunks, code_and_field, failed, live, spoken, status_of


def messages(answers, kind):
    return [message for found, message in answers if found == kind]


async def said(text, engine=None, config=None, **settings):
    """The answers to one utterance."""
    async with live(engine or ScriptedEngine(), **settings) as server:
        talk = await server.talk(**(config or {}))
        await talk.say("u", text)
        return await talk.until("done")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I am so happy for you!", emotion_pb2.EMOTION_LABEL_HAPPY),
        ("The train leaves at nine.", emotion_pb2.EMOTION_LABEL_NEUTRAL),
        ("我太难过了。", emotion_pb2.EMOTION_LABEL_SAD),
    ],
)
def test_the_emotion_of_a_text(run, text, label):
    async def main():
        async with live() as server:
            return await server.speech.AnalyzeEmotion(speech_pb2.AnalyzeEmotionRequest(text=text))

    answer = run(main())
    assert answer.label == label and len(answer.emotion.weights) == 8
    assert (answer.intensity > 0) == (label != emotion_pb2.EMOTION_LABEL_NEUTRAL)
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
    (started,) = messages(run(said("I am so happy for you!")), "started")
    assert started.emotion_source == speech_pb2.EMOTION_SOURCE_TEXT
    assert started.emotion.weights[0] > 0.5 and started.emotion_intensity > 0.5 and started.emotion_explanation
    (started,) = messages(run(said("I am so happy for you!", emotion_analyzer="none")), "started")
    assert started.emotion_source == speech_pb2.EMOTION_SOURCE_NONE and not any(started.emotion.weights)
    sad = emotion_pb2.Emotion(label=emotion_pb2.EMOTION_LABEL_SAD)
    (started,) = messages(run(said("[angry] I am so happy!", config={"emotion": sad})), "started")
    assert started.emotion_source == speech_pb2.EMOTION_SOURCE_STREAM and started.emotion.weights[2] == 1


def test_tags_are_not_spoken_and_change_the_route(run):
    engine = ScriptedEngine(info=info(voices_emotion=True))
    text = "[calm] It was quiet. [angry]Then I heard the noise of it. See [sic]."
    answers = run(said(text, engine))
    # Ordinary brackets are silent; their words are not.
    assert spoken(answers) == "It was quiet.Then I heard the noise of it.See sic."
    (started,) = messages(answers, "started")
    assert started.emotion_source == speech_pb2.EMOTION_SOURCE_TAG and started.emotion.weights[7] == 1
    (rerouted,) = messages(answers, "rerouted")
    assert rerouted.emotion.weights[1] == 1 and rerouted.engine == "starter" and rerouted.route_explanation
    assert text[rerouted.text_span.start : rerouted.text_span.end] == " [angry]Then I heard the noise of it."
    order = [kind for kind, message in answers if kind in ("audio", "rerouted")]
    assert order[0] == "audio" and order.index("rerouted") < len(order) - 1
    spans = {(chunk.text_span.start, chunk.text_span.end) for chunk in chunks(answers)}
    assert "".join(text[start:end] for start, end in sorted(spans)) == text


def test_a_description_matched_by_keywords_gives_a_warning(run):
    happy = emotion_pb2.Emotion(description="overjoyed")
    engine = ScriptedEngine(info=info(voices_emotion=True))
    answers = run(said("It is done.", engine, {"emotion": happy}))
    (started,) = messages(answers, "started")
    assert started.emotion.weights[0] > 0.5 and started.emotion_source == speech_pb2.EMOTION_SOURCE_STREAM
    codes = [message.code for message in messages(answers, "warning")]
    assert speech_pb2.WARNING_CODE_EMOTION_APPROXIMATED in codes


def test_the_server_settings_name_the_engine_of_an_emotion(run):
    answers = run(said("I am so happy!", emotion_engines="happy=starter"))
    (started,) = messages(answers, "started")
    assert started.route_reason == speech_pb2.ROUTE_REASON_POLICY
    answers = run(said("I am so happy!", emotion_engines="happy=indextts"))
    (started,) = messages(answers, "started")
    assert started.route_reason == speech_pb2.ROUTE_REASON_NOT_LOADED and "indextts" in started.route_explanation
