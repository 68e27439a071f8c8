"""Training data of the VAE: speech aligned to latent frames, and batches of segments of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.analysis import FRAME_SAMPLES, SOUND_SAMPLES
from training.latents import Latents
from training.shards import Speech


@dataclass(frozen=True, slots=True)
class Frames:
    """The speech of one language, split into F latent frames.

    Attributes:
        audio: input of the encoder, `[F, FRAME_SAMPLES]`, int16.
        sound, harmonics: targets of the decoder, `[F, SOUND_SAMPLES]`, int16, see `shards.Spoken`.
        latents: `[F, D]`.
        starts: index of the first frame of each sentence.
    """

    audio: Tensor
    sound: Tensor
    harmonics: Tensor
    latents: Tensor
    starts: Tensor

    @classmethod
    def of(cls, speech: Speech, latents: Latents, device: torch.device) -> "Frames":
        """All sentences of `speech`, with their latents, on `device`.

        Raises:
            ValueError: the latents do not belong to the speech.
        """
        frames = latents.patches.flatten(0, 1)
        audio = speech.audio.view(-1, FRAME_SAMPLES)
        if len(audio) != len(frames) or not torch.equal(speech.numbers, latents.numbers):
            raise ValueError("the latents are of other speech: delete their folder and run the stage `latents` again")
        sounds = (part.view(-1, SOUND_SAMPLES) for part in (speech.sound, speech.harmonics))
        parts = (audio, *sounds, frames, speech.starts[:-1] // FRAME_SAMPLES)
        return cls(*(part.to(device) for part in parts))

    def example(self, length: int, beginnings: float, drawn: torch.Generator) -> tuple[Tensor, ...]:
        """A segment of `length` frames at a random place or, with probability `beginnings`, at a sentence start."""
        device, most = self.latents.device, len(self.latents) - length
        start = torch.randint(most, (1,), generator=drawn, device=device)
        first = torch.zeros(1, dtype=torch.bool, device=device)
        if beginnings:
            begins = self.starts[torch.randint(len(self.starts), (1,), generator=drawn, device=device)]
            first = (torch.rand(1, generator=drawn, device=device) < beginnings) & (begins < most)
            start = torch.where(first, begins, start)
        frames = start + torch.arange(length, device=device)
        sounds = (part[frames].flatten().float() / 32768 for part in (self.audio, self.sound, self.harmonics))
        return (*sounds, self.latents[frames].float().mT, first)

    def some(self, most: int, length: int) -> "Examples":
        """Up to `most` consecutive segments; one example per sentence would consist mostly of padding."""
        length = min(length, len(self.latents))
        count = min(most, len(self.latents) // length)
        parts = (part[: count * length] for part in (self.audio, self.sound, self.harmonics, self.latents))
        audio, sound, harmonics, latents = (part.reshape(count, length, -1) for part in parts)
        first = torch.zeros(count, 1, dtype=torch.bool, device=latents.device)
        audio, sound, harmonics = (part.flatten(1).float() / 32768 for part in (audio, sound, harmonics))
        return Examples(audio, sound, harmonics, latents.mT.float(), first)


@dataclass(frozen=True, slots=True)
class Examples:
    """A batch of B examples.

    Attributes:
        audio: input of the encoder, `[B, T]`.
        sound, harmonics: targets of the decoder, `[B, T · SOUND_HZ / RATE_HZ]`.
        latents: `[B, D, frames]`.
        first: whether the example starts at the beginning of a sentence, `[B, 1]`.
    """

    audio: Tensor
    sound: Tensor
    harmonics: Tensor
    latents: Tensor
    first: Tensor

    @classmethod
    def joined(cls, examples: Sequence[tuple[Tensor, ...]]) -> "Examples":
        """Stack results of `Frames.example` to a batch."""
        return cls(*(torch.stack(part) for part in zip(*examples, strict=True)))


def compared(decoded: Tensor, examples: Examples, history_frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of each example that enter the losses: decoded audio, target, and target harmonics, of equal length.

    The first `history_frames` of an example are left out, because the decoder lacks the context before them. At the
    beginning of a sentence there is none, so the last `history_frames` are left out instead. `decoded` may contain
    more rows than there are examples.
    """
    skipped = history_frames * SOUND_SAMPLES
    if skipped == 0:
        return decoded, examples.sound, examples.harmonics
    count = decoded.shape[1] - skipped
    first = torch.cat((examples.first[:, 0], examples.first.new_zeros(len(decoded) - len(examples.first))))
    made, wanted, harmonics = (
        torch.where(first[: len(sound), None], sound[:, :count], sound[:, skipped:])
        for sound in (decoded, examples.sound, examples.harmonics)
    )
    return made, wanted, harmonics
