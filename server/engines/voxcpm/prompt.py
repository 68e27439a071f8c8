"""The prompt of the language models: token ids and audio embeddings.

Layouts, with text tokens T and audio patches A: `T 101`; `T 101 A` continues a recording whose transcript T starts
with; `103 A 104 T 101` has a recording as a reference. The last two can be combined.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from intone.server.engines.voxcpm.text import AUDIO_START, REFERENCE_END, REFERENCE_START


@dataclass(frozen=True, slots=True)
class AudioPrompt:
    """An encoded recording.

    Attributes:
        latents: `[A, P, D]`, float32.
        embeddings: `[A, H]`, of LocEnc and its projection.
    """

    latents: Tensor
    embeddings: Tensor

    def __len__(self) -> int:
        """The number of patches."""
        return self.latents.shape[0]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One unit's prompt of S positions, A of them audio.

    Attributes:
        tokens: `[S]`, int64, on the host; 0 at positions of audio.
        audio_positions: `[A]`, int64, on the host, ascending.
        audio: `[A, H]`, embeddings at these positions.
        previous: `[P, D]`, float32, the patch before the first generated one; zeros after text.
    """

    tokens: Tensor
    audio_positions: Tensor
    audio: Tensor
    previous: Tensor

    def __len__(self) -> int:
        """The number of positions."""
        return self.tokens.shape[0]

    def after(self, count: int) -> "Prompt":
        """The positions after the first `count`."""
        return self.part(count, len(self))

    def part(self, start: int, end: int) -> "Prompt":
        """The positions from `start` to before `end`."""
        first, last = (int((self.audio_positions < position).sum()) for position in (start, end))
        places = self.audio_positions[first:last] - start
        return Prompt(self.tokens[start:end], places, self.audio[first:last], self.previous)


def build_prompt(
    text: Sequence[int], empty: AudioPrompt, reference: AudioPrompt | None = None, continued: AudioPrompt | None = None
) -> Prompt:
    """Lay out a prompt.

    Args:
        text: tokens of the transcript of `continued`, if any, followed by those of the text to speak.
        empty: an audio prompt without patches, which sets sizes, dtype and device.
    """
    prefix = build_prefix(text, empty, reference)
    tokens = torch.cat((prefix.tokens, torch.tensor([AUDIO_START])))
    if continued is None:
        return Prompt(tokens, prefix.audio_positions, prefix.audio, prefix.previous)
    places = torch.arange(len(tokens), len(tokens) + len(continued))
    return Prompt(
        tokens=torch.cat((tokens, torch.zeros(len(continued), dtype=torch.int64))),
        audio_positions=torch.cat((prefix.audio_positions, places)),
        audio=torch.cat((prefix.audio, continued.embeddings)),
        previous=continued.latents[-1],
    )


def build_prefix(tokens: Sequence[int], empty: AudioPrompt, reference: AudioPrompt | None = None) -> Prompt:
    """The common prefix of the prompts that `build_prompt` makes of texts starting with `tokens`."""
    given = empty if reference is None else reference
    marked = [] if reference is None else [REFERENCE_START, *[0] * len(given), REFERENCE_END]
    return Prompt(
        tokens=torch.tensor([*marked, *tokens], dtype=torch.int64),
        audio_positions=torch.arange(1, 1 + len(given)),
        audio=given.embeddings,
        previous=empty.latents.new_zeros(empty.latents.shape[1:]),
    )
