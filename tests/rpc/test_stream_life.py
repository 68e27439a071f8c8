"""The life of a stream over real gRPC: `configured` first, then `finish` or half-close, and `closed` last."""

import time
from importlib.metadata import version

from grpc import StatusCode

from intone.proto import audio_pb2, speech_pb2
from intone.server.conversation.session import Session
from intone.server.rpc.wire import requests
from tests.support.fakes import RATE_HZ, SAMPLES_PER_CHARACTER
from tests.support.live_server import GatedEngine, chunks, codes_of, live, messages_of, spoken
from tests.support.rpc_status import code_and_field, failed, reason_of, status_of

MS = RATE_HZ // 1000
ONE_SECOND = "twenty characters of"


def kinds(answers):
    return [kind for kind, _ in answers]


# ---- configured -----------------------------------------------------------------------------------------------------


def test_an_empty_config_is_answered_with_the_servers_defaults(run):
    async def main():
        async with live(max_lead_ms=700, idle_timeout_s=60, text_timeout_ms=1234, max_open_utterances=5) as server:
            talk = server.open()
            await talk.send(config=speech_pb2.StreamConfig())
            kind, configured = await talk.answer()
            assert kind == "configured"
            assert len(configured.stream_id) == 16 and configured.server_version == version("intone")
            assert configured.format == audio_pb2.AudioFormat(
                encoding=audio_pb2.AUDIO_ENCODING_PCM_S16LE, sample_rate_hz=RATE_HZ
            )
            assert configured.defaults == speech_pb2.SpeechSettings(
                voice="default",
                filler=speech_pb2.FILLER_POLICY_AUTO,
                text_format=speech_pb2.TEXT_FORMAT_TAGS,
                normalization=speech_pb2.SWITCH_ON,
            )
            limits = configured.limits
            assert (limits.max_lead_ms, limits.idle_timeout_ms, limits.text_timeout_ms) == (700, 60_000, 1234)
            assert limits.max_open_utterances == 5 and limits.max_text_characters == 16_384
            assert limits.max_utterance_characters == 131_072
            assert limits.max_clip_bytes == 2 << 20 and limits.max_message_bytes == 3 << 20
            told = await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())
            assert limits == told.limits.stream and configured.features == told.features == [
                "pronunciations",
                "ssml",
                "resume",
            ]

    run(main())


def test_every_stream_has_an_id_of_its_own_which_is_in_the_log_with_its_labels(run, caplog):
    caplog.set_level("INFO", "intone")

    async def main():
        async with live() as server:
            ids = set()
            for number in range(5):
                talk = server.open()
                ids.add((await talk.configure(labels={"call": f"c{number}"})).stream_id)
                await talk.say("u", "secret words")
                await talk.finish()
                await talk.interrupt()
                await talk.rest()
            return ids

    ids = run(main())
    assert len(ids) == 5
    opened = [record.fields for record in caplog.records if record.getMessage() == "stream opened"]
    assert {fields["stream"] for fields in opened} == ids and "secret" not in caplog.text
    assert [fields["labels"] for fields in opened] == [{"call": f"c{number}"} for number in range(5)]


def test_settings_of_the_config_are_answered_as_they_will_count(run):
    async def main():
        async with live() as server:
            talk = server.open()
            given = speech_pb2.SpeechSettings(
                language="de",
                engine="starter",
                filler=speech_pb2.FILLER_POLICY_OFF,
                text_format=speech_pb2.TEXT_FORMAT_PLAIN,
                pronunciations=[speech_pb2.Pronunciation(word="Ada", ipa="ˈeɪdə", language="en")],
                speed=1.5,
                volume_db=-6,
                seed=2**53 - 1,
            )
            given.emotion.weights.sad = 0.25
            configured = await talk.configure(defaults=given, max_lead_ms=3000)
            expected = speech_pb2.SpeechSettings(voice="default", normalization=speech_pb2.SWITCH_ON)
            expected.MergeFrom(given)
            assert configured.defaults == expected and configured.limits.max_lead_ms == 3000

    run(main())


