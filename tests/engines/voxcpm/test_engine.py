"""VoxCPM as an engine: batches, streaming, seeds, lengths, voices. All with random weights."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from intone.server.domain import Samples, SpeakRequest, SynthesisOptions
from intone.server.engines.pieces import complete
from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.audio_vae import AudioVAE, DecoderState, random_tensors
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.flow import build_time_table
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.noise import patch_noise
from intone.server.engines.voxcpm.state import Generation
from intone.server.engines.weights import Weights
from intone.server.errors import CallerError, CheckpointError, Reason
from tests.support.voxcpm_tiny import finish, finish_together, joined, patch_samples, recording, tiny_engine

CLOSE = 1e-5
"""Float32, audio in [-1, 1]: sums in another order differ by about 1e-7, which feeds back for a few patches."""


@pytest.fixture(scope="module", params=[1, 2], ids=["v1", "v2"])
def engine(request: pytest.FixtureRequest) -> VoxCPMEngine:
    return tiny_engine(request.param)


@pytest.fixture(scope="module")
def nano() -> VoxCPMEngine:
    return VoxCPMEngine.random("nano")


def test_first_step_gives_one_frame_then_the_rest_of_the_patch_then_patches(engine: VoxCPMEngine) -> None:
    steps = finish(engine, engine.start(SpeakRequest("abc", seed=1)))
    lengths = [len(step.pcm) for step in steps if step.pcm is not None]
    frame, patch = engine.model.vae.hop_out_samples, patch_samples(engine)
    assert lengths == [frame, patch - frame] + [patch] * (len(steps) - 2)
    assert [set(step.stage_ms) for step in steps[:2]] == [{"prefill", "diffusion", "vae"}, {"vae"}]
    assert all(set(step.stage_ms) == {"lm", "diffusion", "vae"} for step in steps[2:])
    assert all(value >= 0 for step in steps for value in step.stage_ms.values())
    assert [step.done for step in steps] == [False] * (len(steps) - 1) + [True]
    assert all(step.pcm is not None and step.pcm.dtype == np.float32 for step in steps)


def test_a_unit_holds_more_memory_with_each_patch(engine: VoxCPMEngine) -> None:
    state = engine.start(SpeakRequest("abc", seed=1))
    assert engine.held_bytes(state) == 0
    held = []
    while not state.done:
        engine.step([state])
        assert state.generation is not None
        held.append((state.generation.caches.length, engine.held_bytes(state)))
    decoder = sum(tensor.nbytes for tensor in state.decoder.tensors)
    per_position = {(total - decoder) / positions for positions, total in held}
    assert len(per_position) == 1 and per_position.pop() > 0 and held[-1] > held[0]


def test_a_batch_gives_the_audio_of_single_units(engine: VoxCPMEngine) -> None:
    voice = complete(engine.prepare_voice(recording(engine, 2.0)))
    requests = [
        SpeakRequest("A short one.", seed=1),
        SpeakRequest(
            "Another of some more words",
            seed=2,
            options=SynthesisOptions(parameters={"steps": 4, "max_audio_ms": 1500}),
        ),
        SpeakRequest("Hm", seed=3, options=SynthesisOptions(parameters={"guidance": 1.0})),
        SpeakRequest(
            "你好", seed=4, options=SynthesisOptions(parameters={"guidance": 3.0, "min_audio_ms": 2000}), voice=voice
        ),
        SpeakRequest("A short one.", seed=5, options=SynthesisOptions(parameters={"steps": 4})),
    ]
    alone = [finish(engine, engine.start(request)) for request in requests]
    for one, other in zip(alone, finish_together(engine, requests), strict=True):
        assert [(len(s.pcm), s.done, s.cut) for s in one] == [(len(s.pcm), s.done, s.cut) for s in other]
        assert np.abs(joined(one) - joined(other)).max() <= CLOSE


def test_streamed_audio_is_one_decode_of_the_latents(engine: VoxCPMEngine) -> None:
    state = engine.start(SpeakRequest("abcd", seed=9))
    audio: list[Samples] = []
    latents: list[torch.Tensor] = []
    while not state.done:
        step = engine.step([state])[0]
        assert step.pcm is not None and state.generation is not None
        audio.append(step.pcm)
        if len(latents) < state.made:
            latents.append(state.generation.patch)
    vae = engine.model.vae
    with torch.inference_mode():
        whole, _ = vae.decode(torch.cat(latents).T.unsqueeze(0), vae.initial_state())
    assert np.abs(np.concatenate(audio) - whole[0].numpy()).max() <= CLOSE


def test_same_seed_same_bytes_another_seed_other_audio(nano: VoxCPMEngine) -> None:
    def spoken(seed: int) -> Samples:
        return joined(finish(nano, nano.start(SpeakRequest("Hi there", seed=seed))))

    first = spoken(2**64 - 1)
    assert first.tobytes() == spoken(2**64 - 1).tobytes()
    assert np.abs(first - spoken(0)).max() > 0.01


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Four words of Philox4x64-10, written from the paper."""
    mask = 2**64 - 1
    for _ in range(10):
        one, two = counter[0] * 0xD2E7470EE14C6C93, counter[2] * 0xCA5A826395121157
        counter = [two >> 64 ^ counter[1] ^ key[0], two & mask, one >> 64 ^ counter[3] ^ key[1], one & mask]
        key = [(key[0] + 0x9E3779B97F4A7C15) & mask, (key[1] + 0xBB67AE8584CAA73B) & mask]
    return counter


