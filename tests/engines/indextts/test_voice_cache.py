"""The cached frames of voices: what units with them sound like, and what is kept."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from intone.server.domain import PreparedVoice, SpeakRequest
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.indextts.placement import Placement
from intone.server.engines.indextts.s2mel import streaming
from intone.server.engines.indextts.s2mel.voice_cache import CachedVoice, VoiceCache, cached_frames
from intone.server.engines.indextts.text.front_end import FrontEnd
from intone.server.engines.pieces import complete
from tests.support.indextts_tiny import PLAN, AcousticFixture, Variant
from tests.support.indextts_units import FAST, TEXT, checkpoint_of, finish, recording

VOICE_FRAMES = 60


@pytest.fixture
def speaker() -> AcousticFixture:
    return AcousticFixture.build(Variant.V25)


@pytest.fixture
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def completed(cache: VoiceCache, speaker: AcousticFixture) -> tuple[CachedVoice, int]:
    """The cached frames of a voice, and the number of pieces."""
    for pieces in range(100):
        cached = cache.advance(speaker.prompt, None, speaker.settings)
        if cached is not None:
            return cached, pieces
    raise AssertionError("never complete")


def cache_of(speaker: AcousticFixture, **how: int) -> VoiceCache:
    known = speaker.model.voices
    assert known is not None
    return VoiceCache(known._flow, known._inputs, known._context_frames, **how)


def test_a_piece_for_each_step_of_each_sequence(speaker: AcousticFixture) -> None:
    cache = cache_of(speaker)
    cached, pieces = completed(cache, speaker)
    assert (cached.frames, pieces) == (32, 6) and len(cached.steps) == 6  # 3 steps with guidance
    assert completed(cache, speaker) == (cached, 0)
    other = replace(speaker, prompt=replace(speaker.prompt, mel=speaker.prompt.mel + 1))
    theirs, pieces = completed(cache, other)
    assert pieces == 3 and theirs.steps[3:] == cached.steps[3:]  # the unconditional sequence is the same
    unguided = replace(speaker, settings=replace(speaker.settings, guidance=0.0))
    assert completed(cache, unguided) == (CachedVoice(32, cached.steps[:3]), 0)


def test_a_recording_of_few_frames_is_not_cached(speaker: AcousticFixture) -> None:
    cache = cache_of(speaker)
    assert cache.advance(speaker.prompt, 31, speaker.settings) == CachedVoice(0, ())
    assert [cached_frames(frames, 16) for frames in (0, 31, 32, 47, 48, 430)] == [0, 0, 16, 16, 32, 400]


def test_the_voices_used_last_are_kept(speaker: AcousticFixture) -> None:
    bytes_of_voice = sum(step.nbytes for step in completed(cache_of(speaker), speaker)[0].steps)
    cache = cache_of(speaker, max_bytes=int(1.6 * bytes_of_voice))  # that of two voices: half of each is the same
    prompts = [replace(speaker.prompt, mel=speaker.prompt.mel + number) for number in range(3)]
    of = [replace(speaker, prompt=prompt) for prompt in prompts]
    assert [completed(cache, of[number])[1] for number in (0, 1, 0, 2, 0, 1)] == [6, 3, 0, 3, 0, 3]


def stream(
    speaker: AcousticFixture, cached: CachedVoice | None, codes: Tensor, prompt_frames: int | None = None
) -> Tensor:
    state = streaming.start(speaker.prompt, speaker.settings, replace(PLAN, prompt_frames=prompt_frames))
    if cached is not None:
        state = streaming.with_cached_voice(state, cached)
    first, state = streaming.extend(speaker.model, state, codes[:20], None, last=False)
    second, state = streaming.extend(speaker.model, state, codes[20:], None, last=True)
    return torch.cat((first, second), dim=1)


def test_a_stream_with_cached_frames_is_near_one_without(speaker: AcousticFixture) -> None:
    """Nearer than one that leaves the cached frames out."""
    codes, _ = speaker.codes(45)
    exact, found = (stream(speaker, cached, codes) for cached in (None, completed(cache_of(speaker), speaker)[0]))
    other = stream(speaker, None, codes, VOICE_FRAMES - 32)
    assert found.shape == exact.shape and not torch.equal(found, exact)
    assert float((found - exact).abs().mean()) < 0.7 * float((other - exact).abs().mean())


@pytest.fixture(scope="module")
def engines() -> tuple[IndexTTSEngine, IndexTTSEngine, PreparedVoice]:
    """Exact and with a cache, of the same weights; and a voice."""
    checkpoint = checkpoint_of("nano")
    front_end = FrontEnd.of_bytes(checkpoint.config)
    exact, cached = (
        IndexTTSEngine(
            checkpoint, front_end, "random", streaming.ChunkPlan(), None, on=Placement.of(voice_cache=caches)
        )
        for caches in (False, True)
    )
    return exact, cached, complete(exact.prepare_voice(recording()))


def spoken(engine: IndexTTSEngine, voice: PreparedVoice, **changes: object) -> np.ndarray:
    state = engine.start(SpeakRequest(TEXT, **{"seed": 1, "voice": voice, "options": FAST, **changes}))  # type: ignore[arg-type]
    return np.concatenate([step.pcm for step in finish(engine, state) if step.pcm is not None])


def test_units_with_a_cache(engines: tuple[IndexTTSEngine, IndexTTSEngine, PreparedVoice]) -> None:
    """The same at first use and later; whole units are exact; an empty cache costs pieces, not another result."""
    exact, cached, voice = engines
    first, again, other = (spoken(cached, voice), spoken(cached, voice), spoken(exact, voice))
    assert first.tobytes() == again.tobytes() and len(first) == len(other) and first.tobytes() != other.tobytes()
    assert spoken(cached, voice, whole=True).tobytes() == spoken(exact, voice, whole=True).tobytes()


def test_units_together_give_what_each_gives_alone(
    engines: tuple[IndexTTSEngine, IndexTTSEngine, PreparedVoice],
) -> None:
    _, engine, voice = engines
    alone = [spoken(engine, voice, seed=seed) for seed in (1, 2)]
    engine.cache_own_voice()  # it has none: nothing to do
    states = [engine.start(SpeakRequest(TEXT, seed=seed, voice=voice, options=FAST)) for seed in (1, 2)]
    heard: list[list[np.ndarray]] = [[], []]
    while not all(state.done for state in states):
        running = [state for state in states if not state.done]
        for state, step in zip(running, engine.step(running), strict=True):
            if step.pcm is not None:
                heard[states.index(state)].append(step.pcm)
    assert [np.concatenate(each).tobytes() for each in heard] == [each.tobytes() for each in alone]


def test_an_own_voice_is_cached_ahead(engines: tuple[IndexTTSEngine, IndexTTSEngine, PreparedVoice]) -> None:
    _, engine, _ = engines
    engine.adopt_voice(recording())
    engine.cache_own_voice()
    state = engine.start(SpeakRequest(TEXT, seed=1, options=replace(FAST, parameters={"max_audio_ms": 200})))
    engine.step([state])
    assert state.acoustic is not None and state.acoustic.voice.cached is not None
