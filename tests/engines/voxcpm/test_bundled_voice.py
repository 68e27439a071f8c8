"""The bundled voice: which engines are loaded by default when it is good, when it is poor, and when there is none."""

import importlib.util

import grpc
import numpy as np
import pytest

from intone.proto import speech_pb2
from intone.server.app import serving
from intone.server.config import Config
from intone.server.engines.voxcpm import bundled_voice
from intone.server.engines.voxcpm.weights import read_checkpoint
from intone.server.errors import CheckpointError, ConfigError
from intone.server.runtime.loading import loaders
from tests.support.live_server import Live, chunks, codes_of, messages_of, samples
from tests.support.trained_voice import BAD, GOOD, LEADING, write_voice

MAX_BYTES = 20e6


@pytest.fixture
def voice(monkeypatch, tmp_path):
    """`voice(card)` puts a voice with this card into the package; returns its folder."""
    monkeypatch.setattr(bundled_voice, "FOLDER", tmp_path / "nano")
    return lambda card=None: write_voice(tmp_path / "nano", card=card)


def loaded(**settings):
    return list(loaders(Config.of(**settings)))


def spoken(**languages):
    return {"languages": languages}


def test_without_a_bundled_voice(voice):
    assert bundled_voice.folder() is None and loaded() == ["starter"]
    with pytest.raises(ConfigError, match="no engine to load"):
        loaders(Config.of(starter=False))
    with pytest.raises(CheckpointError, match="there is no folder nano"):
        loaders(Config.of(voxcpm="nano"))["voxcpm"]()


def test_a_good_voice_is_loaded_by_default(voice):
    voice(GOOD)
    assert loaded() == loaded(default_engine="voxcpm") == ["starter", "voxcpm"]
    assert loaded(starter=False) == ["voxcpm"]
    assert loaded(indextts="folder") == ["starter", "voxcpm", "indextts"]
    assert loaded(default_engine="starter") == ["starter"]
    beside_noise = Config.of(indextts="nano", random_weights=True, threads=1)
    assert list(loaders(beside_noise)) == ["starter", "voxcpm", "indextts"]
    assert loaders(beside_noise)["voxcpm"]().info.trained


@pytest.mark.parametrize(
    ("card", "settings", "first"),
    [
        (GOOD, {}, "starter"),
        (GOOD, {"voxcpm": "nano"}, "starter"),
        (spoken(en={"wer": 0, "mos": 4.25, "digits": 1.0}), {}, "starter"),
        (spoken(en={"wer": 0, "mos": 4.26, "digits": 0.94}), {}, "starter"),
        (spoken(en={"wer": 0, "mos": 5}), {}, "starter"),  # how it reads digits was not measured
        (spoken(en={"wer": 0, "mos": 4.26, "digits": 0.95}), {}, "voxcpm"),
        (LEADING, {}, "voxcpm"),
        (LEADING, {"engine_order": "starter"}, "starter"),
        (GOOD, {"engine_order": "voxcpm"}, "voxcpm"),
        (GOOD, {"voxcpm": "folder"}, "voxcpm"),
        (GOOD, {"voxcpm": "nano", "random_weights": True}, "voxcpm"),
    ],
)
def test_which_of_the_packaged_voices_comes_first(voice, card, settings, first):
    """The starter voice before VoxCPM's, until that is as good in English. A checkpoint of the user's comes first."""
    voice(card)
    other = {"starter": "voxcpm", "voxcpm": "starter"}[first]
    assert loaded(**settings) == [first, other]


def test_it_is_not_loaded_by_default_without_its_phonemizer(voice, monkeypatch):
    """A server of IndexTTS does not need the extra `starter`."""
    voice(GOOD)
    monkeypatch.setattr(bundled_voice, "find_spec", lambda name: None)
    assert loaded() == ["starter"] and loaded(indextts="folder", starter=False) == ["indextts"]
    assert loaded(voxcpm="nano") == ["starter", "voxcpm"]  # named, so loading it raises an error


def test_a_poor_voice_is_loaded_only_by_name(voice):
    voice(BAD)
    assert loaded() == ["starter"]
    with pytest.raises(ConfigError, match="default_engine names voxcpm, which is not loaded: give --voxcpm MODEL"):
        loaded(default_engine="voxcpm")
    assert loaded(voxcpm="nano") == ["starter", "voxcpm"]
    engine = loaders(Config.of(voxcpm="nano", threads=1))["voxcpm"]()
    assert engine.info.trained and engine.info.languages == ("en",)
    untrained = loaders(Config.of(voxcpm="nano", random_weights=True, threads=1))["voxcpm"]()
    assert untrained.info.model == "nano, random weights"


