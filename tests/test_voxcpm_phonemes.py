"""Checkpoints whose tokens are sounds, and that have one voice of their own."""

import json

import numpy as np
import pytest

from intone.server.domain import Recording, SpeakRequest
from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.phonemes import reading
from intone.server.engines.voxcpm.text import TextTokenizer
from intone.server.errors import CallerError, CheckpointError, Fault

pytest.importorskip("hibari")


@pytest.fixture(scope="module")
def read():
    return reading("hibari")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Random weights that read sounds, byte by byte, and speak with one voice."""
    folder = sizes.random_checkpoint("nano", tmp_path_factory.mktemp("sounds"))
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**document, "phonemes": "hibari", "clones_voices": False}))
    return VoxCPMEngine.load(folder, dtype="fp32", threads=1)


def test_words_become_sounds(read):
    assert read("Hello there.") == "həlˈO ðˈɛɹ."
    assert read("He read it. I read it, too!") == f"{read('He read it.')} {read('I read it, too!')}"
    assert read("9" * 60) == read(" ".join("9" * 60)) != ""  # the dictionary's numbers end
    assert read("") == read("你好") == read("…") == ""


def test_the_tokenizer_is_given_the_sounds(tmp_path, read):
    sizes.random_checkpoint("nano", tmp_path)
    spelling, sounds = (TextTokenizer.load(tmp_path, 512, name) for name in (None, "hibari"))
    assert sounds.ids("Hello there.") == spelling.ids("həlˈO ðˈɛɹ.") != spelling.ids("Hello there.")
    with pytest.raises(CheckpointError, match="phonemes: found 'espeak', expected 'hibari'"):
        TextTokenizer.load(tmp_path, 512, "espeak")


def test_what_cannot_be_read_is_refused_by_field(engine):
    with pytest.raises(CallerError, match="nothing in it to speak in zh or en") as caught:
        engine.start(SpeakRequest(text="你好", seed=1))
    assert caught.value.field == "text"
    assert engine.start(SpeakRequest(text="Well, hello.", seed=1)).prompt


def test_one_voice_clones_no_other(engine):
    assert not engine.info.clones_voices
    with pytest.raises(CallerError, match="has one voice and cannot clone another") as caught:
        engine.prepare_voice(Recording(np.zeros(16_000, np.float32), 16_000))
    assert (caught.value.field, caught.value.fault) == ("audio", Fault.PRECONDITION)


WRONG = [("phonemes", 3), ("clones_voices", "no"), ("temperature", 0), ("temperature", 1.1)]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_the_keys_are_checked(key, value):
    with pytest.raises(CheckpointError, match=key):
        VoxCPMConfig.from_json({**sizes.document("nano"), key: value})