def test_noise_is_philox_and_box_muller() -> None:
    seed = 2**64 - 7
    noise = patch_noise(seed, 3, 256)
    words = [word for counter in range(1, 33) for word in philox([counter, 0, 0, 0], [seed, 3])]
    radius = [math.sqrt(-2 * math.log(((word & 0xFFFFFFFF) + 1) / 2**32)) for word in words]
    angle = [2 * math.pi * (word >> 32) / 2**32 for word in words]
    expected = [r * wave(a) for r, a in zip(radius, angle, strict=True) for wave in (math.cos, math.sin)]
    assert np.abs(noise - np.array(expected)).max() < 1e-6
    assert np.array_equal(patch_noise(seed, 3, 255), noise[:255])
    assert np.abs(patch_noise(seed, 4, 256) - noise).max() > 1
    many = np.concatenate([patch_noise(5, patch, 256) for patch in range(400)])
    assert abs(many.mean()) < 0.01 and abs(many.std() - 1) < 0.01
    assert abs((many**4).mean() - 3) < 0.1 and abs(np.corrcoef(many[::2], many[1::2])[0, 1]) < 0.01


@pytest.mark.parametrize(
    ("options", "min_patches", "max_patches"),
    [
        (SynthesisOptions(), 4, 6 * 3 + 10),
        (SynthesisOptions(parameters={"min_audio_ms": 0}), 1, 28),
        (SynthesisOptions(parameters={"min_audio_ms": 1}), 1, 28),
        (SynthesisOptions(parameters={"min_audio_ms": 161}), 2, 28),
        (SynthesisOptions(parameters={"min_audio_ms": 1600}), 10, 28),
        (SynthesisOptions(parameters={"max_audio_ms": 100}), 4, 1),
        (SynthesisOptions(parameters={"max_audio_ms": 479}), 4, 2),
        (SynthesisOptions(parameters={"max_audio_ms": 480}), 4, 3),
        (SynthesisOptions(parameters={"max_audio_ms": 600000}), 4, 28),
    ],
)
def test_length_options(engine: VoxCPMEngine, options: SynthesisOptions, min_patches: int, max_patches: int) -> None:
    state = engine.start(SpeakRequest("abc", seed=1, options=options))
    assert engine.info.sample_rate_hz == 150 and patch_samples(engine) == 24  # patches of 160 ms
    assert (state.earliest_end + 1, state.max_patches) == (min_patches, max_patches)
    steps = finish(engine, state)
    assert min(min_patches, max_patches) <= state.made <= max_patches
    assert len(joined(steps)) == state.made * patch_samples(engine)
    if state.made < max_patches:
        assert not steps[-1].cut
    assert not any(step.cut for step in steps[:-1])


def test_a_unit_ends_by_the_stop_head_or_is_cut_at_the_limit() -> None:
    ends = set()
    for seed in range(6):
        engine = tiny_engine(1, seed)
        state = engine.start(SpeakRequest("abc", seed=1))
        last = finish(engine, state)[-1]
        assert last.cut == (state.made == state.max_patches)
        ends.add(last.cut)
    assert ends == {True, False}


@pytest.mark.parametrize(("min_ms", "made"), [(None, 3 + 13), (3200, 20)])
def test_two_seconds_of_silence_end_a_unit(monkeypatch: pytest.MonkeyPatch, min_ms: int | None, made: int) -> None:
    """One silent patch, two with sound, then 13 silent ones, which are two seconds. Leading silence does not count."""
    engine = tiny_engine(1)
    decode, decoded = engine.model.vae.decode_each, 0

    def quiet_but_for_two_patches(pieces: Any, states: Any) -> Any:
        nonlocal decoded
        frames, decoded = range(decoded, decoded + pieces[0].shape[1]), decoded + pieces[0].shape[1]
        loud = all(4 <= frame < 12 for frame in frames)
        return [(torch.full_like(pcm, 0.1 if loud else 0.0005), after) for pcm, after in decode(pieces, states)]

    monkeypatch.setattr(engine.model.vae, "decode_each", quiet_but_for_two_patches)
    monkeypatch.setattr(engine.model, "should_stop", lambda units: torch.zeros(len(units)))
    state = engine.start(SpeakRequest("abc", seed=1, options=SynthesisOptions(parameters={"min_audio_ms": min_ms})))
    assert not finish(engine, state)[-1].cut
    assert state.made == made


