"""Sampling and collation: which sentences each training step uses, and their layout as token and patch sequences.

The order is a pure function of seed and step, so resuming a run needs no sampler state.
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
"""Batches per length-sorting pool. A larger pool means less padding, a smaller one more random batches."""

ROUND_POSITIONS = 16
"""Sequence lengths are padded to a multiple of this, to limit the number of distinct shapes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B sequences of text tokens, `AUDIO_START` and audio patches; N patches in total, on the device of the latents.

    Attributes:
        tokens: `[B, S]`, int64; 0 at audio and padding positions.
        positions: `[N]`, int64, index of each patch in the flattened `B · S`.
        rows: `[N]`, int64, index of each patch's sequence.
        patches: `[N, P, D]`, float32.
        labels: `[N, slots]`, int64, phoneme label of each 20 ms slot.
        alignment: `[N, slots]`, int64, index in its row of the token that each label belongs to.
        repeats: `[N, slots]`, int64, see `script.repeats`.
        first, last: `[N]`, bool, whether the patch is the first or last of its sequence.
    """

    tokens: Tensor
    positions: Tensor
    rows: Tensor
    patches: Tensor
    labels: Tensor
    alignment: Tensor
    repeats: Tensor
    first: Tensor
    last: Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """The sentences of every step.

    Attributes:
        lengths: number of patches of each sentence, one tuple per language. Languages are sampled equally: sentences of
            the smaller ones are repeated up to the count of the largest.
        batch: sentences per step.
        joined_share: fraction of steps in which sentences are concatenated in pairs. This trains the continuation of a
            voice prompt (the first of a pair stands in for it) and units longer than the longest sentence.
        seed: of the order and of the choice of steps with pairs.
        speakers: the speaker of each sentence, counted across all languages. The second sentence of a pair is then a
            random one of the same speaker, in any language. None for a single speaker.
    """

    lengths: tuple[tuple[int, ...], ...]
    batch: int
    joined_share: float
    seed: int
    speakers: Sequence[int] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """One pass over the largest language, without the incomplete last batch."""
        return max(1, len(self.lengths) * max(map(len, self.lengths)) // self.batch)

    def groups(self, step: int) -> list[list[int]]:
        """Sentence indices of a step, counted across all languages. Those of one inner list share a sequence."""
        epoch, index = divmod(step, self.steps_per_epoch)
        chosen = self.epoch(epoch)[index]
        generator = torch.Generator().manual_seed(self.seed * 7_919 + step)
        if len(chosen) > 1 and float(torch.rand((), generator=generator)) < self.joined_share:
            if self.speakers is not None:
                return [[one, self._other(one, generator)] for one in chosen[: len(chosen) // 2]]
            return [chosen[first : first + 2] for first in range(0, len(chosen), 2)]
        return [[sentence] for sentence in chosen]

    def _other(self, sentence: int, generator: torch.Generator) -> int:
        """A random sentence of the same speaker; the sentence itself if there is no other."""
        assert self.speakers is not None
        own = np.flatnonzero(np.asarray(self.speakers) == self.speakers[sentence])
        others = own[own != sentence]
        return int(others[torch.randint(len(others), (1,), generator=generator)]) if len(others) else sentence

    def epoch(self, number: int) -> list[list[int]]:
        """All batches of an epoch, in order; the sentences of a batch have similar lengths."""
        generator = torch.Generator().manual_seed(self.seed * 104_729 + number)
        max_count = max(map(len, self.lengths))
        offsets = accumulate(map(len, self.lengths), initial=0)
        sampled = [
            offset + number % len(counts)
            for counts, offset in zip(self.lengths, offsets, strict=False)
            for number in range(max_count)
        ]
        lengths = list(chain.from_iterable(self.lengths))
        order = [sampled[i] for i in torch.randperm(len(sampled), generator=generator).tolist()]
        batches: list[list[int]] = []
        for start in range(0, len(order), POOL_BATCHES * self.batch):
            pool = sorted(order[start : start + POOL_BATCHES * self.batch], key=lengths.__getitem__)
            batches += [pool[i : i + self.batch] for i in range(0, len(pool), self.batch)]
        full = [batch for batch in batches if len(batch) == self.batch] or batches
        return [full[i] for i in torch.randperm(len(full), generator=generator).tolist()]


def collate(groups: Sequence[Sequence[int]], script: Script, latents: Latents) -> Batch:
    """Collate the sentences in `groups`, one sequence per group. `script` belongs to `latents`."""
    texts = script.tokens
    starts = latents.starts.numpy()
    rows = [[*(token for sentence in group for token in texts[sentence]), AUDIO_START] for group in groups]
    counts = np.array([sum(starts[i + 1] - starts[i] for i in group) for group in groups])
    longest = max(len(row) + int(count) for row, count in zip(rows, counts, strict=True))
    size = -(-longest // ROUND_POSITIONS) * ROUND_POSITIONS
    tokens = np.zeros((len(rows), size), np.int64)
    for padded, row in zip(tokens, rows, strict=True):
        padded[: len(row)] = row
    ends = counts.cumsum()
    row_of = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(ends[-1]) - (ends - counts)[row_of]  # index of each patch in its sequence
    positions = row_of * size + np.array([len(row) for row in rows])[row_of] + within
    order = [sentence for group in groups for sentence in group]
    source = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in order])
    # Number of tokens in the row before those of the patch's sentence: nonzero for the second sentence of a pair.
    offsets = np.concatenate([np.cumsum([0, *(len(texts[i]) for i in group[:-1])]) for group in groups])
    offsets = np.repeat(offsets, [int(starts[i + 1] - starts[i]) for i in order])
    device = latents.patches.device
    index, last = torch.from_numpy(source).to(device), torch.from_numpy(within == counts[row_of] - 1)
    return Batch(
        tokens=torch.from_numpy(tokens).to(device),
        positions=torch.from_numpy(positions).to(device),
        rows=torch.from_numpy(row_of).to(device),
        patches=latents.patches[index].float(),
        labels=latents.labels[index].long(),
        alignment=(script.alignment[source] + torch.from_numpy(offsets).unsqueeze(1)).to(device),
        repeats=script.repeats[source].to(device),
        first=torch.from_numpy(within == 0).to(device),
        last=last.to(device),
    )
