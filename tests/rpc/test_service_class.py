"""Live and offline streams beside a busy engine, over real gRPC: only a live stream avoids it."""

import asyncio
import contextlib

import grpc

from intone.proto import emotion_pb2, speech_pb2
from intone.server.app import serving
from intone.server.config import Config
from tests.support.fakes import Script, ScriptedEngine, info
from tests.support.live_server import F32, GatedEngine, Live, codes_of, kind_and_message, messages_of, soon, spoken

ANGRY = emotion_pb2.Emotion(label="angry")
BUSY, STRONG = speech_pb2.ROUTE_REASON_BUSY, speech_pb2.ROUTE_REASON_STRONG_EMOTION


@contextlib.asynccontextmanager
async def two_engines():
    """A server with a quick engine of plain speech, and a slow one that voices emotion and waits at its gate."""
    plain = ScriptedEngine(info=info("voxcpm"))
    emotional = GatedEngine(Script(first_s=0.3), info=info("indextts", voices_emotion=True))
    config = Config.of(port=0, busy_ms=200, pause_scale=0.0, fillers=False, match_loudness=False)
    engines = {"voxcpm": lambda: plain, "indextts": lambda: emotional}
    try:
        async with (
            serving(config, engines=engines) as app,
            grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        ):
            yield Live(app, channel, emotional)
    finally:
        emotional.open()


async def say(talk, name, **settings):
    await talk.start(name, **settings)
    await talk.say(name, "This is what is said.")


def test_only_a_live_stream_avoids_a_busy_engine(run):
    async def main():
        async with two_engines() as server:
            first = await server.talk()
            await say(first, "plain")
            await first.until("done")
            server.engine.gate.release(100)  # both have been measured after this
            await say(first, "angry", emotion=ANGRY)
            assert messages_of(await first.until("done"), "started")[0].route.reason == STRONG
            while server.engine.gate.acquire(blocking=False):
                pass
            await say(first, "keeps the engine busy", emotion=ANGRY)
            await first.until("started")
            live = await server.talk()
            await say(live, "u", emotion=ANGRY)
            answers = await live.until("done")
            (started,) = messages_of(answers, "started")
            assert (started.route.engine, started.route.reason) == ("voxcpm", BUSY)
            assert codes_of(answers) == ["ENGINE_SUBSTITUTED", "EMOTION_NOT_VOICED"]
            offline = await server.talk(service_class=speech_pb2.SERVICE_CLASS_OFFLINE)
            await say(offline, "u", emotion=ANGRY)
            settings = speech_pb2.SpeechSettings(emotion=ANGRY)
            request = speech_pb2.SynthesizeRequest(text="All of it. In this voice.", config={"defaults": settings})
            request.config.format.CopyFrom(F32)
            call = server.speech.Synthesize(request)
            reading = asyncio.ensure_future(_read(call))
            await soon(lambda: server.jobs == 3, "all three wait for the engine")
            server.engine.open()
            for answers in (await offline.until("done"), await reading):
                (started,) = messages_of(answers, "started")
                assert (started.route.engine, started.route.reason) == ("indextts", STRONG)
                assert not messages_of(answers, "rerouted") and codes_of(answers) == []
            assert spoken(answers) == "All of it.In this voice."

    run(main())


async def _read(call):
    return [kind_and_message(answer) async for answer in call]
