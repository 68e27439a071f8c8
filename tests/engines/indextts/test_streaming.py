"""Streaming codes to mel: a stream against a whole unit, and the content of its state."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import Variant
from intone.server.engines.indextts.s2mel import streaming
from intone.server.engines.indextts.s2mel.acoustic import AcousticPrompt, AcousticSettings, KnownFrames
from intone.server.engines.indextts.s2mel.noise import frame_noise
from intone.server.engines.indextts.s2mel.streaming import AcousticState, ChunkPlan
from tests.oracles.indextts_golden import assert_close
from tests.support.indextts_tiny import BANDS, PLAN, AcousticFixture

UNLIMITED = replace(PLAN, prompt_frames=None, context_frames=10**6)


@pytest.fixture(scope="module", params=[Variant.V2, Variant.V25], ids=["v2", "v2.5"])
def speaker(request: pytest.FixtureRequest) -> AcousticFixture:
    return AcousticFixture.build(request.param)


@pytest.fixture(scope="module")
def speaker25() -> AcousticFixture:
    return AcousticFixture.build(Variant.V25)


# ---- noise ----------------------------------------------------------------------------------------------------------


@given(
    first=st.integers(0, 5000), count=st.integers(0, 40), seed=st.integers(0, 2**64 - 1), bands=st.sampled_from([80, 7])
)
@settings(max_examples=60, deadline=None)
def test_noise_depends_on_the_frame_only(first: int, count: int, seed: int, bands: int) -> None:
    part = frame_noise(seed, first, count, bands)
    assert part.shape == (count, bands) and part.dtype == np.float32
    for offset in range(0, count, 7):
        assert np.array_equal(part[offset], frame_noise(seed, first + offset, 1, bands)[0])


def test_noise_is_normal_and_seeds_differ() -> None:
    numbers = frame_noise(3, 0, 4000, 80).astype(np.float64)
    assert abs(numbers.mean()) < 0.01 and abs(numbers.std() - 1) < 0.01
    assert abs((numbers**4).mean() - 3) < 0.1
    assert abs((numbers[1:] * numbers[:-1]).mean()) < 0.01 and abs((numbers[:, 1:] * numbers[:, :-1]).mean()) < 0.01
    assert abs((numbers * frame_noise(4, 0, 4000, 80)).mean()) < 0.01


# ---- streaming ------------------------------------------------------------------------------------------------------


def test_one_chunk_with_unlimited_context_is_the_whole_unit(speaker: AcousticFixture) -> None:
    codes, hidden = speaker.codes(31)
    chunks, states = speaker.stream(codes, hidden, [], UNLIMITED)
    assert torch.equal(chunks[0], speaker.offline(codes, hidden))
    assert states[-1].done


def test_an_end_before_the_first_solve_gives_the_whole_unit(speaker: AcousticFixture) -> None:
    """For any chunking of the codes."""
    codes, hidden = speaker.codes(4)
    chunks, _ = speaker.stream(codes, hidden, [1, 3], UNLIMITED)
    assert [chunk.shape[1] for chunk in chunks[:-1]] == [0, 0]
    assert torch.equal(chunks[-1], speaker.offline(codes, hidden))


def test_the_first_chunk_equals_a_whole_unit_except_for_the_norms(speaker: AcousticFixture) -> None:
    """Its codes fill a multiple of 25 features, so the maps agree; the norms differ by the recording's moments."""
    count = 25 if speaker.variant is Variant.V25 else 50
    codes, hidden = speaker.codes(count)
    state = streaming.start(speaker.prompt, speaker.settings, UNLIMITED)
    forgetful = replace(state, moments=speaker.model.regulator.empty_moments())
    mel, after = streaming.extend(speaker.model, forgetful, codes, hidden, last=False)
    whole = speaker.offline(codes, hidden)
    assert mel.shape[1] == 86 - PLAN.lookahead_frames
    assert_close(torch.cat((mel, after.provisional), dim=1), whole, 1e-5)
    informed, _ = streaming.extend(speaker.model, state, codes, hidden, last=False)
    assert float((informed - mel).abs().max()) > 1e-3


@given(cuts=st.lists(st.integers(0, 70), max_size=8), factor=st.sampled_from([0.5, 0.78, 1.0, 1.3]))
@settings(max_examples=25, deadline=None)
def test_a_stream_is_as_long_as_the_whole_for_any_chunking(
    speaker25: AcousticFixture, cuts: list[int], factor: float
) -> None:
    codes, hidden = speaker25.codes(70)
    quick = replace(speaker25, settings=AcousticSettings(1, speaker25.model.time_table(1), 0.0, factor))
    chunks, states = quick.stream(codes, hidden, cuts)
    assert sum(chunk.shape[1] for chunk in chunks) == speaker25.model.frames(70, factor)
    assert states[-1].done and states[-1].frames == speaker25.model.frames(70, factor)
    assert all(bool(chunk.isfinite().all()) for chunk in chunks)


