"""The prefix cache of voices: bit-identical audio with fewer computed positions."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from intone.server.domain import Recording, SpeakRequest, SynthesisOptions
from intone.server.engines.pieces import complete
from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.lm import Caches
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.state import VoxCPMState
from intone.server.engines.voxcpm.text import TextTokenizer
from intone.server.engines.voxcpm.transformer import Stack
from intone.server.engines.voxcpm.voice_prompt_cache import VoicePromptCache
from intone.server.engines.weights import Weights
from tests.support.voxcpm_tiny import VOCABULARY, finish, joined, recording, tiny_checkpoint

pytestmark = pytest.mark.usefixtures("no_gradients")

CPU = torch.device("cpu")
TYPES = ("fp32", "bf16", "int8")
TRANSCRIPT = "Some words of a transcript that is longer than a block of sixty-four positions."
CLOSE = 1e-5
"""Float32, outputs and audio of size 1: sums in another order differ by about 1e-7."""


def engine_of(version: int, packed: str | None) -> VoxCPMEngine:
    model = VoxCPM(tiny_checkpoint(version), torch.float32, CPU, packed=packed)
    return VoxCPMEngine(model, sizes.byte_tokenizer(), "tiny", "tiny")


def voice_of(engine: VoxCPMEngine, transcript: str) -> Recording:
    return recording(engine, 2.0, transcript)


def whole(state: VoxCPMState) -> VoxCPMState:
    """The unit without its prefix cache: every position is computed."""
    return replace(state, prefix=None, shared_length=0)


def positions_read(engine: VoxCPMEngine, state: VoxCPMState, monkeypatch: pytest.MonkeyPatch) -> int:
    """Positions that the base model computes in the prefill."""
    read: list[int] = []
    prefill = engine.model.lm.base.prefill

    def counted(x: Tensor, cache: object, first: int = 0) -> Tensor:
        read.append(len(x))
        return prefill(x, cache, first)

    with monkeypatch.context() as patch:
        patch.setattr(engine.model.lm.base, "prefill", counted)
        engine.step([state])
    return sum(read)


LAYOUTS = [(1, TRANSCRIPT), (2, TRANSCRIPT), (2, "")]
LAYOUT_NAMES = ["v1 continued", "v2 continued", "v2 reference"]


@pytest.mark.parametrize("packed", TYPES)
@pytest.mark.parametrize(("version", "transcript"), LAYOUTS, ids=LAYOUT_NAMES)
def test_audio_with_the_prefix_cache_is_bit_identical(version: int, transcript: str, packed: str) -> None:
    engine = engine_of(version, packed)
    voice = complete(engine.prepare_voice(voice_of(engine, transcript)))
    for text in ("abc", "Another one."):
        request = SpeakRequest(text, seed=3, voice=voice, options=SynthesisOptions(parameters={"max_audio_ms": 800}))
        cached, alone = engine.start(request), whole(engine.start(request))
        assert cached.shared_length > 0
        assert joined(finish(engine, cached)).tobytes() == joined(finish(engine, alone)).tobytes()


@pytest.mark.parametrize(("version", "transcript"), LAYOUTS, ids=LAYOUT_NAMES)
def test_audio_with_the_prefix_cache_in_torch_is_close(version: int, transcript: str) -> None:
    engine = engine_of(version, None)
    voice = complete(engine.prepare_voice(voice_of(engine, transcript)))
    request = SpeakRequest("abc", seed=3, voice=voice, options=SynthesisOptions(parameters={"max_audio_ms": 480}))
    cached, alone = (joined(finish(engine, state)) for state in (engine.start(request), whole(engine.start(request))))
    assert abs(cached - alone).max() <= CLOSE


@pytest.mark.parametrize(("version", "transcript"), LAYOUTS, ids=LAYOUT_NAMES)
def test_only_positions_after_the_prefix_are_computed(
    version: int, transcript: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(version, "int8")
    given = voice_of(engine, transcript)
    voice = complete(engine.prepare_voice(given))
    patches = len(voice.arrays["latents"])
    after = 1 + (patches if transcript else 0)  # 101 and the continued recording
    state = engine.start(SpeakRequest("abc", seed=3, voice=voice))
    assert state.prompt is not None
    assert len(state.prompt) == (len(transcript.encode()) if transcript else patches + 2) + 3 + after
    assert positions_read(engine, state, monkeypatch) == 3 + after
    # A voice loaded from a file is cached from its first unit on.
    saved = replace(voice)
    request = SpeakRequest("abc", seed=3, voice=saved)
    first, second = (positions_read(engine, engine.start(request), monkeypatch) for _ in range(2))
    assert (first, second) == (len(state_prompt(engine, request)), 3 + after)


def state_prompt(engine: VoxCPMEngine, request: SpeakRequest) -> Tensor:
    """Tokens of the whole prompt."""
    prompt = engine.start(request).prompt
    assert prompt is not None
    return prompt.tokens


class Merging(TextTokenizer):
    """Bytes, but a full stop and a letter after it are one token: a transcript's last token depends on what follows."""

    def __init__(self) -> None:
        self._bytes = sizes.byte_tokenizer()

    def ids(self, text: str) -> list[int]:
        """Token ids; a merged pair has the last one of the vocabulary."""
        ids = self._bytes.ids(text)
        stops = [i for i, letter in enumerate(text[:-1]) if letter == "." and text[i + 1].isalpha()]
        for i in reversed(stops):
            ids[i : i + 2] = [VOCABULARY - 1]
        return ids


