"""Checkpoints whose tokens are phonemes, and checkpoints with a single voice."""

import json

import numpy as np
import pytest

from intone.server.domain import Recording, SpeakRequest, SynthesisOptions
from intone.server.engines import phonemes
from intone.server.engines.phonemes import phonemizer, runs
from intone.server.engines.pieces import complete
from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.text import TextTokenizer
from intone.server.errors import CallerError, CheckpointError, Reason
from tests.support.voxcpm_tiny import random_checkpoint

pytest.importorskip("hibari")


@pytest.fixture(scope="module")
def read():
    return phonemizer("hibari", ("en",))


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Random weights with phonemes, as bytes, and a single voice."""
    return VoxCPMEngine.from_folder(phoneme_checkpoint(tmp_path_factory.mktemp("sounds")), dtype="fp32", threads=1)


@pytest.fixture
def engine_folder(tmp_path):
    return phoneme_checkpoint(tmp_path)


def phoneme_checkpoint(folder):
    """A checkpoint like that of `engine`, on disk."""
    random_checkpoint("nano", folder)
    document = json.loads((folder / "config.json").read_text())
    one_voice = {
        "phonemes": "hibari",
        "clones_voices": False,
        "languages": ["en"],
        "inference_timesteps": 7,
        "guidance": 1,
    }
    (folder / "config.json").write_text(json.dumps({**document, **one_voice}))
    return folder


def test_english(read):
    assert read("Hello there.") == "həlˈO ðˈɛɹ."
    assert read("He read it. I read it, too!") == f"{read('He read it.')} {read('I read it, too!')}"
    assert read("9" * 60) == read(" ".join("9" * 60)) != ""  # beyond the largest number of the phonemizer
    assert read("") == read("你好") == read("…") == ""


@pytest.mark.parametrize("said", ["If so", "If so,", "If so;", "If so -", "If so: ", "If so,”"])
def test_a_full_stop_is_appended(read, said):
    assert read(said) == read("If so.") == "ˌɪf sˌO."
    assert read("If so?")[-1] == "?" and read("If so!")[-1] == "!" and read("Wait...") == "wˈAt..."
    assert phonemizer("hibari", ("en", "zh"))(said) == read(said)


def test_end_marks_of_a_checkpoint():
    read = phonemizer("hibari", ("en",), ends=".?!,")
    assert [read(f"If so{mark}")[-1] for mark in (".", ",", "?", ";", "")] == [".", ",", "?", ".", "."]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("你好，world。再见", [("zh", "你好，"), ("en", "world。"), ("zh", "再见")]),
        ("2026年", [("zh", "2026年")]),
        ("3 apples", [("en", "3 apples")]),
        ("…", [("en", "…")]),
        ("Привет, мир", [("en", "Привет, мир")]),
        ("", []),
    ],
)
def test_text_is_split_by_script(text, pieces):
    assert list(runs(text, {"en": 0, "zh": 0})) == pieces


def test_mandarin_with_tones():
    pytest.importorskip("misaki")
    chinese, both = phonemizer("hibari", ("zh",)), phonemizer("hibari", ("en", "zh"))
    assert chinese("你好。") == both("你好。") == "ni↓xau↓."
    assert both("你好，world。走吧！") == "ni↓xau↓, wˈɜɹld. ʦou↓ pa!"
    assert both("Hello there.") == "həlˈO ðˈɛɹ."
    assert chinese("３") == "sa→n." and both("两个") != ""
    assert chinese("…") == chinese("Hello") == chinese("") == both("……") == ""


def test_a_character_without_a_pronunciation_is_left_out():
    pytest.importorskip("misaki")
    read = phonemizer("hibari", ("en", "zh"))
    assert read("他叫龦，很好。") == read("他叫，很好。") != ""
    assert read("龦兙") == ""


@pytest.mark.parametrize("character", "龦兙兡嗧瓩糎竏兛兣瓱㍿")
def test_rare_characters_fail_nothing(character):
    """Some are in no dictionary of readings; what stands around them is said."""
    pytest.importorskip("misaki")
    read = phonemizer("hibari", ("en", "zh"))
    said = read(f"他叫{character}，很好。")
    assert said.startswith(read("他叫，")[:6]) and said.endswith(read("很好。")[-4:])


def test_words_with_their_sounds():
    pytest.importorskip("misaki")
    read = phonemizer("hibari", ("en", "zh"))
    assert read("I say [tomato](/təˈmɑːtoʊ/) now.") == read("I say tomato now.").replace("təmˈATO", "təmˈɑtO")
    assert read("[重](/chong2/)新") == "ꭧʰʊ↗ŋ ɕi→n."
    assert "nˈIki" in read("我买[Nike](/ˈnaɪki/)。")
    assert phonemizer("hibari", ("en",))("[重](/chong2/)") != ""


def test_a_language_without_its_phonemizer_is_not_offered(engine_folder, monkeypatch, caplog):
    """A missing phonemizer is a warning as long as another language has its own."""
    document = json.loads((engine_folder / "config.json").read_text())
    (engine_folder / "config.json").write_text(json.dumps({**document, "languages": ["en", "zh"]}))
    found = phonemes.find_spec
    monkeypatch.setattr(phonemes, "find_spec", lambda name: None if name == "misaki" else found(name))
    assert VoxCPMEngine.from_folder(engine_folder, dtype="fp32", threads=1).info.languages == ("en",)
    assert "VoxCPM does not speak zh until its phonemizer is installed: pip install 'intone[mandarin]'" in caplog.text
    monkeypatch.setattr(phonemes, "find_spec", lambda name: None)
    assert phonemes.available_languages(("en", "zh")) == ("en", "zh") and phonemes.available_languages(("zh",)) == (
        "zh",
    )


def test_the_tokenizer_gets_phonemes(tmp_path, read):
    random_checkpoint("nano", tmp_path)
    spelling, sounds = (TextTokenizer.load(tmp_path, 512, name, ("en",)) for name in (None, "hibari"))
    assert sounds.ids("Hello there.") == spelling.ids("həlˈO ðˈɛɹ.") != spelling.ids("Hello there.")
    with pytest.raises(CheckpointError, match="phonemes: found 'espeak', expected 'hibari'"):
        TextTokenizer.load(tmp_path, 512, "espeak", ("en",))
    with pytest.raises(CheckpointError, match="languages: found de, expected en and zh with 'hibari'"):
        TextTokenizer.load(tmp_path, 512, "hibari", ("en", "de"))


def test_text_in_other_scripts_is_refused(engine):
    with pytest.raises(CallerError, match="nothing in it to speak in en") as caught:
        engine.start(SpeakRequest(text="你好", seed=1))
    assert caught.value.field == "text"
    assert engine.start(SpeakRequest(text="Well, hello.", seed=1)).prompt


def test_a_single_voice_model_clones_no_voices(engine):
    assert not engine.info.clones_voices
    with pytest.raises(CallerError, match="has one voice and cannot clone another") as caught:
        complete(engine.prepare_voice(Recording(np.zeros(16_000, np.float32), 16_000)))
    assert (caught.value.field, caught.value.reason) == ("audio", Reason.CLONING_UNAVAILABLE)


def test_default_steps_come_from_the_checkpoint(engine):
    assert engine.start(SpeakRequest(text="Hello.", seed=1)).steps == 7
    assert (
        engine.start(SpeakRequest(text="Hello.", seed=1, options=SynthesisOptions(parameters={"steps": 3}))).steps == 3
    )
    assert VoxCPMConfig.from_json(sizes.document("nano")).steps == 10


def test_the_guidance_scale_of_a_distilled_checkpoint(engine):
    """Without guidance the flow needs half the evaluations; a request may ask for it all the same."""
    (told,) = (one for one in engine.info.parameters if one.name == "guidance")
    assert told.default == engine.start(SpeakRequest(text="Hello.", seed=1)).guidance == 1.0
    asked = SpeakRequest(text="Hello.", seed=1, options=SynthesisOptions(parameters={"guidance": 3.0}))
    assert engine.start(asked).guidance == 3.0
    assert VoxCPMConfig.from_json(sizes.document("nano")).guidance == 2.0


WRONG = [
    ("phonemes", 3),
    ("clones_voices", "no"),
    ("temperature", 0),
    ("temperature", 1.1),
    ("inference_timesteps", 0),
    ("guidance", 0),
    ("guidance", 10.5),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_config_keys_are_checked(key, value):
    with pytest.raises(CheckpointError, match=key):
        VoxCPMConfig.from_json({**sizes.document("nano"), key: value})
