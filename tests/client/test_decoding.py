"""What the client makes of wire messages: fields that come once, absent values, values of a newer server."""

import pytest

from intone.client import EmotionWeights, ServerFailed, Usage
from intone.client.decoding import Decoder
from intone.proto import audio_pb2, speech_pb2
from tests.support.scripted_responses import Response, audio, closed, configured, done, started

FILLER, SPEECH, SILENCE = (
    speech_pb2.AUDIO_KIND_FILLER,
    speech_pb2.AUDIO_KIND_SPEECH,
    speech_pb2.AUDIO_KIND_SILENCE,
)


def decoder() -> Decoder:
    made = Decoder()
    made.decode(configured(), 0.0)
    return made


def test_what_comes_once_is_filled_in_on_later_chunks():
    responses = [
        audio("u1", 0, kind=FILLER, filler="Hmm"),
        audio("u1", 1, kind=FILLER),
        audio("u1", 2, span=(0, 5)),
        audio("u1", 3),
        audio("u1", 4, kind=SILENCE),
        audio("u1", 5, kind=FILLER, filler="Well"),
        audio("u1", 6, kind=FILLER, span=(5, 9)),  # the end of a filler and the beginning of a unit
        audio("u1", 7),
    ]
    mine = decoder()
    chunks = [mine.decode(response, 1.0) for response in responses]
    assert [chunk.text_span for chunk in chunks] == [None, None, (0, 5), (0, 5), None, None, (5, 9), (5, 9)]
    assert [chunk.filler_text for chunk in chunks] == ["Hmm", "Hmm", "", "", "", "Well", "Well", ""]
    assert [chunk.kind for chunk in chunks[:5]] == ["filler", "filler", "speech", "speech", "silence"]


def test_utterances_are_counted_apart_and_anew_after_their_end():
    mine = decoder()
    for response in (audio("u1", 0, span=(0, 1)), audio("u2", 0), audio("u1", 1), done("u1"), audio("u1", 0)):
        event = mine.decode(response, 1.0)
    assert event.text_span is None
    with pytest.raises(ServerFailed, match="chunk 2 of 'u2' came in place of chunk 1"):
        mine.decode(audio("u2", 2), 1.0)


def test_absent_values_have_their_defaults():
    mine = decoder()
    done_event = mine.decode(Response(done=speech_pb2.Done(utterance_id="u1", reason=1)), 2.0)
    assert (done_event.usage, done_event.error, done_event.latency.ttfa_ms) == (Usage(), None, None)
    start = Response(started=speech_pb2.Started(utterance_id="u1", route={}, emotion={}))
    assert mine.decode(start, 2.0).emotion.weights == EmotionWeights()
    assert mine.decode(started("u1"), 2.0).received_s == 2.0
    assert mine.decode(closed(), 3.0).error is None


def test_values_of_a_newer_server_are_no_error():
    mine = decoder()
    assert mine.decode(Response(), 1.0) is None
    chunk = mine.decode(audio("u1", 0, kind=77), 1.0)
    assert (chunk.kind, chunk.text_span) == ("77", None)


def test_the_format_and_the_defaults_of_a_stream():
    mine = Decoder()
    message = configured(encoding=audio_pb2.AUDIO_ENCODING_UNSPECIFIED)
    message.configured.defaults.normalization = speech_pb2.SWITCH_OFF
    message.configured.defaults.filler = speech_pb2.FILLER_POLICY_OFF
    message.configured.defaults.emotion.label = "happy"
    event = mine.decode(message, 1.0)
    assert (event.format.encoding, event.format.bytes_per_sample) == ("pcm_s16le", 2)
    assert (event.defaults.normalization, event.defaults.filler, event.defaults.text_format) == (False, "off", "tags")
    assert (event.defaults.emotion.label, event.defaults.speed) == ("happy", None)
