"""Sampling of codes: the official order of penalty and cuts, reproducible draws, guards, beam search."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from intone.server.engines.indextts.gpt.code_budget import length_guard, repeats
from intone.server.engines.indextts.gpt.sampling import Sampling, uniforms
from intone.server.engines.indextts.reference.beam import Beams, Candidate, search
from intone.server.engines.indextts.reference.language_model import GPT
from intone.server.engines.indextts.reference.sampling import GREEDY, BatchSampling, cut, draw, seen_at_start
from tests.oracles.indextts_golden import assert_close, golden
from tests.support.indextts_tiny import tiny_config, untrained_gpt, weights

pytestmark = pytest.mark.usefixtures("no_gradients")

CPU = torch.device("cpu")
SEEDS = st.integers(0, 2**64 - 1)


@pytest.fixture(scope="module")
def goldens(require: Callable[..., Any]) -> dict[str, Tensor]:
    return golden(require, "sampling", "indextts_oracle_text.py")


def case_settings(goldens: dict[str, Tensor], case: int) -> Sampling:
    penalty, temperature, top_k, top_p, least = goldens[f"{case}.in.settings"].tolist()
    return Sampling(temperature, int(top_k), top_p, penalty, int(least))


def seen_of(goldens: dict[str, Tensor]) -> Tensor:
    return torch.zeros(4, 200, dtype=torch.bool).scatter(1, goldens["in.seen"], True)


def spread(codes: Tensor, values: Tensor, rest: float) -> Tensor:
    """`[B, K]` scattered to the positions of their codes: `[B, 200]`."""
    return torch.full((len(codes), 200), rest).scatter(1, codes, values)


# ---- the official order ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", range(4))
def test_cuts(goldens: dict[str, Tensor], case: int) -> None:
    sampling = case_settings(goldens, case)
    settings = BatchSampling.of([sampling] * 4, 200, CPU)
    codes, scores = cut(goldens["in.logits"], seen_of(goldens), settings)
    ours, theirs = spread(codes, scores.softmax(1), 0.0), goldens[f"{case}.out"]
    assert torch.equal(ours > 0, theirs > 0)
    assert_close(ours, theirs)
    codes, scores = cut(goldens["in.logits"].log_softmax(1), seen_of(goldens), settings)
    ours, theirs = spread(codes, scores, -math.inf), goldens[f"{case}.out.of_logs"]
    assert torch.equal(ours.isfinite(), theirs.isfinite())
    assert_close(ours[ours.isfinite()], theirs[theirs.isfinite()])


def test_each_unit_has_its_own_settings(goldens: dict[str, Tensor]) -> None:
    """Row r of a batch with four settings equals row r of a batch that has the same settings in every row."""
    cases = [case_settings(goldens, case) for case in range(4)]
    codes, scores = cut(goldens["in.logits"], seen_of(goldens), BatchSampling.of(cases, 200, CPU))
    together = spread(codes, scores.softmax(1), 0.0)
    assert_close(together, torch.stack([goldens[f"{case}.out"][case] for case in range(4)]))


def test_greedy_takes_the_likeliest(goldens: dict[str, Tensor]) -> None:
    settings = BatchSampling.of([GREEDY, Sampling(), GREEDY, Sampling()], 200, CPU)
    codes, scores = cut(goldens["in.logits"], torch.zeros(4, 200, dtype=torch.bool), settings)
    for uniform in (0.0, 0.5, 1 - 2.0**-53):
        drawn = draw(codes, scores, torch.full((4,), uniform, dtype=torch.float64))
        assert drawn[0] == goldens["in.logits"][0].argmax() and drawn[2] == goldens["in.logits"][2].argmax()


def test_the_prefix_counts_as_generated() -> None:
    seen = seen_at_start(130, 128, CPU)
    assert seen.nonzero()[:, 0].tolist() == [1, 128]


# ---- draws ----------------------------------------------------------------------------------------------------------


def test_draws_follow_the_probabilities(goldens: dict[str, Tensor]) -> None:
    count = 4000
    codes, scores = cut(goldens["in.logits"][:1], seen_of(goldens)[:1], BatchSampling.of([Sampling()], 200, CPU))
    drawn = draw(codes.expand(count, -1), scores.expand(count, -1), uniforms(7, 0, count))
    share = drawn.bincount(minlength=200) / count
    wanted = goldens["0.out"][0]
    assert not share[wanted == 0].any()
    assert (share - wanted).abs().max() < 0.03  # four standard deviations


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8), st.integers(0, 1000))
def test_codes_cut_off_are_never_drawn(points: list[float], seed: int) -> None:
    scores = torch.randn(len(points), 12, generator=torch.Generator().manual_seed(seed))
    settings = BatchSampling.of([Sampling(top_k=3 + n % 3, top_p=0.6) for n in range(len(points))], 12, CPU)
    codes, left = cut(scores, torch.zeros_like(scores, dtype=torch.bool), settings)
    drawn = draw(codes, left, torch.tensor(points, dtype=torch.float64))
    allowed = [set(codes[row][left[row].isfinite()].tolist()) for row in range(len(points))]
    assert all(code in choice for code, choice in zip(drawn.tolist(), allowed, strict=True))


@given(SEEDS, st.integers(0, 2**40), st.integers(1, 50), st.data())
def test_numbers_depend_on_seed_and_position_only(seed: int, first: int, count: int, data: st.DataObject) -> None:
    whole = uniforms(seed, first, count)
    place = data.draw(st.integers(0, count - 1))
    assert uniforms(seed, first + place, 1)[0] == whole[place]
    assert float(whole.min()) >= 0 and float(whole.max()) < 1
    assert not torch.equal(whole, uniforms(seed ^ 1, first, count))


def sampled(model: GPT, prefixes: list[Tensor], seeds: list[int], sampling: list[Sampling], count: int) -> list[Any]:
    config = model.config
    begun = [model.begin(prefix, count) for prefix in prefixes]
    units, rows = [unit for unit, _ in begun], torch.stack([hidden for _, hidden in begun])
    seen = torch.stack([seen_at_start(config.codes, config.start_code, CPU) for _ in units])
    settings = BatchSampling.of(sampling, config.codes, CPU)
    made = []
    for place in range(count):
        points = torch.cat([uniforms(seed, place, 1) for seed in seeds])
        codes = draw(*cut(model.logits(rows), seen, settings), points)
        seen.scatter_(1, codes[:, None], True)
        made.append(codes)
        rows = model.advance(codes, units)
    return torch.stack(made, 1).tolist()


@pytest.fixture(scope="module")
def model() -> GPT:
    config = tiny_config()
    config = dataclasses.replace(config, gpt=dataclasses.replace(config.gpt, max_codes=120))
    return GPT(config, weights(untrained_gpt(config, 1)))


def prefix_of(model: GPT, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(0, 8, (1 + seed % 7,), generator=generator).tolist()
    return model.prefix(text, torch.randn(1, model.config.dim, generator=generator), torch.zeros(model.config.dim))


def test_codes_are_batch_invariant(model: GPT) -> None:
    seeds, settings = [5, 6, 2**64 - 1, 5], [Sampling(), Sampling(1.2, 50, 0.9, 2.0), Sampling(top_k=5), Sampling()]
    prefixes = [prefix_of(model, n) for n in (1, 2, 3, 1)]
    together = sampled(model, prefixes, seeds, settings, 30)
    alone = [sampled(model, [p], [s], [t], 30)[0] for p, s, t in zip(prefixes, seeds, settings, strict=True)]
    assert together == alone
    assert together[0] == together[3] != sampled(model, prefixes[:1], [7], settings[:1], 30)[0]


# ---- guards ---------------------------------------------------------------------------------------------------------


def test_length_guard() -> None:
    assert length_guard(10, 25.0, 1815) == 25 * (8 + 2)
    assert length_guard(10, 50.0, 1815) == 2 * length_guard(10, 25.0, 1815)
    assert length_guard(1000, 50.0, 1815) == 1815


@pytest.mark.parametrize("period", [1, 2, 7, 25])
def test_repetition_is_found_and_speech_is_not(period: int) -> None:
    speech = torch.randint(0, 8192, (400,), generator=torch.Generator().manual_seed(period)).tolist()
    loop = (speech[:period] * 100)[:75]
    assert repeats(speech + loop, 25.0)
    assert not repeats(speech + loop[:70], 25.0)  # a pause of less than three seconds may be intended
    assert not repeats(speech, 25.0) and not repeats(loop[:74], 25.0) and not repeats([], 25.0)
    assert not repeats([*speech, *loop, speech[0] + 1], 25.0)


# ---- beams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", range(4))
def test_beams_equal_the_official_scorer(goldens: dict[str, Tensor], case: int) -> None:
    beams = Beams(3, stop_code=9)
    steps = int(goldens[f"beam{case}.out.steps"])
    for step in range(steps):
        assert not beams.done
        given_now = [goldens[f"beam{case}.in.{name}.{step}"].tolist() for name in ("scores", "tokens", "parents")]
        beams.take([Candidate(*candidate) for candidate in zip(*given_now, strict=True)])
        expected = goldens[f"beam{case}.out.scores.{step}"].tolist()
        assert beams.scores == (expected if not beams.done else beams.scores)
    assert beams.done == (steps < 25)
    theirs = goldens[f"beam{case}.out.codes"].tolist()
    assert list(beams.best().codes) == (theirs[: theirs.index(9)] if 9 in theirs else theirs)


def test_beam_search_depends_on_the_seed_only(model: GPT) -> None:
    prefix = prefix_of(model, 4)
    narrow = Sampling(temperature=1.0, top_k=2, top_p=1.0, penalty=1.0, min_tokens_to_keep=2)
    found = search(model, prefix, 3, 15, narrow)
    assert found == search(model, prefix, 3, 15, narrow) and len(found) == 15
    assert found != search(model, prefix, 4, 15)


def test_a_finished_beam_wins_over_live_ones_with_lower_scores() -> None:
    beams = Beams(3, stop_code=9)
    assert beams.take([Candidate(-1.0, 5, 0), Candidate(-2.0, 9, 0), Candidate(-3.0, 6, 0), Candidate(-4.0, 7, 0)])
    assert beams.codes == [(5,), (6,), (7,)] and beams.scores == [-1.0, -3.0, -4.0] and not beams.done
    for score in (-2.5, -2.6):
        beams.take([Candidate(score, 9, 1), *(Candidate(-5.0 - n, n, 0) for n in range(5))])
    assert beams.done and beams.best().codes == () and beams.best().score == -2.0
