"""IndexTTS as an engine: chunks, batches, seeds, emotions, lengths, voices, ends. All with random weights."""

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from indextts_files import write_checkpoint
from indextts_tiny import weights
from indextts_units import (
    CLOSE,
    FAST,
    TEXT,
    ScriptedWriter,
    Spoken,
    Subject,
    checkpoint_of,
    engine_of,
    finish,
    frames_of,
    recording,
    sound_file,
)

from intone.server.domain import EMOTIONS, Emotion, Options, Samples, SpeakRequest, Step
from intone.server.engines.indextts import sizes
from intone.server.engines.indextts.acoustic import AcousticModel, AcousticSettings
from intone.server.engines.indextts.bigvgan import BigVGAN
from intone.server.engines.indextts.config import Variant
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.indextts.gpt import GPT
from intone.server.engines.indextts.sampling import Sampling, Settings, cut, draw, seen_at_start, uniforms
from intone.server.engines.indextts.state import IndexTTSState
from intone.server.engines.indextts.streaming import ChunkPlan
from intone.server.engines.indextts.voice import speaker_of
from intone.server.errors import CallerError, CheckpointError, Fault
from intone.server.voices import build_voice, from_file, to_bytes

HOP = 256
STAGES = {"gpt_gen_time", "s2mel_time", "bigvgan_time"}
ANGRY = Emotion(tuple(float(name == "angry") for name in EMOTIONS), 1.0)


@pytest.fixture(scope="module", params=["nano", "nano-2"])
def subject(request: pytest.FixtureRequest) -> Subject:
    return Subject.build(request.param)


@pytest.fixture(scope="module")
def newer() -> Subject:
    return Subject.build("nano")


@pytest.fixture(scope="module")
def trained() -> Subject:
    """It is not, but is taken for it: its guards are those of trained models."""
    return Subject.build("nano", trained=True)


def features_per_code(subject: Subject) -> int:
    return 2 if subject.size == "nano" else 1


def plan_codes(subject: Subject, chunk: int) -> int:
    return ChunkPlan().codes(chunk, features_per_code(subject))


