"""Which code comes next: the official order of penalties and cuts, then a draw that depends on seed and place only.

Knows no model: scores in, codes out. Any company of units in a batch gives the same codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from intone.server.nn.transfer import send

PENALISED_FROM_THE_START = 1
"""The official loop stands for all of the prompt with this id, so that code is penalised before it is ever made."""

DRAWS = 0x636F646573
"""Second word of the key: keeps these numbers apart from other uses of a unit's seed."""

TWO_TO_MINUS_53 = 2.0**-53

TOKEN_S = 0.8
"""A unit is cut when each of its text tokens has lasted this long on average: speech takes a third of that."""

EXTRA_S = 2.0
"""And this on top of it all."""

REPEATED_S = 3.0
LONGEST_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How codes are drawn; the defaults are the official ones.

    Attributes:
        temperature: divides the scores; 0 takes the likeliest code that the penalty leaves.
        top_k: that many codes stay; 0 for all.
        top_p: the likeliest stay that have this probability together.
        penalty: of codes that were there before: positive scores are divided by it, negative ones multiplied.
        least: codes that stay whatever the other cuts say.
    """

    temperature: float = 0.8
    top_k: int = 30
    top_p: float = 0.8
    penalty: float = 10.0
    least: int = 1

    def __post_init__(self) -> None:
        assert self.temperature >= 0 and self.top_k >= 0 and 0 < self.top_p <= 1 and self.penalty > 0 and self.least > 0


GREEDY = Sampling(temperature=0.0, penalty=1.0)


@dataclass(frozen=True, slots=True)
class Settings:
    """Those of a batch, as columns `[B, 1]` on the device; `widest` is the largest `top_k`."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    penalty: Tensor
    least: Tensor
    widest: int

    @classmethod
    def of(cls, units: Sequence[Sampling], codes: int, device: torch.device) -> "Settings":
        """`codes` is the size of the vocabulary."""
        kept = [1 if unit.temperature == 0 else max(unit.least, min(unit.top_k or codes, codes)) for unit in units]

        def column(values: Sequence[float]) -> Tensor:
            return send(torch.tensor(values).unsqueeze(1), device)

        return cls(
            temperature=column([unit.temperature or 1.0 for unit in units]),
            top_k=column(kept),
            top_p=column([unit.top_p for unit in units]),
            penalty=column([unit.penalty for unit in units]),
            least=column([unit.least for unit in units]),
            widest=max(kept),
        )


def seen_at_start(codes: int, start_code: int, device: torch.device) -> Tensor:
    """Which codes count as made before the first one: `[V]`, bool. The caller marks each code that follows."""
    seen = torch.zeros(codes, dtype=torch.bool, device=device)
    seen[PENALISED_FROM_THE_START] = seen[start_code] = True
    return seen


def cut(scores: Tensor, seen: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """What codes may come: `[B, K]` each, codes and their new scores, in falling order; minus infinity for the others.

    Args:
        scores: `[B, V]`, float32: logits, or logarithms of probabilities.
        seen: `[B, V]`, bool.
    """
    penalised = torch.where(scores < 0, scores * settings.penalty, scores / settings.penalty)
    best, codes = (torch.where(seen, penalised, scores) / settings.temperature).topk(settings.widest, dim=1)
    ranks = torch.arange(settings.widest, device=best.device)
    best = best.masked_fill(ranks >= settings.top_k, float("-inf"))
    # Summed from the unlikely end, as the official cut is, so that rounding falls the same way.
    up_to_here = best.softmax(1).flip(1).cumsum(1).flip(1)
    unlikely = (up_to_here <= 1 - settings.top_p) & (ranks >= settings.least)
    return codes, best.masked_fill(unlikely, float("-inf"))


def barred(scores: Tensor, code: int, rows: Tensor) -> Tensor:
    """Scores `[B, V]` for `cut` in which `code` cannot come where `rows`, `[B]`, bool, says so."""
    scores = scores.clone()
    scores[:, code].masked_fill_(rows, float("-inf"))
    return scores


def draw(codes: Tensor, scores: Tensor, uniforms: Tensor) -> Tensor:
    """One code for each row of what `cut` returns, with the probability that its score gives it: `[B]`.

    Codes are laid side by side in the order of their ids, which does not change when two likely ones change places by
    rounding; `uniforms` `[B]`, float64 in [0, 1), point at one of them.
    """
    ids, order = codes.sort(dim=1)
    ends = scores.gather(1, order).double().softmax(1).cumsum(1)
    points = send(uniforms, ends.device).unsqueeze(1) * ends[:, -1:]
    places = (ends <= points).sum(1, keepdim=True).clamp_max(ids.shape[1] - 1)
    return ids.gather(1, places)[:, 0]


def uniforms(seed: int, first: int, count: int) -> Tensor:
    """Numbers in [0, 1) for places `first` to `first + count - 1` of the unit with `seed` (0 to 2**64 - 1), float64.

    Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), a counter for each place.
    """
    key = np.array([seed, DRAWS], dtype=np.uint64)
    words = np.random.Philox(key=key, counter=np.array([first, 0, 0, 0], np.uint64)).random_raw(4 * count)[::4]
    return torch.from_numpy((words >> np.uint64(11)).astype(np.float64) * TWO_TO_MINUS_53)


def max_codes(text_tokens: int, codes_per_s: float, room: int) -> int:
    """Where a unit that does not end by itself is cut; `room` is how many codes the model can count."""
    return min(room, int(codes_per_s * (TOKEN_S * text_tokens + EXTRA_S)))


def repeats(codes: Sequence[int], codes_per_s: float) -> bool:
    """Whether the end of `codes` does nothing but repeat itself, so that no more speech will come."""
    window, longest = int(REPEATED_S * codes_per_s), int(LONGEST_PERIOD_S * codes_per_s)
    end = np.asarray(codes[-window:])
    if len(end) < window:
        return False
    return any(bool((end[period:] == end[:-period]).all()) for period in range(1, longest + 1))
