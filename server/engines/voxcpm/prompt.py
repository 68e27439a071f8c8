"""The sequence that the language models read before they speak. Knows token ids and embeddings, no text and no audio.

Layouts, T text, A audio patches: `T 101` alone; `T 101 A` continues a recording whose words begin T; `103 A 104 T 101`
follows a recording as a reference; both may be had at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from intone.server.engines.voxcpm.text import AUDIO_START, REFERENCE_END, REFERENCE_START


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording as the model hears it.

    Attributes:
        latents: `[A, P, D]`, float32.
        embeddings: `[A, H]`, what LocEnc and its projection made of them.
    """

    latents: Tensor
    embeddings: Tensor

    def __len__(self) -> int:
        """Patches."""
        return self.latents.shape[0]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One unit's prompt of S positions, A of them audio.

    Attributes:
        tokens: `[S]`, int64; 0 where there is audio.
        audio_at: `[A]`, int64, positions of the audio.
        audio: `[A, H]`, embeddings there.
        before: `[P, D]`, float32, the patch before the first one to be made; zeros where text comes last.
    """

    tokens: Tensor
    audio_at: Tensor
    audio: Tensor
    before: Tensor

    def __len__(self) -> int:
        """Positions."""
        return self.tokens.shape[0]


def build_prompt(
    text: Sequence[int], silence: Clip, reference: Clip | None = None, continued: Clip | None = None
) -> Prompt:
    """Lay out a prompt. `text` holds the words of `continued`, if any, and then the words to speak.

    `silence` is a clip of no patches: it brings sizes, dtype and device.
    """
    tokens: list[int] = []
    places: list[int] = []
    if reference is not None:
        places += range(1, len(reference) + 1)
        tokens += [REFERENCE_START, *[0] * len(reference), REFERENCE_END]
    tokens += [*text, AUDIO_START]
    if continued is not None:
        places += range(len(tokens), len(tokens) + len(continued))
        tokens += [0] * len(continued)
    clips = [clip for clip in (reference, continued) if clip is not None]
    device = silence.latents.device
    return Prompt(
        tokens=torch.tensor(tokens, device=device),
        audio_at=torch.tensor(places, dtype=torch.int64, device=device),
        audio=torch.cat([silence.embeddings, *(clip.embeddings for clip in clips)]),
        before=continued.latents[-1] if continued is not None else silence.latents.new_zeros(silence.latents.shape[1:]),
    )
