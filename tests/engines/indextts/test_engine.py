"""The IndexTTS engine: chunks, whole units, batches and seeds, with random weights."""

import gc

import numpy as np
import pytest
import torch

from intone.server.domain import EMOTIONS, Emotion, Samples, SpeakRequest, Step, SynthesisOptions
from intone.server.engines.indextts.checkpoint.config import Variant
from intone.server.engines.indextts.gpt.sampling import Sampling, uniforms
from intone.server.engines.indextts.reference.language_model import GPT
from intone.server.engines.indextts.reference.sampling import BatchSampling, cut, draw, seen_at_start
from intone.server.engines.indextts.s2mel.acoustic import AcousticModel, AcousticSettings
from intone.server.engines.indextts.s2mel.streaming import ChunkPlan
from intone.server.engines.indextts.state import IndexTTSState
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN
from intone.server.engines.indextts.voice.prepared_voice import speaker_of
from intone.server.nn import stage_clock
from tests.support.indextts_tiny import weights
from tests.support.indextts_units import (
    CLOSE,
    FAST,
    Subject,
    checkpoint_of,
    features_per_code,
    finish,
    frames_of,
    plan_codes,
    recording,
    sound_file,
)

HOP = 256
STAGES = {"gpt_gen_time", "s2mel_time", "bigvgan_time"}
ANGRY = Emotion(tuple(float(name == "angry") for name in EMOTIONS), 1.0)


# ---- chunks ---------------------------------------------------------------------------------------------------------


def test_chunks_add_up_to_the_whole_unit(subject: Subject) -> None:
    spoken = subject.speak()
    codes = len(spoken.state.all_codes)
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


def test_the_first_chunk_is_returned_after_the_first_codes(subject: Subject) -> None:
    """Provisional samples are included, except those of the fade."""
    state = subject.engine.start(subject.request())
    step = Step(None, False)
    while step.pcm is None:
        step = subject.engine.step([state])[0]
    first, plan = plan_codes(subject, 0), ChunkPlan()
    assert len(state.all_codes) == first
    frames = frames_of(first, features_per_code(subject)) - plan.lookahead_frames
    assert len(step.pcm) == HOP * frames - 384


def test_the_seed_determines_the_audio(subject: Subject) -> None:
    first, again, other = (subject.speak(seed=seed) for seed in (2**64 - 1, 2**64 - 1, 0))
    assert [len(chunk) for chunk in first.chunks] == [len(chunk) for chunk in again.chunks]
    assert first.sound.tobytes() == again.sound.tobytes()
    assert first.state.all_codes != other.state.all_codes
    assert np.abs(first.sound - other.sound).max() > 0.01


def test_a_unit_holds_more_memory_with_each_code(subject: Subject) -> None:
    engine = subject.engine
    state = engine.start(subject.request())
    before = engine.held_bytes(state)
    engine.step([state])
    first = engine.held_bytes(state)
    assert first > before
    while not state.ended:
        engine.step([state])
    assert engine.held_bytes(state) > first


def test_info(subject: Subject) -> None:
    info = subject.engine.info
    assert (info.name, info.sample_rate_hz, info.trained) == ("indextts", 22050, False)
    assert info.clones_voices and info.voices_emotion and info.changes_speed
    assert ("ja" in info.languages) == (subject.size == "nano") and {"en", "zh"} <= set(info.languages)


def test_no_step_at_chunk_borders(subject: Subject) -> None:
    """Differences of adjacent samples across a border are no larger than in the whole unit."""
    for seed in range(3):
        spoken, whole = subject.speak(seed=seed), subject.speak(seed=seed, whole=True)
        steps = np.abs(np.diff(spoken.sound))
        borders = np.cumsum([len(chunk) for chunk in spoken.chunks])[:-1] - 1
        assert len(borders) >= 2
        assert steps[borders].max() <= np.percentile(np.abs(np.diff(whole.sound)), 99.9)


def test_a_chunk_begins_where_the_previous_one_ended(subject: Subject) -> None:
    """However different the two versions are: a fade of 384 samples."""
    state = subject.engine.start(subject.request(seed=2))
    owed: list[Samples] = []
    begun: list[Samples] = []
    while not begun or not state.acoustic or not state.acoustic.done:
        before = state.crossfader.held.copy()
        (step,) = subject.engine.step([state])
        if step.pcm is not None:
            owed.append(before)
            begun.append(step.pcm)
    assert len(begun) >= 3 and [len(kept) for kept in owed] == [0] + [384] * (len(begun) - 1)
    for kept, chunk in zip(owed[1:], begun[1:], strict=True):
        assert abs(float(chunk[0] - kept[0])) <= 2 / 385


# ---- whole ----------------------------------------------------------------------------------------------------------