def test_no_codes_give_no_frames(speaker: AcousticFixture) -> None:
    codes, _ = speaker.codes(0)
    assert speaker.offline(codes, None).shape == (BANDS, 0)
    state = streaming.start(speaker.prompt, speaker.settings, PLAN)
    mel, state = streaming.extend(speaker.model, state, codes, None, last=True)
    assert mel.shape == (BANDS, 0) and state.done and state.frames == 0


def test_nothing_is_solved_before_a_frame_can_be_final(speaker25: AcousticFixture) -> None:
    codes, _ = speaker25.codes(2)
    state = streaming.start(speaker25.prompt, speaker25.settings, PLAN)
    mel, after = streaming.extend(speaker25.model, state, codes, None, last=False)
    assert mel.shape == (BANDS, 0) and after.chunks == 0 and not after.done
    assert after.codes.tolist() == codes.tolist()


def test_an_end_without_new_codes_emits_the_provisional_frames(speaker: AcousticFixture) -> None:
    codes, hidden = speaker.codes(40)
    empty, none = codes[:0], None if hidden is None else hidden[:0]
    state = streaming.start(speaker.prompt, speaker.settings, PLAN)
    _, state = streaming.extend(speaker.model, state, codes[:20], None if hidden is None else hidden[:20], last=False)
    _, state = streaming.extend(speaker.model, state, codes[20:], None if hidden is None else hidden[20:], last=False)
    rest, ended = streaming.extend(speaker.model, state, empty, none, last=True)
    assert torch.equal(rest, state.provisional) and rest.shape[1] == PLAN.lookahead_frames and ended.done


def test_conditions_of_provisional_frames_are_final_at_the_end(speaker: AcousticFixture) -> None:
    """So provisional frames can be emitted without another solve when no code follows."""
    codes, hidden = speaker.codes(50)
    before = streaming.start(speaker.prompt, speaker.settings, UNLIMITED)
    before = replace(before, codes=codes, hidden=hidden)
    available = speaker.model.frames(50, 1.0)
    final = available - PLAN.lookahead_frames
    then, _ = streaming.conditions(speaker.model, before, available, final)
    _, after = streaming.extend(speaker.model, before, codes[:0], None, last=False)
    assert after.frames == final
    now, _ = streaming.conditions(speaker.model, after, available, available - final)
    assert_close(now, then[final:])


def test_states_are_immutable(speaker: AcousticFixture) -> None:
    """Extending the same state twice gives the same result, with other units in between."""
    codes, hidden = speaker.codes(60)
    _, states = speaker.stream(codes, hidden, [20, 40])
    other, other_hidden = speaker.codes(33, seed=5)

    def again() -> tuple[Tensor, AcousticState]:
        part = None if hidden is None else hidden[20:40]
        return streaming.extend(speaker.model, states[0], codes[20:40], part, last=False)

    first, after = again()
    speaker.stream(other, other_hidden, [11, 22])
    second, _ = again()
    assert torch.equal(first, second) and after.frames > states[0].frames


def test_the_seed_determines_the_result(speaker25: AcousticFixture) -> None:
    codes, hidden = speaker25.codes(40)
    first, again = (torch.cat(speaker25.stream(codes, hidden, [20])[0], dim=1) for _ in range(2))
    assert torch.equal(first, again)
    other = replace(speaker25.settings, seed=8)
    state = streaming.start(speaker25.prompt, other, PLAN)
    mel, _ = streaming.extend(speaker25.model, state, codes, hidden, last=True)
    assert float((mel - first).abs().max()) > 0.1


