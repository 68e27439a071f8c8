"""Text formats, cues and pronunciations over real gRPC: what is spoken, what is a pause, and what a client is told."""

import importlib.util

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from intone.proto import audio_pb2, speech_pb2
from intone.server.app import serving
from intone.server.config import Config
from intone.server.domain import SpeakRequest
from intone.server.engines.phonemes import phonemizer
from intone.server.engines.voxcpm import bundled_voice
from intone.server.engines.voxcpm.text import TextTokenizer
from tests.support.fakes import RATE_HZ, ScriptedEngine, ScriptedState, info
from tests.support.live_server import Talk, chunks, codes_of, live, messages_of, samples, spoken
from tests.support.rpc_status import code_and_field, reason_of

PLAIN, SSML = speech_pb2.TEXT_FORMAT_PLAIN, speech_pb2.TEXT_FORMAT_SSML
COMPLETED, REJECTED = speech_pb2.DONE_REASON_COMPLETED, speech_pb2.DONE_REASON_REJECTED
SILENCE = speech_pb2.AUDIO_KIND_SILENCE


class ListeningEngine(ScriptedEngine):
    """Keeps the texts that it was asked to speak."""

    def start(self, request: SpeakRequest) -> ScriptedState:
        self.texts = [*getattr(self, "texts", []), request.text]
        return super().start(request)


def engine(**changes):
    return ListeningEngine(info=info(**changes))


def said(text, speaker=None, deltas=None, **settings):
    """Speak one utterance, in one message or in `deltas`: its answers up to `done`."""

    async def main():
        async with live(speaker or engine()) as server:
            talk = await server.talk(defaults=speech_pb2.SpeechSettings(**settings))
            for delta in deltas or ():
                await talk.say("u", delta, end=False)
            await talk.say("u", "" if deltas else text)
            return await talk.until("done", "u")

    return main()


def entry(word, **sounds):
    return speech_pb2.Pronunciation(word=word, **sounds)


def pause_ms(answers):
    silent = [chunk for chunk in chunks(answers) if chunk.kind == SILENCE]
    return 1000 * sum(chunk.sample_count for chunk in silent) / RATE_HZ


def test_plain_text_keeps_brackets_and_tags_as_text(run):
    speaker = engine()
    answers = run(said("Press [happy] or <b>two</b> &amp; wait.", speaker, text_format=PLAIN, normalization=2))
    assert " ".join(speaker.texts) == "Press [happy] or <b>two</b> &amp; wait."
    assert codes_of(answers) == []


def test_a_break_in_text_is_a_pause_in_place_of_the_one_by_punctuation(run):
    speaker = engine()
    answers = run(said('First one. <break time="1s"/>Second one, and <break time="300ms"/> the rest.', speaker))
    assert speaker.texts == ["First one.", "Second one, and", "the rest."]
    assert pause_ms(answers) == pytest.approx(1300)
    (done,) = messages_of(answers, "done")
    assert done.usage.pause_ms == 1300 and done.reason == COMPLETED


def test_a_break_at_the_end_is_sent_and_alone_it_is_nothing_to_speak(run):
    answers = run(said('Bye.<break time="500ms"/>'))
    assert pause_ms(answers) == pytest.approx(500) and chunks(answers)[-1].kind == SILENCE
    answers = run(said('<break time="500ms"/>'))
    assert not chunks(answers) and messages_of(answers, "done")[0].reason == speech_pb2.DONE_REASON_EMPTY


def test_cues_that_nobody_performs_are_named_in_one_notice(run):
    speaker = engine()
    answers = run(said("Oh [sigh] well. *coughs* It is (clears throat) fine. [sigh] Good.", speaker))
    assert " ".join(speaker.texts) == "Oh well. It is fine. Good."
    assert codes_of(answers) == ["CUE_NOT_PERFORMED"]
    (notice,) = messages_of(answers, "notice")
    assert notice.message == "not performed and not spoken: sigh, coughs, clears throat" and notice.utterance_id == "u"


def test_a_tag_sets_the_emotion_up_to_the_end_of_the_paragraph(run):
    answers = run(said("[happy] I won it.\n\nNow this is plain.", engine(voices_emotion=True)))
    (started,) = messages_of(answers, "started")
    (rerouted,) = messages_of(answers, "rerouted")
    assert started.emotion.weights.happy == 1 and started.emotion.source == speech_pb2.EMOTION_SOURCE_TAG
    assert rerouted.emotion.source == speech_pb2.EMOTION_SOURCE_NONE
    assert rerouted.text_span.start == len("[happy] I won it.")