def by_hand(subject: Subject, request: SpeakRequest) -> tuple[list[int], Samples]:
    """Codes and audio from the modules called one after the other, with the reference language model."""
    checkpoint, state = checkpoint_of(subject.size), subject.engine.start(request)
    config = checkpoint.config
    gpt = GPT(config, weights(checkpoint.gpt))
    acoustic = AcousticModel(config, weights(checkpoint.s2mel), weights(checkpoint.codec))
    vocoder = BigVGAN(config.vocoder, weights(checkpoint.vocoder))
    assert request.voice is not None
    speaker = speaker_of(request.voice, torch.device("cpu"))
    unit, hidden = gpt.begin(
        gpt.prefix(state.tokenized.ids, speaker.rows, speaker.emotion, state.tokenized.language), state.max_codes
    )
    seen = seen_at_start(config.gpt.codes, config.gpt.start_code, hidden.device)
    columns = BatchSampling.of([Sampling()], config.gpt.codes, hidden.device)
    codes: list[int] = []
    rows = [hidden]
    while len(codes) < state.max_codes:
        code = draw(*cut(gpt.logits(rows[-1])[None], seen[None], columns), uniforms(request.seed, len(codes), 1))
        seen[code] = True
        codes.append(int(code))
        rows.append(gpt.advance(code, [unit])[0])
    settings = AcousticSettings(request.seed, acoustic.time_table(FAST.integer("steps") or 0))
    latent = torch.stack(rows[:-1]) if config.variant is Variant.V2 else None
    mel = acoustic.whole(speaker.prompt.known_frames(), torch.tensor(codes), latent, settings)
    sound, _ = vocoder.decode(mel.unsqueeze(0), vocoder.initial_state(), last=True)
    return codes, sound[0].numpy()


def test_a_whole_unit_equals_the_modules_in_sequence(subject: Subject) -> None:
    request = subject.request(whole=True, seed=11)
    spoken = subject.speak(whole=True, seed=11)
    with torch.inference_mode():
        codes, sound = by_hand(subject, request)
    assert spoken.state.all_codes == codes and len(spoken.chunks) == 1
    assert spoken.sound.shape == sound.shape
    assert np.abs(spoken.sound - sound).max() <= CLOSE


def test_streamed_and_whole_have_the_same_codes_and_length(subject: Subject) -> None:
    streamed, whole = subject.speak(), subject.speak(whole=True)
    assert streamed.state.all_codes == whole.state.all_codes
    assert streamed.sound.shape == whole.sound.shape


def test_short_units_are_synthesized_whole(subject: Subject) -> None:
    """The voice is shorter than `prompt_frames`, so the solves are equal."""
    streamed, whole = (subject.speak("Oh!", whole=whole) for whole in (False, True))
    assert len(streamed.chunks) == 1
    assert np.array_equal(streamed.sound, whole.sound)


# ---- batches --------------------------------------------------------------------------------------------------------


def test_batched_units_equal_single_ones(subject: Subject) -> None:
    clip = Emotion(intensity=0.7, clip=sound_file(recording(1.0, seed=4)))
    requests = [
        subject.request(seed=1),
        subject.request(
            "Another of some more words, a little later",
            seed=2,
            emotion=ANGRY,
            options=SynthesisOptions(parameters={"steps": 3}),
        ),
        subject.request("Hm", seed=3, emotion=clip),
        subject.request(
            "你好", seed=4, options=SynthesisOptions(parameters={"steps": 2, "guidance": 1.0, "max_audio_ms": 900})
        ),
        subject.request(seed=5, options=SynthesisOptions(speed=1.3, parameters={"steps": 2})),
        subject.request(seed=6, whole=True),
    ]
    alone = [finish(subject.engine, subject.engine.start(request)) for request in requests]
    states = [subject.engine.start(request) for request in requests]
    together: list[list[Step]] = [[] for _ in requests]
    turn = 0
    while any(not steps or not steps[-1].done for steps in together):
        # Units join one by one, and their order changes.
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


def test_one_solve_per_step_and_every_unit_in_turn(newer: Subject) -> None:
    """A step has at most one solve, and equal units get their first audio in turn."""
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


def test_a_new_unit_goes_first(newer: Subject) -> None:
    states = [newer.engine.start(newer.request(seed=seed)) for seed in range(4)]
    while not all(state.has_audio for state in states):
        newer.engine.step(states)
    newcomer = newer.engine.start(newer.request(seed=9))
    while len(newcomer.all_codes) < plan_codes(newer, 0):
        steps = newer.engine.step([*[state for state in states if not state.ended], newcomer])
    assert steps[-1].pcm is not None and newcomer.has_audio


def test_stage_times_accumulate(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 1.0, 5.0, 7.0])
    monkeypatch.setattr(stage_clock.time, "perf_counter", lambda: next(ticks))
    clock = stage_clock.StageClock(torch.device("cpu"))
    for _ in range(2):
        with clock.stage("s2mel_time"):
            pass
    assert clock.stage_ms() == {"s2mel_time": 3000.0}


def test_dropping_a_state_cancels_the_unit(newer: Subject) -> None:
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
    assert not [thing for thing in gc.get_objects() if type(thing) is IndexTTSState], "the engine kept a unit"
