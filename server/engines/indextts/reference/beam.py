"""Beam search with sampled candidates, the official default with three beams. Codes may change until the end, so it
cannot stream.

A beam's score is the sum of its codes' log probabilities after penalty and cuts, without length normalisation.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from intone.server.engines.indextts.gpt.sampling import Sampling, uniforms
from intone.server.engines.indextts.reference.language_model import GPT
from intone.server.engines.indextts.reference.sampling import BatchSampling, cut, seen_at_start

BEAMS = 3
NEVER = -1e9
OFFICIAL = Sampling(min_tokens_to_keep=2)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A beam extended by one code: the new score, the code, and the index of the beam."""

    score: float
    code: int
    parent: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A sequence without its stop code."""

    score: float
    codes: tuple[int, ...]


@dataclass(slots=True)
class Beams:
    """The live and the finished beams, at most `width` of each.

    Attributes:
        codes, scores: of the live beams.
        done: whether no live beam can become better than the finished ones.
    """

    width: int
    stop_code: int
    codes: list[tuple[int, ...]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    done: bool = False

    def __post_init__(self) -> None:
        self.codes = [()] * self.width
        self.scores = [0.0] + [NEVER] * (self.width - 1)  # all beams are equal at first: choose from one only

    def take(self, candidates: Sequence[Candidate]) -> list[int]:
        """Continue with the best of `2 · width` candidates, given best first; the parent index of each new beam."""
        chosen: list[Candidate] = []
        for rank, candidate in enumerate(candidates):
            if candidate.code != self.stop_code:
                chosen.append(candidate)
            elif rank < self.width:
                self._finish(Finished(candidate.score, self.codes[candidate.parent]))
            if len(chosen) == self.width:
                break
        self.codes = [(*self.codes[candidate.parent], candidate.code) for candidate in chosen]
        self.scores = [candidate.score for candidate in chosen]
        full = len(self.finished) == self.width
        self.done = full and min(f.score for f in self.finished) >= candidates[0].score
        return [candidate.parent for candidate in chosen]

    def best(self) -> Finished:
        """The best sequence; live beams count where the search was cut short."""
        if not self.done:
            for score, codes in zip(self.scores, self.codes, strict=True):
                self._finish(Finished(score, codes))
        return max(self.finished, key=lambda finished: finished.score)

    def _finish(self, finished: Finished) -> None:
        self.finished = sorted([*self.finished, finished], key=lambda f: f.score)[-self.width :]


def search(
    gpt: GPT, prefix: Tensor, seed: int, max_codes: int, sampling: Sampling = OFFICIAL, width: int = BEAMS
) -> list[int]:
    """At most `max_codes` codes of a unit, without the stop code; `GPT.replay` gives their hidden states."""
    config = gpt.config
    unit, hidden = gpt.begin(prefix, max_codes)
    units, rows = [copy.deepcopy(unit) for _ in range(width)], hidden.expand(width, -1)
    seen = seen_at_start(config.codes, config.start_code, prefix.device).repeat(width, 1)
    settings = BatchSampling.of([sampling] * width, config.codes, prefix.device)
    beams = Beams(width, config.stop_code)
    for position in range(max_codes):
        codes, scores = cut(gpt.logits(rows).log_softmax(1), seen, settings)
        parents = beams.take(_candidates(codes, scores, beams.scores, seed, position))
        if beams.done or position == max_codes - 1:
            break
        units = [copy.deepcopy(units[parent]) for parent in parents]
        last = torch.tensor([codes[-1] for codes in beams.codes], device=prefix.device)
        seen = seen[parents].scatter(1, last[:, None], True)
        rows = gpt.advance(last, units)
    return list(beams.best().codes)


def _candidates(
    codes: Tensor, scores: Tensor, beam_scores: Sequence[float], seed: int, position: int
) -> list[Candidate]:
    """`2 · width` candidates sampled without replacement, best first; codes and scores are `[beams, K]`."""
    width, kept = codes.shape
    sums = scores.double() + torch.tensor(beam_scores, dtype=torch.float64, device=scores.device)[:, None]
    # Gumbel top-k: the largest log probabilities plus noise are samples without replacement (arXiv 1903.06059).
    noise = -(-uniforms(seed, position * width * kept, width * kept).clamp_min(2.0**-60).log()).log()
    drawn = (sums.flatten() + noise.to(sums)).topk(2 * width).indices
    drawn = drawn[sums.flatten()[drawn].argsort(descending=True, stable=True)]
    flat = codes.flatten()
    return [Candidate(float(sums.flatten()[i]), int(flat[i]), int(i) // kept) for i in drawn.tolist()]
