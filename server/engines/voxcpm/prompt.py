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
        tokens: `[S]`, int64, on the host; 0 where there is audio.
        audio_at: `[A]`, int64, on the host: positions of the audio, ascending.
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

    def after(self, count: int) -> "Prompt":
        """What follows the first `count` positions."""
        heard = int((self.audio_at < count).sum())
        return Prompt(self.tokens[count:], self.audio_at[heard:] - count, self.audio[heard:], self.before)


def build_prompt(
    text: Sequence[int], silence: Clip, reference: Clip | None = None, continued: Clip | None = None
) -> Prompt:
    """Lay out a prompt. `text` holds the words of `continued`, if any, and then the words to speak.

    `silence` is a clip of no patches: it brings sizes, dtype and device.
    """
    beginning = build_beginning(text, silence, reference)
    tokens = torch.cat((beginning.tokens, torch.tensor([AUDIO_START])))
    if continued is None:
        return Prompt(tokens, beginning.audio_at, beginning.audio, beginning.before)
    places = torch.arange(len(tokens), len(tokens) + len(continued))
    return Prompt(
        tokens=torch.cat((tokens, torch.zeros(len(continued), dtype=torch.int64))),
        audio_at=torch.cat((beginning.audio_at, places)),
        audio=torch.cat((beginning.audio, continued.embeddings)),
        before=continued.latents[-1],
    )


def build_beginning(words: Sequence[int], silence: Clip, reference: Clip | None = None) -> Prompt:
    """What prompts have in common that `build_prompt` makes of texts that begin with `words`."""
    given = silence if reference is None else reference
    marked = [] if reference is None else [REFERENCE_START, *[0] * len(given), REFERENCE_END]
    return Prompt(
        tokens=torch.tensor([*marked, *words], dtype=torch.int64),
        audio_at=torch.arange(1, 1 + len(given)),
        audio=given.embeddings,
        before=silence.latents.new_zeros(silence.latents.shape[1:]),
    )
