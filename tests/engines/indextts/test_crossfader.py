"""Crossfading of chunks: no sample is lost or repeated, and provisional audio blends into final audio."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.domain import Samples
from intone.server.engines.indextts.vocoder.crossfader import FADE_SAMPLES, Crossfader

ROUNDING = 1e-6
"""Float32, signals within [-1, 1]: a weighted mean of equal numbers may differ by rounding."""


def noise(samples: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)


def stream(
    truth: Samples, cuts: Sequence[tuple[int, int]], guess: Samples | None = None
) -> tuple[list[Samples], list[int]]:
    """Chunks and their ends, for a signal with (final, known) samples at each cut.

    Known samples that are not final come from `guess`, of the same length, where given.
    """
    crossfader, chunks, start = Crossfader(), [], 0
    for final, known in [*cuts, (len(truth), len(truth))]:
        provisional = (truth if guess is None else guess)[final:known]
        chunks.append(crossfader.join(truth[start:final], provisional, last=final == len(truth)))
        start = final
    return chunks, [int(end) for end in np.cumsum([len(chunk) for chunk in chunks])]


def cuts_of(steps: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Growing (final, known) pairs: `known` grows by the first number, `final` lags by the second."""
    found, known, final = [], 0, 0
    for more, behind in steps:
        known += more
        final = max(final, known - behind)
        found.append((final, known))
    return found


STEPS = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 2500)), max_size=6)


@given(steps=STEPS, rest=st.integers(1, 3000))
@settings(max_examples=100, deadline=None)
def test_exact_provisional_audio_is_unchanged(steps: list[tuple[int, int]], rest: int) -> None:
    cuts = cuts_of(steps)
    truth = noise((cuts[-1][1] if cuts else 0) + rest)
    chunks, ends = stream(truth, cuts)
    assert ends[-1] == len(truth)
    assert np.abs(np.concatenate(chunks) - truth).max() <= ROUNDING
    for (_, known), end in zip(cuts, ends, strict=False):
        assert end <= known and end >= known - FADE_SAMPLES  # all known samples are sent, except those of the fade


@given(steps=STEPS, rest=st.integers(1, 3000))
@settings(max_examples=100, deadline=None)
def test_inexact_provisional_audio_changes_only_itself_and_the_fade(steps: list[tuple[int, int]], rest: int) -> None:
    cuts = cuts_of(steps)
    truth = noise((cuts[-1][1] if cuts else 0) + rest)
    guess = noise(len(truth), seed=1)
    chunks, ends = stream(truth, cuts, guess)
    sent = np.concatenate(chunks)
    assert len(sent) == len(truth)
    guessed = np.zeros(len(truth), bool)
    for final, known in cuts:
        guessed[final:known] = True
    assert np.array_equal(sent[~guessed], truth[~guessed])
    low, high = np.minimum(truth, guess), np.maximum(truth, guess)
    assert (sent >= low - ROUNDING).all() and (sent <= high + ROUNDING).all()


def test_the_fade_is_linear() -> None:
    truth, guess = np.ones(4000, np.float32), np.zeros(4000, np.float32)
    (first, second), _ = stream(truth, [(1000, 2000)], guess)
    assert np.array_equal(first, np.concatenate([np.ones(1000), np.zeros(1000 - FADE_SAMPLES)]))
    line = np.arange(1, FADE_SAMPLES + 1) / (FADE_SAMPLES + 1)
    assert np.abs(second[:FADE_SAMPLES] - line).max() <= ROUNDING
    assert np.array_equal(second[FADE_SAMPLES:], np.ones(2000))


@pytest.mark.parametrize("known", [1, FADE_SAMPLES - 1, FADE_SAMPLES, FADE_SAMPLES + 1])
def test_less_than_a_fade_is_held_back(known: int) -> None:
    truth = noise(2000)
    (first, second), _ = stream(truth, [(0, known)])
    assert len(first) == max(0, known - FADE_SAMPLES)
    assert np.abs(np.concatenate([first, second]) - truth).max() <= ROUNDING


def test_the_end_flushes_held_samples() -> None:
    """The end brings no new samples, but those held back are sent."""
    joint, truth = Crossfader(), noise(1000)
    first = joint.join(truth[:400], truth[400:], last=False)
    second = joint.join(truth[400:], np.zeros(0, np.float32), last=True)
    assert len(first) == 1000 - FADE_SAMPLES
    assert np.abs(np.concatenate([first, second]) - truth).max() <= ROUNDING


def test_no_samples_give_no_samples() -> None:
    nothing = np.zeros(0, np.float32)
    assert len(Crossfader().join(nothing, nothing, last=True)) == 0


def test_sent_samples_are_not_modified() -> None:
    joint, truth = Crossfader(), noise(3000)
    first = joint.join(truth[:1000], truth[1000:2000], last=False)
    before = first.copy()
    joint.join(truth[1000:], np.zeros(0, np.float32), last=True)
    assert np.array_equal(first, before) and np.array_equal(truth, noise(3000))