def test_a_stream_that_is_offline_has_no_lead_limit(run):
    async def main():
        async with live(max_lead_ms=200) as server:
            talk = server.open()
            configured = await talk.configure(service_class=speech_pb2.SERVICE_CLASS_OFFLINE)
            assert not configured.limits.HasField("max_lead_ms")
            began_s = time.monotonic()
            await talk.say("u", "some words that take long to speak " * 10)
            answers = await talk.until("done")
            assert answers[-1][1].sample_count > 15 * RATE_HZ and time.monotonic() - began_s < 5
            await talk.finish()  # nobody listens, so there is nothing to wait for
            assert kinds(await talk.rest()) == ["closed"] and time.monotonic() - began_s < 5

    run(main())


def test_word_times_that_the_server_does_not_have_are_told_at_once(run):
    async def main():
        async with live() as server:
            talk = await server.talk(timings=speech_pb2.TIMING_KIND_ALIGNED)
            assert codes_of([await talk.answer()]) == ["FEATURE_UNAVAILABLE"]
            await talk.prove_alive()

    run(main())


# ---- finish ---------------------------------------------------------------------------------------------------------


def test_finish_lets_everything_be_spoken_and_played(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            began_s = time.monotonic()
            await talk.say("u", ONE_SECOND)
            await talk.say("v", "ten chars.")
            await talk.finish()
            answers = await talk.rest()
            assert time.monotonic() - began_s > 1.5
            assert (spoken(answers, "u"), spoken(answers, "v")) == (ONE_SECOND, "ten chars.")
            usage = answers[-1][1].usage
            assert usage == speech_pb2.Usage(characters=30, spoken_characters=30, speech_ms=1500, unit_count=2)

    run(main())


def test_an_interrupt_is_honoured_until_everything_was_heard(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "a text of forty characters, to be stopped")
            await talk.finish()
            await talk.until("done")
            began_s = time.monotonic()
            await talk.interrupt("u", interrupt_id="i", played=("u", 7 * SAMPLES_PER_CHARACTER))
            answers = await talk.rest()
            assert kinds(answers) == ["interrupted", "closed"] and time.monotonic() - began_s < 1.0
            (cut,) = answers[0][1].cuts
            assert cut.heard_text + cut.unheard_text == "a text of forty characters, to be stopped"
            assert cut.heard_text == "a text "

    run(main())


def test_a_reported_position_at_the_end_finishes_the_stream_at_once(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", ONE_SECOND * 5)
            await talk.finish()
            done = (await talk.until("done"))[-1][1]
            began_s = time.monotonic()
            await talk.playback("u", done.sample_count)
            assert kinds(await talk.rest()) == ["closed"] and time.monotonic() - began_s < 2.0

    run(main())


def test_after_finish_open_utterances_get_more_text_and_no_new_one_starts(run):
    async def main():
        async with live(wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.say("u", "Half of it ", end=False)
            await talk.finish()
            await talk.finish()  # a second one does no harm
            await talk.start("late")
            await talk.say("later", "Too late.")
            answers = await talk.until("done", "later")
            assert kinds(answers) == ["done", "done"]
            for _, done in answers:
                assert done.reason == speech_pb2.DONE_REASON_REJECTED
                assert code_and_field(done.error)[0] is StatusCode.FAILED_PRECONDITION
                assert reason_of(done.error) == "FINISHING"
            await talk.say("u", "and the rest")
            assert spoken(await talk.rest(), "u") == "Half of it and the rest"

    run(main())


def test_text_that_never_ends_does_not_keep_a_stream_that_is_finishing(run):
    async def main():
        async with live(wait_ms=60_000, text_timeout_ms=300) as server:
            talk = await server.talk()
            await talk.say("u", "never ended", end=False)
            await talk.finish()
            answers = await talk.rest()
            assert codes_of(answers, "u") == ["TEXT_TIMEOUT"] and spoken(answers) == "never ended"

    run(main())


def test_an_idle_stream_finishes_at_once(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.finish()
            assert await talk.rest() == [("closed", speech_pb2.Closed(status={}, usage={}))]

    run(main())


def test_half_close_sends_all_audio_and_does_not_wait_for_playback(run):
    async def main():
        async with live(max_lead_ms=60_000) as server:
            talk = await server.talk()
            await talk.say("u", ONE_SECOND * 5)
            await talk.half_close()
            began_s = time.monotonic()
            answers = await talk.rest()
            assert time.monotonic() - began_s < 3 and spoken(answers) == ONE_SECOND * 5
            assert answers[-1][1].usage.speech_ms == 5000

    run(main())


def test_what_was_held_back_after_a_report_is_sent_after_half_close(run):
    """No further report can come: playback then runs in real time."""

    async def main():
        async with live() as server:
            talk = await server.talk(max_lead_ms=200)
            await talk.say("u", ONE_SECOND)
            await talk.until("audio")
            await talk.playback("u", 0)
            await talk.half_close()
            answers = await talk.rest()
            assert messages_of(answers, "done")[0].sample_count == len(ONE_SECOND) * SAMPLES_PER_CHARACTER

    run(main())


# ---- other ends -----------------------------------------------------------------------------------------------------


def test_usage_of_a_stream_is_the_sum_of_its_utterances(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("spoken", "Hello there. And to you.")
            await talk.say("empty", "?!")
            await talk.say("refused", "\a")
            await talk.say("cut", "This will be cut short, it is far too long to be spoken " * 10)
            answers = await talk.until("audio", "cut")
            await talk.interrupt()
            await talk.finish()
            answers += await talk.rest()
            total = speech_pb2.Usage()
            for done in messages_of(answers, "done"):
                for field, value in done.usage.ListFields():
                    setattr(total, field.name, getattr(total, field.name) + value)
            usage = answers[-1][1].usage
            assert abs(usage.speech_ms - total.speech_ms) <= 2  # each is rounded
            usage.speech_ms = total.speech_ms
            assert usage == total and total.characters > 500 and total.speech_ms >= 1200

    run(main())


def test_a_bug_of_the_server_is_told_as_such_without_its_words(run, monkeypatch, caplog):
    async def main():
        async with live() as server:
            talk = await server.talk()
            monkeypatch.setattr(requests, "client_event", lambda message, defaults: {}["secret"])
            await talk.say("u", "Hello.")
            answers, error = await talk.answers_and_failure()
            assert kinds(answers) == ["closed"] and error.code() is StatusCode.INTERNAL
            assert reason_of(status_of(error)) == "INTERNAL" and "secret" not in (error.details() or "")
            monkeypatch.undo()
            await (await server.talk()).prove_alive()

    run(main())
    assert "secret" in caplog.text


def test_a_bug_met_while_an_event_leaves_is_told_by_the_status_too(run, monkeypatch, caplog):
    def fails(session, end):
        raise KeyError("secret")

    async def main():
        async with live() as server:
            monkeypatch.setattr(Session, "_send_end", fails)
            talk = await server.talk()
            await talk.say("u", "Hello.")
            answers, error = await talk.answers_and_failure()  # `closed` says the same
            assert error.code() is StatusCode.INTERNAL and "secret" not in (error.details() or "")
            assert kinds(answers)[-1] == "closed" and "done" not in kinds(answers)

    run(main())


def test_an_unread_stream_holds_nobody(run):
    async def main():
        async with live() as server:
            unread = await server.talk(max_lead_ms=600_000)
            await unread.say("u", "some words that take long to speak " * 100)
            began_s = time.monotonic()
            await (await server.talk()).prove_alive()
            assert time.monotonic() - began_s < 5
            unread.call.cancel()

    run(main())


# ---- one text -------------------------------------------------------------------------------------------------------


def test_a_call_with_one_text_begins_with_configured_and_ends_with_done(run):
    async def main():
        async with live() as server:
            call = server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Hello there."))
            answers = [answer async for answer in call]
            found = [answer.WhichOneof("response") for answer in answers]
            assert found[:2] == ["configured", "started"] and found[-1] == "done" and found.count("done") == 1
            assert set(found) == {"configured", "started", "audio", "done"}
            assert not answers[0].configured.limits.HasField("max_lead_ms")
            assert await call.code() is StatusCode.OK

    run(main())


def test_the_limit_of_one_text_is_that_of_an_utterance(run):
    async def main():
        async with live(max_utterance_characters=1000, max_text_characters=200) as server:
            call = server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="x " * 500))
            assert [answer async for answer in call][-1].done.usage.characters == 1000
            error = await failed(server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="x" * 1001)))
            assert reason_of(status_of(error)) == "TEXT_TOO_LONG"

    run(main())


def test_the_rate_is_known_before_any_text_was_routed(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                talk = server.open()
                configured = await talk.configure(format=audio_pb2.AudioFormat())
                assert configured.format.sample_rate_hz == RATE_HZ
                await talk.say("u", "Hello.")
                assert kinds(await talk.until("started")) == ["started"]
            finally:
                engine.open()
            assert chunks(await talk.until("done"))

    run(main())