def scripted(subject: Subject, codes: int, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Spoken:
    """A unit of so many codes, after which the model stops."""
    script = np.random.default_rng(codes).integers(0, 1024, codes).tolist()
    monkeypatch.setattr(subject.engine, "_writer", ScriptedWriter(script, width=256))
    return subject.speak(**changes)


# ---- chunks ---------------------------------------------------------------------------------------------------------


def test_a_unit_comes_in_chunks_that_are_all_of_it(subject: Subject) -> None:
    spoken = subject.speak()
    codes = len(spoken.state.written)
    assert len(spoken.chunks) >= 3
    assert len(spoken.sound) == HOP * frames_of(codes, features_per_code(subject))
    assert all(chunk.dtype == np.float32 and np.isfinite(chunk).all() for chunk in spoken.chunks)
    assert np.abs(spoken.sound).max() <= 1 and spoken.sound.std() > 0.01
    assert [step.done for step in spoken.steps] == [False] * (len(spoken.steps) - 1) + [True]
    assert [step.cut for step in spoken.steps] == [False] * (len(spoken.steps) - 1) + [
        True
    ]  # untrained: it never stops
    for step in spoken.steps:
        assert set(step.stage_ms) == (STAGES if step.pcm is not None else {"gpt_gen_time"})
        assert all(took_ms >= 0 for took_ms in step.stage_ms.values())


def test_the_first_chunk_leaves_after_the_first_codes(subject: Subject) -> None:
    """What is provisional is sent all the same, but for the fade."""
    state = subject.engine.start(subject.request())
    step = Step(None, False)
    while step.pcm is None:
        step = subject.engine.step([state])[0]
    first, plan = plan_codes(subject, 0), ChunkPlan()
    assert len(state.written) == first
    frames = frames_of(first, features_per_code(subject)) - plan.lookahead_frames
    assert len(step.pcm) == HOP * frames - 384


def test_same_seed_same_bytes_another_seed_other_sound(subject: Subject) -> None:
    first, again, other = (subject.speak(seed=seed) for seed in (2**64 - 1, 2**64 - 1, 0))
    assert [len(chunk) for chunk in first.chunks] == [len(chunk) for chunk in again.chunks]
    assert first.sound.tobytes() == again.sound.tobytes()
    assert first.state.written != other.state.written
    assert np.abs(first.sound - other.sound).max() > 0.01


def test_what_it_says_it_is(subject: Subject) -> None:
    info = subject.engine.info
    assert (info.name, info.sample_rate_hz, info.trained) == ("indextts", 22050, False)
    assert info.clones_voices and info.voices_emotion and info.changes_speed
    assert ("ja" in info.languages) == (subject.size == "nano") and {"en", "zh"} <= set(info.languages)


def test_seams_are_no_louder_than_the_sound_itself(subject: Subject) -> None:
    """Between two samples on either side of a border there is no step that the unit made as a whole would not have."""
    for seed in range(3):
        spoken, whole = subject.speak(seed=seed), subject.speak(seed=seed, whole=True)
        steps = np.abs(np.diff(spoken.sound))
        borders = np.cumsum([len(chunk) for chunk in spoken.chunks])[:-1] - 1
        assert len(borders) >= 2
        assert steps[borders].max() <= np.percentile(np.abs(np.diff(whole.sound)), 99.9)


# ---- whole ----------------------------------------------------------------------------------------------------------


def by_hand(subject: Subject, request: SpeakRequest) -> tuple[list[int], Samples]:
    """Codes and sound from the modules, one after the other, without the native loop."""
    checkpoint, state = checkpoint_of(subject.size), subject.engine.start(request)
    config = checkpoint.config
    gpt = GPT(config, weights(checkpoint.gpt))
    acoustic = AcousticModel(config, weights(checkpoint.s2mel), weights(checkpoint.codec))
    vocoder = BigVGAN(config.vocoder, weights(checkpoint.vocoder))
    assert request.voice is not None
    speaker = speaker_of(request.voice, torch.device("cpu"))
    unit, hidden = gpt.begin(
        gpt.prefix(state.reading.ids, speaker.rows, speaker.emotion, state.reading.language), state.most_codes
    )
    seen = seen_at_start(config.gpt.codes, config.gpt.start_code, hidden.device)
    columns = Settings.of([Sampling()], config.gpt.codes, hidden.device)
    codes: list[int] = []
    rows = [hidden]
    while len(codes) < state.most_codes:
        code = draw(*cut(gpt.logits(rows[-1])[None], seen[None], columns), uniforms(request.seed, len(codes), 1))
        seen[code] = True
        codes.append(int(code))
        rows.append(gpt.advance(code, [unit])[0])
    settings = AcousticSettings(request.seed, acoustic.time_table(FAST.steps or 0))
    latent = torch.stack(rows[:-1]) if config.variant is Variant.V2 else None
    mel = acoustic.solve_offline(speaker.prompt, torch.tensor(codes), latent, settings)
    sound, _ = vocoder.decode(mel.unsqueeze(0), vocoder.initial_state(), last=True)
    return codes, sound[0].numpy()


def test_whole_is_the_pipeline_by_hand(subject: Subject) -> None:
    request = subject.request(whole=True, seed=11)
    spoken = subject.speak(whole=True, seed=11)
    with torch.inference_mode():
        codes, sound = by_hand(subject, request)
    assert spoken.state.written == codes and len(spoken.chunks) == 1
    assert spoken.sound.shape == sound.shape
    assert np.abs(spoken.sound - sound).max() <= CLOSE


def test_streamed_and_whole_have_the_same_codes_and_length(subject: Subject) -> None:
    streamed, whole = subject.speak(), subject.speak(whole=True)
    assert streamed.state.written == whole.state.written
    assert streamed.sound.shape == whole.sound.shape


def test_short_units_are_made_as_a_whole_anyway(subject: Subject) -> None:
    """The voice is shorter here than what streaming would keep of it."""
    streamed, whole = (subject.speak("Oh!", whole=whole) for whole in (False, True))
    assert len(streamed.chunks) == 1
    assert np.array_equal(streamed.sound, whole.sound)


# ---- batches --------------------------------------------------------------------------------------------------------


def test_units_in_a_batch_sound_as_they_do_alone(subject: Subject) -> None:
    clip = Emotion(intensity=0.7, clip=sound_file(recording(1.0, seed=4)))
    requests = [
        subject.request(seed=1),
        subject.request("Another of some more words, a little later", seed=2, emotion=ANGRY, options=Options(steps=3)),
        subject.request("Hm", seed=3, emotion=clip),
        subject.request("你好", seed=4, options=Options(steps=2, guidance=1.0, max_audio_ms=900)),
        subject.request(seed=5, options=Options(steps=2, speed=1.3)),
        subject.request(seed=6, whole=True),
    ]
    alone = [finish(subject.engine, subject.engine.start(request)) for request in requests]
    states = [subject.engine.start(request) for request in requests]
    together: list[list[Step]] = [[] for _ in requests]
    turn = 0
    while any(not steps or not steps[-1].done for steps in together):
        # They join one after the other and come in changing order.
        live = [row for row in range(min(len(requests), 1 + turn)) if not together[row] or not together[row][-1].done]
        live = live[::-1] if turn % 2 else live
        if live:
            for row, step in zip(live, subject.engine.step([states[row] for row in live]), strict=True):
                together[row].append(step)
        turn += 1
    for one, other in zip(alone, together, strict=True):
        pieces = [[step.pcm for step in steps if step.pcm is not None] for steps in (one, other)]
        assert [len(piece) for piece in pieces[0]] == [len(piece) for piece in pieces[1]]
        assert one[-1].cut == other[-1].cut
        assert np.abs(np.concatenate(pieces[0]) - np.concatenate(pieces[1])).max() <= CLOSE


def test_one_unit_speaks_at_a_time_and_none_waits_for_ever(newer: Subject) -> None:
    """A step never holds more than one solve, and all of many like units get their first sound in turn."""
    states = [newer.engine.start(newer.request(seed=seed)) for seed in range(6)]
    order: list[int] = []
    done: set[int] = set()
    while len(done) < len(states):
        live = [row for row in range(len(states)) if row not in done]
        steps = newer.engine.step([states[row] for row in live])
        spoke = [row for row, step in zip(live, steps, strict=True) if step.pcm is not None]
        assert len(spoke) <= 1
        order += spoke
        done |= {row for row, step in zip(live, steps, strict=True) if step.done}
    assert sorted(order[:6]) == list(range(6)) and sorted(order[6:12]) == list(range(6))


def test_time_of_a_step_is_that_of_all_its_solves(newer: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that comes twice counts twice."""
    from intone.server.nn import stage_clock

    ticks = iter([0.0, 1.0, 5.0, 7.0])
    monkeypatch.setattr(stage_clock.time, "perf_counter", lambda: next(ticks))
    clock = stage_clock.StageClock(torch.device("cpu"))
    for _ in range(2):
        with clock.stage("s2mel_time"):
            pass
    assert clock.stage_ms() == {"s2mel_time": 3000.0}


def test_dropping_a_unit_is_all_there_is_to_cancel(newer: Subject) -> None:
    request = newer.request(seed=3)
    alone = newer.speak(seed=3)
    doomed, staying = (newer.engine.start(newer.request(seed=seed)) for seed in (8, 3))
    steps = [newer.engine.step([doomed, staying])[1] for _ in range(5)]
    del doomed
    while not steps[-1].done:
        steps += newer.engine.step([staying])
    assert staying.request == request
    assert np.abs(np.concatenate([s.pcm for s in steps if s.pcm is not None]) - alone.sound).max() <= CLOSE
    del staying, alone, steps
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, IndexTTSState)], "the engine kept a unit"


# ---- emotion --------------------------------------------------------------------------------------------------------


def test_emotion_is_heard_and_neutral_is_none(subject: Subject) -> None:
    clip = sound_file(recording(1.0, seed=9))
    sounds = {
        "none": subject.speak(),
        "angry": subject.speak(emotion=ANGRY),
        "half angry": subject.speak(emotion=replace(ANGRY, weights=tuple(w / 2 for w in ANGRY.weights))),
        "calm": subject.speak(emotion=Emotion(tuple(float(name == "calm") for name in EMOTIONS), 1.0)),
        "clip": subject.speak(emotion=Emotion(clip=clip, intensity=1.0)),
        "half a clip": subject.speak(emotion=Emotion(clip=clip, intensity=0.5)),
    }
    assert subject.speak(emotion=Emotion((0.0,) * 8, 0.0)).sound.tobytes() == sounds["none"].sound.tobytes()
    rows = [subject.engine._emotion(spoken.state) for spoken in sounds.values()]
    for index, row in enumerate(rows):
        assert all(float((row - other).abs().max()) > 1e-3 for other in rows[:index])
    assert len({tuple(spoken.state.written) for spoken in sounds.values()}) >= 4
    assert len({spoken.sound.tobytes() for spoken in sounds.values()}) >= 4


def test_a_clip_of_the_voice_itself_changes_nothing(newer: Subject) -> None:
    """But for its path: another resampler than a voice's, and the file's samples."""
    row, own = (
        newer.engine._emotion(newer.engine.start(newer.request(emotion=emotion)))
        for emotion in (Emotion(clip=sound_file(recording()), intensity=1.0), Emotion())
    )
    other = newer.engine._emotion(
        newer.engine.start(newer.request(emotion=Emotion(clip=sound_file(recording(seed=5)), intensity=1.0)))
    )
    assert float((row - own).norm()) < 0.2 * float((other - own).norm())


def test_a_clip_is_encoded_once(newer: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []
    encode = newer.engine._encoder.emotion_of
    monkeypatch.setattr(
        newer.engine._encoder, "emotion_of", lambda clip: calls.append(len(clip.samples)) or encode(clip)
    )
    for number in (1, 2, 1, 1, 2):
        emotion = Emotion(clip=sound_file(recording(0.5 + number, seed=20 + number)), intensity=1.0)
        newer.speak("Hm", emotion=emotion)
    assert calls == [int(1.5 * 22050), int(2.5 * 22050)]


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (b"RIFF....WAVE nothing", "cut off|damaged"),
        (b"not a sound", "neither a WAV"),
        (sound_file(recording(0.4)), "too short"),
        (sound_file(recording(30.1, rate_hz=8000)), "too long"),
        (sound_file(replace(recording(), samples=np.zeros(22050, np.float32))), "silent"),
    ],
)
def test_bad_clips_are_refused_by_name(newer: Subject, clip: bytes, words: str) -> None:
    with pytest.raises(CallerError, match=words) as caught:
        newer.engine.start(newer.request(emotion=Emotion(clip=clip, intensity=1.0)))
    assert caught.value.field == "emotion.clip.audio"


# ---- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 2.0])
def test_speed_stretches_the_sound_of_the_same_codes(subject: Subject, speed: float) -> None:
    plain, changed = subject.speak(), subject.speak(options=replace(FAST, speed=speed))
    assert changed.state.written == plain.state.written
    frames = frames_of(len(plain.state.written), features_per_code(subject), 1 / speed)
    assert len(changed.sound) == HOP * frames
    assert abs(len(changed.sound) - len(plain.sound) / speed) <= 2 * HOP


def test_steps_and_guidance_change_the_sound_and_not_the_codes(subject: Subject) -> None:
    plain = subject.speak()
    for options in (Options(steps=1), Options(steps=2, guidance=1.0), Options(steps=2, guidance=3.0)):
        other = subject.speak(options=options)
        assert other.state.written == plain.state.written
        assert np.abs(other.sound - plain.sound).max() > 1e-3
    same = subject.speak(options=Options(steps=2, guidance=1.7))
    assert np.abs(same.sound - plain.sound).max() <= CLOSE
    assert len(subject.engine.start(subject.request(options=Options())).settings.times.lengths) == 25


@pytest.mark.parametrize("speed", [None, 0.7])
@pytest.mark.parametrize("max_audio_ms", [100, 700, 2500, 600_000])
def test_no_unit_is_longer_than_asked_for(subject: Subject, max_audio_ms: int, speed: float | None) -> None:
    plain = subject.speak(options=replace(FAST, speed=speed))
    spoken = subject.speak(options=replace(FAST, speed=speed, max_audio_ms=max_audio_ms))
    code_ms = 1000 * features_per_code(subject) * 1.72 / (speed or 1) * HOP / 22050
    sound_ms = 1000 * len(spoken.sound) / 22050
    assert sound_ms <= max_audio_ms
    assert spoken.state.written == plain.state.written[: len(spoken.state.written)]
    if len(spoken.state.written) < len(plain.state.written):
        assert sound_ms > max_audio_ms - code_ms - 1000 * HOP / 22050 and spoken.steps[-1].cut


# ---- ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["nano", "nano-2"])
def test_a_model_that_says_nothing_ends_at_once(size: str) -> None:
    checkpoint = sizes.in_memory(size)
    checkpoint.gpt["mel_head.bias"][checkpoint.config.gpt.stop_code] = 1e4
    engine = engine_of(checkpoint)
    for whole in (False, True):
        state = engine.start(
            SpeakRequest(TEXT, seed=1, voice=engine.prepare_voice(recording()), options=FAST, whole=whole)
        )
        (step,) = engine.step([state])
        assert (step.pcm, step.done, step.cut, state.written) == (None, True, False, [])


@pytest.mark.parametrize("codes", [0, 1, 5, "first - 1", "first", "first + 1", "second", "third", "third + 1"])
def test_a_unit_may_end_anywhere(subject: Subject, codes: int | str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first chunk, right on a border and a code behind it: all of it is heard, and nothing is cut."""
    if isinstance(codes, str):
        chunk, _, more = codes.partition(" ")
        number = {"first": 1, "second": 2, "third": 3}[chunk]
        codes = sum(plan_codes(subject, index) for index in range(number)) + int(more.replace(" ", "") or 0)
    spoken = scripted(subject, codes, monkeypatch, options=replace(FAST, max_audio_ms=600_000), text=10 * TEXT)
    assert len(spoken.state.written) == codes and spoken.steps[-1].done and not spoken.steps[-1].cut
    assert len(spoken.sound) == HOP * frames_of(codes, features_per_code(subject))
    whole = scripted(
        subject, codes, monkeypatch, options=replace(FAST, max_audio_ms=600_000), text=10 * TEXT, whole=True
    )
    assert whole.sound.shape == spoken.sound.shape and len(whole.chunks) == (codes > 0)
    if codes <= 5:
        assert np.array_equal(whole.sound, spoken.sound)


def test_an_end_right_on_a_border_needs_no_other_solve(newer: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first solve took those codes for all: the rest of its frames are the end."""
    first = plan_codes(newer, 0)
    spoken = scripted(newer, first, monkeypatch)
    whole = scripted(newer, first, monkeypatch, whole=True)
    assert len(spoken.chunks) == 2 and spoken.state.acoustic is not None and spoken.state.acoustic.chunks == 1
    assert len(spoken.sound) == len(whole.sound)


def test_a_model_that_repeats_itself_is_stopped(trained: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    script = [*range(40), *[7, 8, 9] * 100]
    monkeypatch.setattr(trained.engine, "_writer", ScriptedWriter(script, width=256))
    spoken = trained.speak()
    assert spoken.steps[-1].done and spoken.steps[-1].cut
    assert 40 + 3 * 25 <= len(spoken.state.written) <= 40 + 3 * 25 + 8 + 1


def test_a_model_that_never_ends_is_cut_by_the_guard_of_its_text(trained: Subject) -> None:
    state = trained.engine.start(trained.request("Hi"))
    tokens = len(state.reading.ids)
    assert state.most_codes == int((0.8 * tokens + 2.0) * 22050 / 256 / 3.44)
    assert trained.engine.start(trained.request("Hi", options=Options(speed=2.0))).most_codes == state.most_codes
    assert trained.engine.start(trained.request(TEXT * 15)).most_codes == 1815 + 3 - 1


# ---- voices ---------------------------------------------------------------------------------------------------------


def test_a_saved_voice_speaks_as_before(subject: Subject, tmp_path: Path) -> None:
    voice = build_voice("anna", recording(), {"indextts": subject.voice}, 1.0)
    path = tmp_path / "anna.safetensors"
    path.write_bytes(to_bytes(voice))
    loaded = from_file(path).made_for("indextts", subject.engine.fingerprint)
    assert loaded is not None
    for array in loaded.arrays.values():
        array.flags.writeable = False  # as a file mapped into memory is
    before = {name: array.copy() for name, array in loaded.arrays.items()}
    assert subject.speak(voice=loaded).sound.tobytes() == subject.speak().sound.tobytes()
    assert all(np.array_equal(array, before[name]) for name, array in loaded.arrays.items())


def test_a_voice_of_other_weights_is_not_this_engines(newer: Subject, subject: Subject, tmp_path: Path) -> None:
    voice = build_voice("anna", recording(), {"indextts": newer.voice}, 1.0)
    assert voice.made_for("indextts", "other weights") is None
    with pytest.raises(AssertionError, match="prepared again"):
        newer.engine.start(newer.request(voice=replace(newer.voice, fingerprint="other weights")))


def test_without_a_voice_it_needs_one_of_its_own() -> None:
    engine = engine_of(checkpoint_of("nano"))
    with pytest.raises(CallerError) as caught:
        engine.start(SpeakRequest(TEXT, seed=1))
    assert (caught.value.field, caught.value.fault) == ("voice", Fault.PRECONDITION)
    engine.adopt_voice(recording())
    own, named = (
        finish(engine, engine.start(SpeakRequest("Hm", seed=1, voice=voice, options=FAST)))
        for voice in (None, engine.prepare_voice(recording()))
    )
    assert [s.pcm is None or s.pcm.tobytes() for s in own] == [s.pcm is None or s.pcm.tobytes() for s in named]


def test_voices_differ(subject: Subject) -> None:
    other = subject.engine.prepare_voice(recording(2.5, seed=2))
    assert np.abs(subject.speak("Hm", voice=other).sound - subject.speak("Hm").sound).max() > 0.01


@pytest.mark.parametrize(
    "samples", [np.zeros(0), np.ones(100), np.full(22050, np.nan)], ids=["none", "too few", "not numbers"]
)
def test_recordings_that_cannot_be_used(newer: Subject, samples: np.ndarray) -> None:
    with pytest.raises(CallerError) as caught:
        newer.engine.prepare_voice(replace(recording(), samples=samples.astype(np.float32)))
    assert caught.value.field == "audio"


# ---- text, loading --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " \n ", "…?!", "a" * 601])
def test_text_that_cannot_be_spoken_is_refused_by_name(subject: Subject, text: str) -> None:
    with pytest.raises(CallerError) as caught:
        subject.engine.start(subject.request(text))
    assert caught.value.field == "text"


def test_a_written_checkpoint_speaks_like_the_one_in_memory(tmp_path: Path) -> None:
    checkpoint = sizes.in_memory("nano", seed=3)
    write_checkpoint(tmp_path, checkpoint, sizes.documents("nano"))
    ranks = "".join(f"{_base64(bytes([byte]))} {byte}\n" for byte in range(256))
    (tmp_path / checkpoint.config.tokenizer_file).write_text(ranks, "ascii")
    told: list[float] = []
    engines = [IndexTTSEngine.load(tmp_path, progress=told.append), IndexTTSEngine.random("nano", seed=3)]
    assert told == sorted(told) and told[-1] == 1.0
    assert engines[0].fingerprint != engines[1].fingerprint
    assert [engine.info.model for engine in engines] == ["IndexTTS 2.5", "nano, random weights"]
    sounds = []
    for engine in engines:
        request = SpeakRequest("Hm", seed=1, voice=engine.prepare_voice(recording()), options=FAST)
        sounds.append(np.concatenate([s.pcm for s in finish(engine, engine.start(request)) if s.pcm is not None]))
    assert np.array_equal(*sounds)


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def test_unknown_size_is_refused_in_words() -> None:
    with pytest.raises(CheckpointError, match="found size 'giant', expected one of nano, nano-2, 2, 2.5"):
        IndexTTSEngine.random("giant")