SPEAK = (
    "<speak>Dial <say-as interpret-as='digits'>911</say-as> for <sub alias='Ada'>A.</sub> &amp; me."
    "<break time='400ms'/><p>The <phoneme ph='təˈmɑːtoʊ'>tomato</phoneme> &lt; $5.</p></speak>"
)


@pytest.mark.parametrize("deltas", [None, list(SPEAK)])
def test_ssml(run, deltas):
    speaker = engine(alphabets=("ipa",))
    answers = run(said(SPEAK, speaker, deltas, text_format=SSML))
    assert speaker.texts == [
        "Dial nine one one for Ada and me.",
        "The [tomato](/təˈmɑːtoʊ/) less than five dollars.",
    ]
    assert pause_ms(answers) == pytest.approx(400) and codes_of(answers) == []
    spans = [chunk.text_span for chunk in chunks(answers) if chunk.HasField("text_span")]
    assert SPEAK[spans[0].start : spans[0].end].endswith("&amp; me.")
    assert SPEAK[spans[1].start : spans[1].end].startswith("<break")


def test_text_that_is_no_ssml_is_rejected_and_the_stream_goes_on(run):
    async def main():
        async with live() as server:
            talk = await server.talk(defaults=speech_pb2.SpeechSettings(text_format=SSML))
            await talk.say("bad", "Fish & chips, <b>please.")
            answers = await talk.until("done", "bad")
            await talk.say("open", "<s>Hello.")
            answers += await talk.until("done", "open")
            await talk.start("unended", text_format=SSML)
            await talk.say("unended", "<s>Hello.", end=False)
            await talk.half_close()
            return answers + await talk.until("done", "unended") + await talk.rest()

    answers = run(main())
    errors = {done.utterance_id: done.error for done in messages_of(answers, "done") if done.reason == REJECTED}
    assert set(errors) == {"bad", "open", "unended"}
    for error in errors.values():
        assert code_and_field(error) == (StatusCode.INVALID_ARGUMENT, "text.delta")
        assert reason_of(error) == "TEXT_INVALID"
    assert "& at character 5 must be written &amp;" in errors["bad"].message
    assert "<s> at character 0 is not closed" in errors["open"].message


def test_pronunciations_of_stream_and_utterance(run):
    speaker = engine(alphabets=("ipa", "pinyin"))

    async def main():
        async with live(speaker) as server:
            entries = [
                entry("Nguyen", ipa="wɪn"),
                entry("nginx", spoken_as="engine x"),
                entry("重庆", pinyin="chong2 qing4"),
            ]
            talk = await server.talk(defaults=speech_pb2.SpeechSettings(pronunciations=entries))
            await talk.say("stream", "Nguyen's nginx is in 重庆.")
            await talk.start("own", pronunciations=[entry("Nguyen", spoken_as="win")])
            await talk.say("own", "Nguyen knows nginx.")
            return await talk.until("done", "own")

    answers = run(main())
    assert speaker.texts == ["[Nguyen's](/wɪnz/) engine x is in [重庆](/chong2 qing4/).", "win knows engine x."]
    assert codes_of(answers) == []


def test_an_engine_that_takes_no_sounds_gets_a_spelling_and_the_client_a_notice(run):
    speaker = engine(alphabets=())
    text = "Nguyen is here. And Nguyen stays here."
    answers = run(said(text, speaker, pronunciations=[entry("Nguyen", ipa="wɪn")]))
    assert speaker.texts == ["wihn is here.", "And wihn stays here."]
    assert codes_of(answers) == ["PRONUNCIATION_APPROXIMATED"]
    (notice,) = messages_of(answers, "notice")
    assert "Nguyen" in notice.message and "IPA" in notice.message


def test_pronunciations_count_where_text_is_not_normalized(run):
    speaker = engine(alphabets=("ipa",))
    run(said("Nguyen: $3.", speaker, pronunciations=[entry("Nguyen", ipa="wɪn")], normalization=speech_pb2.SWITCH_OFF))
    assert speaker.texts == ["[Nguyen](/wɪn/): $3."]


def test_heard_text_ends_before_an_amount_that_was_spoken_in_part(run):
    text = "It is $5 now."  # "It is five dollars now."
    words = "It is five dollars now."

    async def heard_after(said):
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", text)
            answers = await talk.until("done", "u")
            assert spoken(answers) == words
            position = len(samples(answers)) * len(said) // len(words)
            await talk.interrupt(played=("u", position))
            (cut,) = messages_of(await talk.until("interrupted"), "interrupted")[0].cuts
            assert cut.heard_text + cut.unheard_text == text
            return cut.heard_text

    assert run(heard_after("It is five dol")) == "It is "
    assert run(heard_after("It is five dollars")) == "It is $5"


