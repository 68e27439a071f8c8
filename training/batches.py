"""Which sentences are learnt from in which step, and how they stand in a sequence. Knows no model.

The plan follows from the seed alone, so a run that goes on needs no memory of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np
import torch
from torch import Tensor

from intone.server.engines.voxcpm.text import AUDIO_START
from training.latents import Latents
from training.script import Script

POOL_BATCHES = 32
"""Batches whose sentences are sorted by length together: long enough to waste little, short enough to stay random."""

ROUND_POSITIONS = 16
"""Sequences are filled up to a multiple of it, so that there are few sizes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B sequences `T 101 A`, of N patches in all, on the device of the latents.

    Attributes:
        tokens: `[B, S]`, 0 where there is audio or nothing.
        at: `[N]`, where in `B · S` each patch stands.
        row: `[N]`, whose sequence it is.
        patches: `[N, P, D]`, float32.
        labels: `[N, slots]`, int64.
        places: `[N, slots]`, int64, which token of its row each label is the sound of.
        first, last: `[N]`, bool, whether it begins or ends its sequence.
    """

    tokens: Tensor
    at: Tensor
    row: Tensor
    patches: Tensor
    labels: Tensor
    places: Tensor
    first: Tensor
    last: Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """What each step learns from.

    Attributes:
        lengths: patches of each sentence, by language. Of every language as many are shown as the one with most has.
        batch: sentences to a step.
        joined_share: of the steps, those whose sentences are joined in pairs. The first of a pair then stands where a
            prompt stands when a voice is continued, and units get longer than the longest sentence.
    """

    lengths: tuple[tuple[int, ...], ...]
    batch: int
    joined_share: float
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """All sentences of the language with most once, but for a rest smaller than a batch."""
        return max(1, len(self.lengths) * max(map(len, self.lengths)) // self.batch)

    def groups(self, step: int) -> list[list[int]]:
        """The sentences of a step, numbered through all languages; those in one list are spoken one after the other."""
        epoch, at = divmod(step, self.steps_per_epoch)
        chosen = self.epoch(epoch)[at]
        drawn = torch.Generator().manual_seed(self.seed * 7_919 + step)
        if len(chosen) > 1 and float(torch.rand((), generator=drawn)) < self.joined_share:
            return [chosen[first : first + 2] for first in range(0, len(chosen), 2)]
        return [[sentence] for sentence in chosen]

    def epoch(self, number: int) -> list[list[int]]:
        """All batches of an epoch, in order; each holds sentences of about one length."""
        drawn = torch.Generator().manual_seed(self.seed * 104_729 + number)
        most = max(map(len, self.lengths))
        before = accumulate(map(len, self.lengths), initial=0)
        shown = [
            first + number % len(own)
            for own, first in zip(self.lengths, before, strict=False)
            for number in range(most)
        ]
        lengths = list(chain.from_iterable(self.lengths))
        order = [shown[at] for at in torch.randperm(len(shown), generator=drawn).tolist()]
        batches: list[list[int]] = []
        for start in range(0, len(order), POOL_BATCHES * self.batch):
            pool = sorted(order[start : start + POOL_BATCHES * self.batch], key=lengths.__getitem__)
            batches += [pool[at : at + self.batch] for at in range(0, len(pool), self.batch)]
        whole = [batch for batch in batches if len(batch) == self.batch] or batches
        return [whole[at] for at in torch.randperm(len(whole), generator=drawn).tolist()]


def collate(groups: Sequence[Sequence[int]], script: Script, latents: Latents) -> Batch:
    """One batch of the sentences in `groups`; `script` is that of `latents`."""
    texts = script.tokens
    starts = latents.starts.numpy()
    rows = [[*(token for sentence in group for token in texts[sentence]), AUDIO_START] for group in groups]
    counts = np.array([sum(starts[i + 1] - starts[i] for i in group) for group in groups])
    longest = max(len(row) + int(count) for row, count in zip(rows, counts, strict=True))
    size = -(-longest // ROUND_POSITIONS) * ROUND_POSITIONS
    tokens = np.zeros((len(rows), size), np.int64)
    for filled, row in zip(tokens, rows, strict=True):
        filled[: len(row)] = row
    ends = counts.cumsum()
    row_of = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(ends[-1]) - (ends - counts)[row_of]  # each patch's number in its sequence
    at = row_of * size + np.array([len(row) for row in rows])[row_of] + within
    order = [sentence for group in groups for sentence in group]
    found = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in order])
    # Tokens that stand before those of a patch's sentence: of the other sentence of a pair.
    before = np.concatenate([np.cumsum([0, *(len(texts[i]) for i in group[:-1])]) for group in groups])
    before = np.repeat(before, [int(starts[i + 1] - starts[i]) for i in order])
    device = latents.patches.device
    where, last = torch.from_numpy(found).to(device), torch.from_numpy(within == counts[row_of] - 1)
    return Batch(
        tokens=torch.from_numpy(tokens).to(device),
        at=torch.from_numpy(at).to(device),
        row=torch.from_numpy(row_of).to(device),
        patches=latents.patches[where].float(),
        labels=latents.labels[where].long(),
        places=(script.places[found] + torch.from_numpy(before).unsqueeze(1)).to(device),
        first=torch.from_numpy(within == 0).to(device),
        last=last.to(device),
    )