@pytest.mark.parametrize(
    ("card", "good"),
    [
        (GOOD, True),
        (spoken(en={"wer": 0, "mos": 5}), True),
        (spoken(en={"wer": 0.1, "mos": 5}), False),
        (spoken(en={"wer": 0, "mos": 3.5}), False),
        (spoken(en={"wer": 0.0999, "mos": 3.51}), True),
        (spoken(en={"wer": 0, "mos": 5}, zh={"cer": 0.5, "mos": 2}), True),  # the only voice in Chinese
        (spoken(en={"wer": 0.1, "mos": 5}, zh={"cer": 0, "mos": 5}), False),
        (spoken(zh={"cer": 0, "mos": 5}), False),
    ],
)
def test_quality_thresholds(voice, card, good):
    assert bundled_voice.good_enough(voice(card)) is good


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (None, "cannot read .*card.json"),
        ([], "card.json: found list, expected an object"),
        ({"wer": 0.1, "mos": 4}, "card.json: languages: found None, expected an object"),
        (spoken(), "card.json: languages: found {}, expected an object of one or more"),
        (spoken(en=0.1), r"languages\.en\.wer: found None, expected a number"),
        (spoken(en={"wer": 0.1}), r"languages\.en\.mos: found None, expected a number"),
        (spoken(zh={"wer": 0.1, "mos": 4}), r"languages\.zh\.cer: found None, expected a number"),
        (spoken(en={"wer": "0.1", "mos": 4}), "wer: found '0.1', expected a number"),
        (spoken(en={"wer": True, "mos": 4}), "wer: found True"),
        (spoken(en={"wer": -0.1, "mos": 4}), "wer: found -0.1"),
        (spoken(en={"wer": 0.1, "mos": float("nan")}), "mos: found nan"),
        (spoken(en={"wer": 0.1, "mos": 4, "digits": "all"}), "digits: found 'all'"),
    ],
)
def test_an_invalid_card_is_refused(voice, card, words):
    voice(card)
    with pytest.raises(CheckpointError, match=words):
        loaders(Config())


def test_a_server_without_settings_speaks_with_a_leading_voice(voice, run, require):
    require("starter", importlib.util.find_spec("hibari"), "hibari-tts is not installed: pip install 'intone[starter]'")
    voice(LEADING)

    async def main():
        # On a thread: the process of an engine would load the voice that is really in the package.
        config = Config(port=0, threads=1, processes=False, fillers=False, match_loudness=False)
        async with serving(config) as app, grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
            live = Live(app, channel, None)
            info = await live.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())
            talk = await live.talk()
            said = []
            for name, text in (("u1", "He came."), ("u2", "你好。")):
                await talk.start(name, engine_parameters={"max_audio_ms": 320, "steps": 2})
                await talk.say(name, text)
                said.append(await talk.until("done"))
            return info, said

    info, (english, chinese) = run(main(), timeout_s=120.0)
    assert [(engine.name, list(engine.languages)) for engine in info.engines] == [
        ("voxcpm", ["en"]),
        ("starter", ["en"]),
    ]
    assert {message.route.engine for message in messages_of(english, "started")} == {"voxcpm"} and chunks(english)
    assert not messages_of(english, "rerouted")
    assert np.abs(samples(english)).max() > 0
    assert codes_of(english) == ["AUDIO_CUT"]
    words = " ".join(notice.message for notice in messages_of(chinese, "notice"))
    assert "does not speak 'zh'" in words


def test_the_bundled_voice_is_small_and_its_card_complete(require):
    folder = require("nano", bundled_voice.folder(), "no voice comes with this package yet")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MAX_BYTES
    card, checkpoint, page = (
        bundled_voice.read_card(folder),
        read_checkpoint(folder),
        (folder / "README.md").read_text("utf8"),
    )
    assert card["fingerprint"] == checkpoint.fingerprint
    assert tuple(card["languages"]) == checkpoint.config.languages
    for language, figures in card["languages"].items():
        assert 0 <= figures["per"] <= 1
        assert f"{100 * figures[bundled_voice.error_of(language)]:.1f}" in page