def test_an_untrained_model_is_cut_at_the_length_of_the_text(nano: VoxCPMEngine) -> None:
    text = "This is thirty letters of text"
    steps = finish(nano, nano.start(SpeakRequest(text, seed=1)))
    audio = joined(steps)
    assert steps[-1].cut and len(audio) == 16000 * 80 * len(text) // 1000
    assert 0.02 < audio.std() < 0.5 and np.abs(audio).max() <= 1
    assert not nano.info.trained and nano.info.model == "nano, random weights"


def test_one_patch_is_two_steps(engine: VoxCPMEngine) -> None:
    steps = finish(
        engine, engine.start(SpeakRequest("abc", seed=1, options=SynthesisOptions(parameters={"max_audio_ms": 160})))
    )
    assert [(step.done, step.cut) for step in steps] == [(False, False), (True, True)]


def test_whitespace_is_collapsed(engine: VoxCPMEngine) -> None:
    one, other = (engine.start(SpeakRequest(text, seed=1)) for text in ("a b", "a \n\t b"))
    assert one.prompt and other.prompt and torch.equal(one.prompt.tokens, other.prompt.tokens)


@pytest.mark.parametrize("text", ["", " \n "])
def test_blank_text_is_refused(engine: VoxCPMEngine, text: str) -> None:
    with pytest.raises(CallerError) as caught:
        engine.start(SpeakRequest(text, seed=1))
    assert (caught.value.field, caught.value.reason) == ("text", Reason.TEXT_UNSPEAKABLE)


def test_the_longest_text_is_spoken_and_a_longer_one_refused() -> None:
    engine = tiny_engine(1)
    with pytest.raises(CallerError) as caught:
        engine.start(SpeakRequest("a" * 101, seed=1))
    assert (caught.value.field, caught.value.reason) == ("text", Reason.TEXT_TOO_LONG)
    state = engine.start(
        SpeakRequest("a" * 100, seed=1, options=SynthesisOptions(parameters={"min_audio_ms": 600_000, "steps": 2}))
    )
    steps = finish(engine, state)
    assert steps[-1].cut and state.made == 200 - 101 + 1  # every position of max_length was used


def test_the_first_step_in_bfloat16_is_close_to_float32() -> None:
    wide, narrow = (VoxCPMEngine.random("nano", dtype=dtype) for dtype in ("fp32", "bf16"))
    request = SpeakRequest("Hi there", seed=3)
    first = [engine.step([engine.start(request)])[0].pcm for engine in (wide, narrow)]
    assert all(pcm is not None for pcm in first)
    assert np.abs(first[0] - first[1]).max() < 0.25 * np.abs(first[0]).max()
    audio = joined(finish(narrow, narrow.start(request)))
    assert np.isfinite(audio).all() and audio.std() > 0.02


def test_no_synchronization_with_the_device() -> None:
    """The computation of a step on a GPU also runs on fake tensors, whose values cannot be read."""
    model = VoxCPM(sizes.in_memory("nano"), torch.float32, torch.device("cpu"))
    table = build_time_table(model.dit, 10, mean_mode=False)
    vae = AudioVAE(
        model.config.vae, Weights(random_tensors(model.config.vae, torch.Generator().manual_seed(0)))
    )  # of a GPU
    with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True) as mode:
        tokens, audio_positions, audio = torch.arange(9), torch.arange(5, 9), torch.zeros(4, 256)
        caches = model.lm.new_caches(limit=20)
        condition = model.lm.prefill(tokens, audio_positions, audio, caches)
        times = replace(table, embeddings=mode.from_tensor(table.embeddings))
        unit = Generation(caches, condition, torch.zeros(4, 64), times)
        for _ in range(2):
            model.make_patches([unit], torch.zeros(1, 4, 64), [2.0])
            model.advance([unit])
        assert model.should_stop([unit]).shape == (1,)
        state = DecoderState(tuple(mode.from_tensor(part) for part in vae.initial_state().tensors))
        audio, _ = vae.decode_each([unit.patch.T], [state])[0]
        assert audio.shape == (4 * 640,) and caches.base.length == 11


def test_cuda_gives_the_audio_of_the_cpu(require: Callable[..., Any]) -> None:
    require("cuda", torch.cuda.is_available(), "no CUDA device")
    request = SpeakRequest("Hello there", seed=1, options=SynthesisOptions(parameters={"max_audio_ms": 480}))
    engines = [VoxCPMEngine.random("nano", device=device, dtype="fp32") for device in ("cpu", "cuda")]
    one, other = (joined(finish(engine, engine.start(request))) for engine in engines)
    assert np.abs(one - other).max() < 1e-3


def test_unknown_size_is_refused() -> None:
    with pytest.raises(CheckpointError, match="found size 'giant', expected one of nano, 0.5b, 1.5, 2"):
        VoxCPMEngine.random("giant")
