"""A server without settings, with the voices that are really in the package: who speaks what, at which rate."""

import importlib.util
import itertools

import numpy as np
import pytest

from intone.client import AsyncSpeechClient
from intone.client.events import AudioChunk, Rerouted, Started
from intone.server.engines.voxcpm import bundled_voice
from intone.server.voices.loudness import loudness_db
from tests.support import real_server

pytestmark = pytest.mark.slow


MIXED = "Good morning to you all. 早上好，很高兴认识你们，今天天气真好，我们出去走走吧。 How are you today?"
"""Sentences that are each long enough for a unit of their own."""


@pytest.fixture(scope="module")
def address(require, tmp_path_factory):
    require("nano", bundled_voice.folder(), "no voice comes with this package yet")
    for package, extra in (("hibari", "starter"), ("misaki", "mandarin")):
        require(extra, importlib.util.find_spec(package), f"{package} is not installed: pip install 'intone[{extra}]'")
    with real_server.serving(tmp_path_factory.mktemp("server"), "--no-fillers", "--threads", "1") as address:
        yield address


def said(run, address, text):
    """The speech, and its parts with the engine of each."""

    async def main():
        async with AsyncSpeechClient(address) as client:
            words = (word + " " for word in text.split())
            return await client.say(words, seed=1, filler="off", encoding="pcm_f32le")

    speech = run(main(), timeout_s=60.0)
    assert not speech.notices
    parts, engine = [], ""
    for event in speech.events:
        if isinstance(event, Started | Rerouted):
            engine = event.route.engine
        elif isinstance(event, AudioChunk) and event.kind == "speech":
            parts.append((engine, event.samples))
    return speech, parts


def test_who_speaks(run, address):
    """English is the starter voice's until nano is as good, Mandarin and mixed sentences are nano's."""
    leads = not bundled_voice.better_engines("", random_weights=False)
    english = "voxcpm" if leads else "starter"

    async def main():
        async with AsyncSpeechClient(address) as client:
            return await client.server_info()

    info = run(main())
    assert [engine.name for engine in info.engines][0] == english
    assert info.default_sample_rate_hz == info.engines[0].sample_rate_hz
    for text, engines in (
        ("My number is 415-555-0142.", [english]),
        ("早上好，很高兴认识你。", ["voxcpm"]),
        ("The word 你好 means hello.", ["voxcpm"]),
        (MIXED, ["voxcpm"] if leads else ["starter", "voxcpm", "starter"]),
    ):
        speech, parts = said(run, address, text)
        found = [engine for engine, _ in itertools.groupby(parts, key=lambda part: part[0])]
        assert (found, speech.sample_rate_hz) == (engines, info.default_sample_rate_hz), text
        assert np.abs(speech.samples).max() > 0.02


def test_the_packaged_voices_can_be_asked_for_by_name(run, address):
    """ListVoices names them; their engine speaks, whatever speaks plainly; another language is told to be another's."""

    async def main():
        async with AsyncSpeechClient(address) as client:
            listed = await client.voices.list()
            spoken = [await client.say("Good morning.", voice=name) for name in ("starter", "nano")]
            return listed, spoken, await client.say("早上好，很高兴认识你。", voice="starter")

    listed, spoken, mandarin = run(main(), timeout_s=60.0)
    assert [(voice.name, voice.built_in) for voice in listed] == [(n, True) for n in ("default", "nano", "starter")]
    fidelity = {voice.name: {one.engine: one.fidelity for one in voice.engines} for voice in listed}
    assert fidelity["starter"] == {"starter": "native", "voxcpm": "substituted"}
    assert fidelity["nano"] == {"starter": "substituted", "voxcpm": "native"}
    assert [(one.started.voice, one.started.route.engine) for one in spoken] == [
        ("starter", "starter"),
        ("nano", "voxcpm"),
    ]
    assert not spoken[0].notices and not spoken[1].notices
    assert mandarin.started.voice == "default"
    assert [notice.code for notice in mandarin.notices] == ["voice_substituted"]


@pytest.mark.parametrize(
    "text",
    [
        "他的名字叫龦，是罕见字。",  # has a character without a known sound
        "你好，今天下雨。",  # behind it: the engine goes on
        "<thinking>The user greets me.</thinking>Hello there.",
        "Visit example.com.",
    ],
)
def test_texts_that_once_failed_are_spoken(run, address, text):
    speech, _ = said(run, address, text)
    assert speech.done.reason == "completed" and 0.5 < len(speech.samples) / speech.sample_rate_hz < 4


def test_a_change_of_language_neither_clicks_nor_jumps_in_level(run, address):
    """Both voices at one rate: no step between units, and no more than sentences differ in loudness."""
    speech, parts = said(run, address, MIXED)
    samples, rate_hz = speech.samples, speech.sample_rate_hz
    steps = np.abs(np.diff(samples))
    frame = rate_hz // 50
    levels = np.sqrt(np.mean(samples[: len(samples) // frame * frame].reshape(-1, frame) ** 2, axis=1))
    quiet = np.repeat(levels < 1e-3, frame)[: len(steps)]
    assert quiet.any() and steps[: len(quiet)][quiet].max() < 0.01
    spoken = {}
    for engine, part in parts:
        spoken.setdefault(engine, []).append(part)
    levels_db = [loudness_db(np.concatenate(pieces), rate_hz) for pieces in spoken.values()]
    assert max(levels_db) - min(levels_db) < 5.0, levels_db
