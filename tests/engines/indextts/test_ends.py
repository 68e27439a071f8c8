"""Refused texts, every way a unit can end, and loading from folders; with random weights."""

import base64
from pathlib import Path

import numpy as np
import pytest

from intone.server.domain import SpeakRequest, SynthesisOptions
from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.pieces import complete
from intone.server.errors import CallerError, CheckpointError, Reason
from tests.support.indextts_files import write_checkpoint
from tests.support.indextts_units import (
    FAST,
    TEXT,
    ScriptedGPT,
    Spoken,
    Subject,
    engine_of,
    features_per_code,
    finish,
    frames_of,
    plan_codes,
    recording,
)

HOP = 256


@pytest.fixture(scope="module")
def trained() -> Subject:
    """Random weights marked as trained, for the guards of trained models."""
    return Subject.build("nano", trained=True)


def scripted(subject: Subject, codes: int, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Spoken:
    """A unit whose model stops after that many codes."""
    script = np.random.default_rng(codes).integers(0, 1024, codes).tolist()
    monkeypatch.setattr(subject.engine, "_gpt", ScriptedGPT(script, width=256))
    return subject.speak(**changes)


# ---- ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["nano", "nano-2"])
def test_a_model_that_stops_at_once_gives_no_audio(size: str) -> None:
    checkpoint = sizes.in_memory(size)
    checkpoint.gpt["mel_head.bias"][checkpoint.config.gpt.stop_code] = 1e4
    engine = engine_of(checkpoint)
    for whole in (False, True):
        state = engine.start(
            SpeakRequest(TEXT, seed=1, voice=complete(engine.prepare_voice(recording())), options=FAST, whole=whole)
        )
        (step,) = engine.step([state])
        assert (step.pcm, step.done, step.cut, state.all_codes) == (None, True, False, [])


@pytest.mark.parametrize("codes", [0, 1, 5, "first - 1", "first", "first + 1", "second", "third", "third + 1"])
def test_a_unit_may_end_anywhere(subject: Subject, codes: int | str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first chunk, at a chunk border and one code after it: all audio is returned."""
    if isinstance(codes, str):
        chunk, _, more = codes.partition(" ")
        number = {"first": 1, "second": 2, "third": 3}[chunk]
        codes = sum(plan_codes(subject, index) for index in range(number)) + int(more.replace(" ", "") or 0)
    options = SynthesisOptions(parameters={**FAST.parameters, "max_audio_ms": 600_000})
    spoken = scripted(subject, codes, monkeypatch, options=options, text=10 * TEXT)
    assert len(spoken.state.all_codes) == codes and spoken.steps[-1].done and not spoken.steps[-1].cut
    assert len(spoken.sound) == HOP * frames_of(codes, features_per_code(subject))
    whole = scripted(subject, codes, monkeypatch, options=options, text=10 * TEXT, whole=True)
    assert whole.sound.shape == spoken.sound.shape and len(whole.chunks) == (codes > 0)
    if codes <= 5:
        assert np.array_equal(whole.sound, spoken.sound)


def test_an_end_at_a_chunk_border_needs_no_further_solve(newer: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first solve already used all codes: its provisional frames are final."""
    first = plan_codes(newer, 0)
    spoken = scripted(newer, first, monkeypatch)
    whole = scripted(newer, first, monkeypatch, whole=True)
    assert len(spoken.chunks) == 2 and spoken.state.acoustic is not None and spoken.state.acoustic.chunks == 1
    assert len(spoken.sound) == len(whole.sound)


def test_repetition_is_cut(trained: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    script = [*range(40), *[7, 8, 9] * 100]
    monkeypatch.setattr(trained.engine, "_gpt", ScriptedGPT(script, width=256))
    spoken = trained.speak()
    assert spoken.steps[-1].done and spoken.steps[-1].cut
    assert 40 + 3 * 25 <= len(spoken.state.all_codes) <= 40 + 3 * 25 + 8 + 1


def test_a_model_that_never_stops_is_cut_by_the_length_guard(trained: Subject) -> None:
    state = trained.engine.start(trained.request("Hi"))
    tokens = len(state.tokenized.ids)
    assert state.max_codes == int((0.8 * tokens + 2.0) * 22050 / 256 / 3.44)
    assert trained.engine.start(trained.request("Hi", options=SynthesisOptions(speed=2.0))).max_codes == state.max_codes
    assert trained.engine.start(trained.request(TEXT * 15)).max_codes == 1815 + 3 - 1


@pytest.mark.parametrize("speed", [None, 0.7, 1.9])
@pytest.mark.parametrize("min_audio_ms", [0, 1, 11, 500, 2000, 4321, 6000])
def test_no_unit_is_shorter_than_min_audio_ms(min_audio_ms: int, speed: float | None) -> None:
    """And not longer than necessary where the model would stop at once."""
    checkpoint = sizes.in_memory("nano")
    checkpoint.gpt["mel_head.bias"][checkpoint.config.gpt.stop_code] = 1e4
    engine = engine_of(checkpoint, trained=True)
    parameters = {**FAST.parameters, "min_audio_ms": min_audio_ms}
    voice, options = complete(engine.prepare_voice(recording())), SynthesisOptions(speed, parameters)
    state = engine.start(SpeakRequest("Hm", seed=1, voice=voice, options=options))
    steps = finish(engine, state)
    sound_ms = 1000 / 22050 * sum(len(step.pcm) for step in steps if step.pcm is not None)
    assert min_audio_ms <= sound_ms < min_audio_ms + 1000 / 22050 * HOP * (3.44 / (speed or 1) + 1)
    assert len(state.all_codes) == state.min_codes and not steps[-1].cut


def test_the_maximum_and_the_model_limit_override_the_minimum(trained: Subject) -> None:
    request = trained.request("Hi", options=SynthesisOptions(parameters={"min_audio_ms": 2000, "max_audio_ms": 1000}))
    assert trained.engine.start(request).max_codes == int(22050 / 256 / 3.44)
    request = trained.request("Hi", options=SynthesisOptions(speed=0.5, parameters={"min_audio_ms": 60_000}))
    state = trained.engine.start(request)
    assert (state.min_codes, state.max_codes) == (752, 752 + 50)  # 60 s of 79.9 ms
    two = Subject.build("nano-2", trained=True)
    state = two.engine.start(two.request("Hi", options=SynthesisOptions(parameters={"min_audio_ms": 60_000})))
    assert state.max_codes == 1817 < state.min_codes


def test_repetition_is_allowed_up_to_the_minimum(trained: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained.engine, "_gpt", ScriptedGPT([7] * 400, width=256))
    options = SynthesisOptions(parameters={**FAST.parameters, "min_audio_ms": 5000})
    spoken = trained.speak(options=options)
    assert 126 <= len(spoken.state.all_codes) <= 126 + 8 and spoken.steps[-1].cut


# ---- text, loading --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " \n ", "…?!", "a" * 601])
def test_unspeakable_text_is_refused(subject: Subject, text: str) -> None:
    with pytest.raises(CallerError) as caught:
        subject.engine.start(subject.request(text))
    assert caught.value.field == "text"
    assert caught.value.reason is (Reason.TEXT_TOO_LONG if len(text) > 600 else Reason.TEXT_UNSPEAKABLE)


def test_a_loaded_checkpoint_speaks_like_the_one_in_memory(tmp_path: Path) -> None:
    checkpoint = sizes.in_memory("nano", seed=3)
    write_checkpoint(tmp_path, checkpoint, sizes.documents("nano"))
    ranks = "".join(f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(256))
    (tmp_path / checkpoint.config.tokenizer_file).write_text(ranks, "ascii")
    progress: list[float] = []
    engines = [IndexTTSEngine.from_folder(tmp_path, progress=progress.append), IndexTTSEngine.random("nano", seed=3)]
    assert progress == sorted(progress) and progress[-1] == 1.0
    assert engines[0].fingerprint != engines[1].fingerprint
    assert [engine.info.model for engine in engines] == ["IndexTTS 2.5", "nano, random weights"]
    sounds = []
    for engine in engines:
        request = SpeakRequest("Hm", seed=1, voice=complete(engine.prepare_voice(recording())), options=FAST)
        sounds.append(np.concatenate([s.pcm for s in finish(engine, engine.start(request)) if s.pcm is not None]))
    assert np.array_equal(*sounds)


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(CheckpointError, match="found size 'giant', expected one of nano, nano-2, 2, 2.5"):
        IndexTTSEngine.random("giant")