@pytest.mark.slow
def test_the_starter_voice_says_words_as_they_are_given(run, require):
    require("starter", importlib.util.find_spec("hibari"), "hibari-tts is not installed: pip install 'intone[starter]'")
    pcm = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_PCM_F32LE)

    async def main():
        config = Config.of(port=0, fillers=False, match_loudness=False, processes=False)
        async with (
            serving(config) as app,
            grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        ):
            talk = Talk.over(channel)
            await talk.configure(format=pcm, defaults=speech_pb2.SpeechSettings(seed=1, engine="starter"))
            found = {}
            for name, text, settings in (
                ("word", "I met Win today.", {}),
                ("entry", "I met Nguyen today.", {"pronunciations": [entry("Nguyen", spoken_as="Win")]}),
                ("sub", "I met <sub alias='Win'>Nguyen</sub> today.", {"text_format": SSML}),
                ("ipa", "I met Nguyen today.", {"pronunciations": [entry("Nguyen", ipa="wˈɪn")]}),
                ("written", "I met Nguyen today.", {}),
            ):
                await talk.start(name, **settings)
                await talk.say(name, text)
                answers = await talk.until("done", name)
                assert codes_of(answers, name) == []
                found[name] = samples(answers, name)
            return found

    found = run(main(), timeout_s=120.0)
    assert len(found["word"]) > 0
    for name in ("entry", "sub", "ipa"):
        assert np.array_equal(found["word"], found[name]), name
    assert not np.array_equal(found["word"], found["written"])


@pytest.mark.slow
def test_the_sounds_of_an_entry_reach_the_packaged_model(run, require, monkeypatch):
    """The tokens that nano gets, which are phonemes, are those of the sounds that were asked for."""
    require("nano", bundled_voice.folder(), "no voice comes with this package yet")
    require("starter", importlib.util.find_spec("hibari"), "hibari-tts is not installed: pip install 'intone[starter]'")
    require("mandarin", importlib.util.find_spec("misaki"), "misaki is not installed: pip install 'intone[mandarin]'")
    read, got = phonemizer("hibari", ("en", "zh")), []
    ids_of = TextTokenizer.ids

    def ids(tokenizer, text):
        got.append(ids_of(tokenizer, text))
        return got[-1]

    monkeypatch.setattr(TextTokenizer, "ids", ids)
    cases = {
        "I like tomato.": (entry("tomato", ipa="təˈmɑːtoʊ"), read("I like tomato.").replace("təmˈATO", "təmˈɑtO")),
        "He likes Nguyen.": (entry("Nguyen", ipa="wˈɪn"), read("He likes Win.")),
        "We use nginx here.": (entry("nginx", spoken_as="engine x"), read("We use engine x here.")),
        "他姓重。": (entry("重", pinyin="chong2"), read("他姓虫。")),
        "我去了重庆。": (entry("重庆", pinyin="zhong4 qing1"), read("我去了[重庆](/zhong4 qing1/)。")),
        "我爱Nike。": (entry("Nike", ipa="ˈnaɪk"), read("我爱[Nike](/ˈnaɪk/)。")),
    }

    async def main():
        config = Config.of(port=0, fillers=False, match_loudness=False, processes=False, starter=False, threads=1)
        async with (
            serving(config) as app,
            grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        ):
            talk = Talk.over(channel)
            await talk.configure(defaults=speech_pb2.SpeechSettings(seed=1, engine="voxcpm"))
            found = {}
            for number, (text, (pronunciation, _)) in enumerate(cases.items()):
                for name, entries in ((f"plain {number}", []), (f"entry {number}", [pronunciation])):
                    got.clear()
                    await talk.start(name, pronunciations=entries)
                    await talk.say(name, text)
                    answers = await talk.until("done", name)
                    assert codes_of(answers, name) == [] and len(samples(answers, name)) > 0
                    (found[text, bool(entries)],) = got
            return found

    found = run(main(), timeout_s=120.0)
    tokenizer = TextTokenizer.load(bundled_voice.folder(), 10_000)  # of phonemes, without a phonemizer
    for text, (_, phonemes) in cases.items():
        assert found[text, True] == ids_of(tokenizer, phonemes), text
        assert found[text, False] == ids_of(tokenizer, read(text)) != found[text, True], text
