"""Audio of conversations with real engines: the join of filler and speech, and equal loudness of two engines."""

import dataclasses
import importlib.util
import time
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest

from intone.proto import audio_pb2, emotion_pb2, speech_pb2, voice_pb2
from intone.server.app import serving
from intone.server.config import Config
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.starter.engine import StarterEngine
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.voices.loudness import loudness_db
from tests.support.indextts_units import recording, sound_file
from tests.support.live_server import Live, chunks, messages_of, samples

pytestmark = pytest.mark.slow
RATE_HZ = 24_000
FORMAT = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_PCM_F32LE, sample_rate_hz=RATE_HZ)
SPEECH, FILLER = speech_pb2.AUDIO_KIND_SPEECH, speech_pb2.AUDIO_KIND_FILLER


@asynccontextmanager
async def server(engines, **settings):
    """A server with real engines."""
    config = Config.of(port=0, **settings)
    async with (
        serving(config, engines=engines) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        yield Live(app, channel, None)


class SlowStarter:
    """The starter engine with a delay that a test sets."""

    def __init__(self):
        self._engine = StarterEngine.packaged(threads=1)
        self.delay_s = 0.0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def start(self, request):
        time.sleep(self.delay_s)
        return self._engine.start(request)


def jump(audio):
    """Largest difference between consecutive samples; a click has a larger one than speech."""
    return float(np.abs(np.diff(audio)).max(initial=0.0))


def test_a_filler_joins_speech_without_a_click(run, require):
    require("starter", importlib.util.find_spec("hibari"), "hibari-tts is not installed: pip install 'intone[starter]'")

    async def main():
        engine = SlowStarter()
        async with server({"starter": lambda: engine}, filler_threshold_ms=100, match_loudness=False) as live:
            await live.app.background_renderer.wait_idle()
            engine.delay_s = 0.5
            turns = []
            text = "The train to the coast leaves at half past nine from the second platform."
            for turn in range(6):
                talk = await live.talk(format=FORMAT)  # a new stream: during earlier speech there is no wait
                await talk.start(f"u{turn}", seed=0)
                await talk.say(f"u{turn}", text)
                turns.append(await talk.until("done"))
            plain = await live.talk(format=FORMAT)
            await plain.start("u", filler=speech_pb2.FILLER_POLICY_OFF, seed=0)
            await plain.say("u", text)
            return turns, samples(await plain.until("done"))

    turns, plain = run(main(), timeout_s=120.0)
    assert all(done.usage.filler_count for answers in turns for done in messages_of(answers, "done"))
    for answers in turns:
        pieces = [(chunk.kind, np.frombuffer(chunk.data, "<f4")) for chunk in chunks(answers)]
        speech = np.concatenate([piece for kind, piece in pieces if kind == SPEECH])
        np.testing.assert_array_equal(speech, plain)  # a filler does not change the speech
        whole = np.concatenate([piece for _, piece in pieces])
        first_speech = sum(len(piece) for _, piece in pieces[: [kind for kind, _ in pieces].index(SPEECH)])
        assert jump(whole[: first_speech + RATE_HZ // 100]) <= jump(plain), "a click where filler and speech meet"
        filler = np.concatenate([piece for kind, piece in pieces if kind == FILLER])
        assert abs(filler[-1]) < 2e-3 and np.abs(filler).max() > 0.02, "it is audible and ends in silence"


class QuietIndexTTS(IndexTTSEngine):
    """10 dB quieter, so that loudness matching has something to do whatever the random weights sound like."""

    def step(self, states):
        return [
            step if step.pcm is None else dataclasses.replace(step, pcm=step.pcm * np.float32(0.316))
            for step in super().step(states)
        ]


def test_a_switch_of_engines_does_not_change_the_loudness(run):
    engines = {"voxcpm": lambda: VoxCPMEngine.random("nano"), "indextts": lambda: QuietIndexTTS.random("nano")}
    happy = emotion_pb2.Emotion(label="happy", intensity=0.6)

    async def upload():
        yield voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name="anna", transcript="Some words."))
        yield voice_pb2.CreateVoiceRequest(audio=sound_file(recording(1.5)))

    async def main():
        async with server(engines, fillers=False, default_engine="voxcpm") as live:
            await live.voices.CreateVoice(upload())
            await live.app.background_renderer.wait_idle()
            defaults = {"voice": "anna", "engine_parameters": {"max_audio_ms": 3000, "steps": 10}}
            talk = await live.talk(format=FORMAT, defaults=defaults)
            spoken = {"voxcpm": [], "indextts": []}
            for turn, text in enumerate(["It is half past nine.", "The bus is late.", "We meet at the station."]):
                for emotion in (None, happy):
                    await talk.start(f"u{turn}{emotion is None}", emotion=emotion)
                    await talk.say(f"u{turn}{emotion is None}", text)
                    answers = await talk.until("done")
                    (started,) = messages_of(answers, "started")
                    assert not messages_of(answers, "rerouted")
                    spoken[started.route.engine].append(samples(answers))
            levels = live.app.store.get("anna").levels
            return {name: loudness_db(np.concatenate(audio), RATE_HZ) for name, audio in spoken.items()}, levels

    found_db, levels = run(main(), timeout_s=300.0)
    apart_db = abs(levels["voxcpm"].loudness_db - levels["indextts"].loudness_db)
    assert apart_db > 5, "the two engines would be equally loud without matching"
    assert found_db["voxcpm"] == pytest.approx(found_db["indextts"], abs=1.0)