def test_a_transcript_token_that_merges_with_the_text_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    model = VoxCPM(tiny_checkpoint(1), torch.float32, CPU, packed="int8")
    engine = VoxCPMEngine(model, Merging(), "tiny", "tiny")
    voice = complete(engine.prepare_voice(voice_of(engine, "Two words.")))
    for text, shared, new in (("abc", 9, 3), (" abc", 10, 4)):  # "." and "a" are one token
        request = SpeakRequest(text, seed=3, voice=voice, options=SynthesisOptions(parameters={"max_audio_ms": 480}))
        state, alone = engine.start(request), whole(engine.start(request))
        assert state.shared_length == shared
        assert positions_read(engine, engine.start(request), monkeypatch) == new + 1 + len(voice.arrays["latents"])
        assert joined(finish(engine, state)).tobytes() == joined(finish(engine, alone)).tobytes()


@pytest.mark.parametrize("packed", [None, "int8"])
def test_units_do_not_change_the_prefix_cache(packed: str | None) -> None:
    """Two units at once, with different texts, then both again."""
    engine = engine_of(1, packed)
    voice = complete(engine.prepare_voice(voice_of(engine, TRANSCRIPT)))
    requests = [
        SpeakRequest(text, seed=3, voice=voice, options=SynthesisOptions(parameters={"max_audio_ms": 800}))
        for text in ("abc", "xyzw")
    ]
    alone = [joined(finish(engine, engine.start(request))) for request in requests]
    states = [engine.start(request) for request in requests]
    live = list(states)
    while live:
        engine.step(live)
        live = [state for state in live if not state.done]
    again = [joined(finish(engine, engine.start(request))) for request in requests]
    assert [one.tobytes() for one in alone] == [one.tobytes() for one in again]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 100])
@pytest.mark.parametrize("packed", [None, "fp32"])
def test_a_forked_cache_continues_like_the_original(count: int, packed: str | None) -> None:
    model = VoxCPM(tiny_checkpoint(1), torch.float32, CPU, packed=packed)
    base = model.lm.base
    x = torch.randn(110, 64, generator=torch.Generator().manual_seed(1))
    cache = base.new_cache(110)
    expected = base.prefill(x, cache)
    fork = cache.fork(count, 110)
    other = cache.fork(count, 110)
    assert fork.length == count
    base.prefill(-x[count:], other)  # does not affect the original and the other fork
    found = base.prefill(x[count:], fork)
    assert float((found - expected[count:]).abs().max()) <= (CLOSE if packed is None else 0)
    third = cache.fork(105, 110)
    assert float((base.prefill(x[105:], third) - expected[105:]).abs().max()) <= (CLOSE if packed is None else 0)