def test_a_state_stays_small_and_drops_only_unneeded_codes(speaker: AcousticFixture) -> None:
    """The result equals that of a state with all codes."""
    codes, hidden = speaker.codes(400)
    per_code = speaker.model.features_per_code
    cuts = list(range(40 // per_code, 400, 40 // per_code))
    chunks, states = speaker.stream(codes, hidden, cuts)
    known = max(state.codes.shape[0] for state in states[:-1])
    context = speaker.model.source.context_codes + (PLAN.lookahead_frames + 4) / 1.72 / per_code + 2
    assert known <= context + 1
    assert max(state.recent.mel.shape[0] for state in states) == PLAN.context_frames
    assert states[0].voice.mel.shape[0] == PLAN.prompt_frames

    state, kept = streaming.start(speaker.prompt, speaker.settings, PLAN), []
    for begin, end in zip([0, *cuts], [*cuts, 400], strict=True):
        part = None if hidden is None else hidden[begin:end]
        mel, state = streaming.extend(speaker.model, state, codes[begin:end], part, last=end == 400)
        state = replace(state, codes=codes[:end], hidden=None if hidden is None else hidden[:end], first_code=0)
        kept.append(mel)
    assert_close(torch.cat(chunks, dim=1), torch.cat(kept, dim=1), 1e-4)


def test_a_chunk_continues_the_frames_emitted_before(speaker25: AcousticFixture) -> None:
    """The flow gets the emitted frames with the conditions they were solved with."""
    codes, _ = speaker25.codes(60)
    chunks, states = speaker25.stream(codes, None, [20, 40], UNLIMITED)
    first = states[0].frames
    assert states[1].frames == sum(chunk.shape[1] for chunk in chunks[:2])
    assert torch.equal(states[1].recent.mel.t(), torch.cat(chunks[:2], dim=1))
    assert torch.equal(states[1].recent.condition[:first], states[0].recent.condition)
    assert states[1].recent.condition.shape[0] == states[1].frames > first


def test_a_later_chunk_continues_recording_and_emitted_frames_with_its_own_noise(speaker: AcousticFixture) -> None:
    """The second chunk computed step by step."""
    codes, hidden = speaker.codes(60)
    chunks, states = speaker.stream(codes, hidden, [20, 40])
    model, before = speaker.model, states[0]
    frames, available = before.frames, model.frames(40, 1.0)
    told = replace(before, codes=codes[:40], hidden=None if hidden is None else hidden[:40], first_code=0)
    condition, _ = streaming.conditions(model, told, available, states[1].frames - frames)
    mel = torch.cat((speaker.prompt.mel[-PLAN.prompt_frames :], chunks[0].t()[-PLAN.context_frames :]))
    heard = torch.cat((speaker.prompt.condition[-PLAN.prompt_frames :], before.recent.condition))
    noise = torch.from_numpy(frame_noise(speaker.settings.seed, frames, available - frames, BANDS))
    found = model.fill(KnownFrames(mel, heard, speaker.prompt.style), condition, noise, speaker.settings)
    assert_close(torch.cat((chunks[1], states[1].provisional), dim=1), found.t(), 1e-5)


def test_later_solves_continue_fewer_frames_of_the_recording(speaker25: AcousticFixture) -> None:
    plan = replace(PLAN, later_frames=35, context_frames=20)
    assert [plan.voice_frames(chunk, recent, 40) for chunk, recent in ((0, 0), (1, 12), (2, 20))] == [40, 23, 15]
    assert replace(plan, later_frames=None).voice_frames(3, 20, 40) == 40 and plan.voice_frames(1, 50, 40) == 0
    codes, hidden = speaker25.codes(60)
    chunks, states = speaker25.stream(codes, hidden, [20, 40], plan)
    again = replace(states[0], voice=states[0].voice.last(35 - states[0].recent.mel.shape[0]))
    cut, _ = streaming.extend(speaker25.model, again, codes[20:40], None, last=False)
    assert torch.equal(chunks[1], cut)
    longer = speaker25.stream(codes, hidden, [20, 40], replace(plan, later_frames=None))[0]
    assert torch.equal(chunks[0], longer[0]) and not torch.equal(chunks[1], longer[1])


def test_moments_count_every_emitted_frame_once(speaker25: AcousticFixture) -> None:
    _, states = speaker25.stream(*speaker25.codes(70), [20, 35, 50])
    for state in states[:-1]:
        assert state.moments.frames == speaker25.prompt.initial_moments().frames + state.frames


@pytest.mark.parametrize("per_code", [1, 2])
def test_the_plan_grows_to_its_limit(per_code: int) -> None:
    plan = ChunkPlan()
    waited = [plan.codes(chunk, per_code) for chunk in range(6)]
    assert waited == [28 // per_code, 56 // per_code, *[100 // per_code] * 4]
    assert plan.codes(10**6, per_code) == 100 // per_code
    assert ChunkPlan(first_features=1, growth=0.1).codes(3, 2) == 1


def test_a_prompt_survives_as_arrays(speaker: AcousticFixture) -> None:
    prompt = speaker.prompt
    arrays = {name: getattr(prompt, name).numpy().copy() for name in ("mel", "condition", "style", "moments")}
    again = AcousticPrompt(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    codes, hidden = speaker.codes(30)
    same = replace(speaker.settings, seed=1)
    for plan in (PLAN, UNLIMITED):
        mels = [
            streaming.extend(speaker.model, streaming.start(one, same, plan), codes, hidden, last=False)[0]
            for one in (prompt, again)
        ]
        assert torch.equal(*mels)
