"""The sampling loop in torch: the official order of repetition penalty, temperature, top-k and top-p, then a draw.

Batch-invariant: a unit's codes do not depend on the other units of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from intone.server.engines.indextts.gpt.sampling import PENALISED_FROM_THE_START, Sampling
from intone.server.nn.transfer import send

GREEDY = Sampling(temperature=0.0, penalty=1.0)


@dataclass(frozen=True, slots=True)
class BatchSampling:
    """The sampling parameters of a batch as columns `[B, 1]` on the device; `max_top_k` is the largest `top_k`."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    penalty: Tensor
    min_tokens_to_keep: Tensor
    max_top_k: int

    @classmethod
    def of(cls, units: Sequence[Sampling], codes: int, device: torch.device) -> "BatchSampling":
        """`codes` is the size of the vocabulary."""
        kept = [
            1 if unit.temperature == 0 else max(unit.min_tokens_to_keep, min(unit.top_k or codes, codes))
            for unit in units
        ]

        def column(values: Sequence[float]) -> Tensor:
            return send(torch.tensor(values).unsqueeze(1), device)

        return cls(
            temperature=column([unit.temperature or 1.0 for unit in units]),
            top_k=column(kept),
            top_p=column([unit.top_p for unit in units]),
            penalty=column([unit.penalty for unit in units]),
            min_tokens_to_keep=column([unit.min_tokens_to_keep for unit in units]),
            max_top_k=max(kept),
        )


def seen_at_start(codes: int, start_code: int, device: torch.device) -> Tensor:
    """The codes that count as generated before the first one: `[V]`, bool. The caller marks each code that follows."""
    seen = torch.zeros(codes, dtype=torch.bool, device=device)
    seen[PENALISED_FROM_THE_START] = seen[start_code] = True
    return seen


def cut(scores: Tensor, seen: Tensor, settings: BatchSampling) -> tuple[Tensor, Tensor]:
    """Apply penalty, temperature, top-k and top-p: codes and their new scores, `[B, K]` each, best first.

    Codes that are cut off have a score of minus infinity.

    Args:
        scores: `[B, V]`, float32: logits, or log probabilities.
        seen: `[B, V]`, bool, codes to penalise.
    """
    penalised = torch.where(scores < 0, scores * settings.penalty, scores / settings.penalty)
    best, codes = (torch.where(seen, penalised, scores) / settings.temperature).topk(settings.max_top_k, dim=1)
    ranks = torch.arange(settings.max_top_k, device=best.device)
    best = best.masked_fill(ranks >= settings.top_k, float("-inf"))
    # Summed from the unlikely end as the official cut is, for the same rounding.
    up_to_here = best.softmax(1).flip(1).cumsum(1).flip(1)
    unlikely = (up_to_here <= 1 - settings.top_p) & (ranks >= settings.min_tokens_to_keep)
    return codes, best.masked_fill(unlikely, float("-inf"))


def barred(scores: Tensor, code: int, rows: Tensor) -> Tensor:
    """Scores `[B, V]` for `cut` with `code` at minus infinity in the rows selected by `rows`, `[B]`, bool."""
    scores = scores.clone()
    scores[:, code].masked_fill_(rows, float("-inf"))
    return scores


def draw(codes: Tensor, scores: Tensor, uniforms: Tensor) -> Tensor:
    """Sample one code from each row of the result of `cut`: `[B]`.

    Inverts the cumulative distribution at `uniforms` `[B]`, float64 in [0, 1). It sums over codes in the order of their
    ids, not of their scores, so that rounding which swaps two similar scores does not change the code drawn.
    """
    ids, order = codes.sort(dim=1)
    ends = scores.gather(1, order).double().softmax(1).cumsum(1)
    points = send(uniforms, ends.device).unsqueeze(1) * ends[:, -1:]
    places = (ends <= points).sum(1, keepdim=True).clamp_max(ids.shape[1] - 1)
    return ids.gather(1, places)[:, 0]