def test_a_native_fork_checks_its_length() -> None:
    base = VoxCPM(tiny_checkpoint(1), torch.float32, CPU, packed="fp32").lm.base
    cache = base.new_cache(9)
    base.prefill(torch.ones(5, 64), cache)
    for count, limit in ((6, 9), (-1, 9), (5, 4)):
        with pytest.raises(RuntimeError, match=f"fork of {count} of 5 positions"):
            cache.fork(count, limit)


@pytest.mark.parametrize("packed", [None, "int8"])
def test_a_voice_speaks_after_a_prefill_that_failed(packed: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(1, packed)
    voice = replace(
        complete(engine.prepare_voice(voice_of(engine, TRANSCRIPT)))
    )  # as loaded from a file: not cached yet
    request = SpeakRequest("abc", seed=3, voice=voice, options=SynthesisOptions(parameters={"max_audio_ms": 480}))
    with monkeypatch.context() as patch:
        patch.setattr(engine.model.lm.residual, "prefill", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.step([engine.start(request)])
    again, alone = (joined(finish(engine, state)) for state in (engine.start(request), whole(engine.start(request))))
    assert abs(again - alone).max() <= CLOSE


def test_prefill_in_parts_equals_one_prefill() -> None:
    checkpoint = tiny_checkpoint(1)
    weights = Weights(checkpoint.model, torch.float32, CPU)
    stack = Stack(checkpoint.config.base, weights.scope("base_lm"), 110)
    x = torch.randn(110, 64, generator=torch.Generator().manual_seed(1))
    at_once, in_parts = stack.new_cache(110), stack.new_cache(110)
    expected = stack.prefill(x, at_once, 100)
    stack.prefill(x[:1], in_parts)
    stack.prefill(x[1:70], in_parts, 68)
    assert float((stack.prefill(x[70:], in_parts, 30) - expected).abs().max()) <= CLOSE


def test_least_recently_used_voices_are_evicted() -> None:
    engine = engine_of(1, "int8")
    voices = [
        complete(engine.prepare_voice(voice_of(engine, transcript)))
        for transcript in (TRANSCRIPT, "Few words.", "Others.")
    ]
    cache = VoicePromptCache(
        engine.model, sizes.byte_tokenizer(), max_positions=192
    )  # three blocks, of which the first voice takes two
    first, second = cache.get(voices[0]), cache.get(voices[1])
    assert (first.positions, second.positions) == (128, 64)
    assert cache.get(voices[0]) is first
    third = cache.get(voices[2])  # evicts the second, which is the least recently used
    assert cache.get(voices[0]) is first and cache.get(voices[2]) is third
    assert cache.get(voices[1]) is not second
    small = VoicePromptCache(engine.model, sizes.byte_tokenizer(), max_positions=1)
    assert small.get(voices[0]) is small.get(voices[0]), "one voice is always cached, whatever its size"


def test_a_running_unit_survives_eviction_of_its_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(1, "int8")
    monkeypatch.setattr(engine, "_voices", VoicePromptCache(engine.model, sizes.byte_tokenizer(), max_positions=1))
    one, other = (
        complete(engine.prepare_voice(voice_of(engine, transcript))) for transcript in (TRANSCRIPT, "Few words.")
    )
    request = SpeakRequest("abc", seed=3, voice=one, options=SynthesisOptions(parameters={"max_audio_ms": 480}))
    expected = joined(finish(engine, engine.start(request)))
    state = engine.start(request)
    finish(engine, engine.start(replace(request, voice=other)))
    assert joined(finish(engine, state)).tobytes() == expected.tobytes()


def test_empty_caches_allocate_nothing() -> None:
    lm = VoxCPM(tiny_checkpoint(1), torch.float32, CPU).lm
    caches = lm.new_caches(100)
    assert isinstance(caches, Caches) and caches.length == 0 and caches.base.room == 0
