"""What the VAE learns from: speech by latent frames, and batches of it. Knows no model and no loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.analysis import FRAME_SAMPLES, SOUND_SAMPLES
from training.latents import Latents
from training.shards import Speech


@dataclass(frozen=True, slots=True)
class Frames:
    """The speech of one language by latent frames, F of them.

    Attributes:
        audio: `[F, FRAME_SAMPLES]`, int16, for the encoder.
        sound, harmonics: `[F, SOUND_SAMPLES]`, int16, see `shards.Spoken`.
        latents: `[F, D]`.
        starts: the first frame of each sentence.
    """

    audio: Tensor
    sound: Tensor
    harmonics: Tensor
    latents: Tensor
    starts: Tensor

    @classmethod
    def of(cls, speech: Speech, latents: Latents, device: torch.device) -> "Frames":
        """All sentences of a list.

        Raises:
            ValueError: the latents are of other speech.
        """
        frames = latents.patches.flatten(0, 1)
        audio = speech.audio.view(-1, FRAME_SAMPLES)
        if len(audio) != len(frames) or not torch.equal(speech.numbers, latents.numbers):
            raise ValueError("the latents are of other speech: remove their folder, and run the stage `latents` again")
        sounds = (part.view(-1, SOUND_SAMPLES) for part in (speech.sound, speech.harmonics))
        parts = (audio, *sounds, frames, speech.starts[:-1] // FRAME_SAMPLES)
        return cls(*(part.to(device) for part in parts))

    def example(self, length: int, beginnings: float, drawn: torch.Generator) -> tuple[Tensor, ...]:
        """So many frames from anywhere, or, as often as `beginnings` says, from a sentence's first on."""
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
        """Up to `most` examples end on end: what pads a sentence would be most of it."""
        length = min(length, len(self.latents))
        count = min(most, len(self.latents) // length)
        parts = (part[: count * length] for part in (self.audio, self.sound, self.harmonics, self.latents))
        audio, sound, harmonics, latents = (part.reshape(count, length, -1) for part in parts)
        first = torch.zeros(count, 1, dtype=torch.bool, device=latents.device)
        audio, sound, harmonics = (part.flatten(1).float() / 32768 for part in (audio, sound, harmonics))
        return Examples(audio, sound, harmonics, latents.mT.float(), first)


@dataclass(frozen=True, slots=True)
class Examples:
    """A batch, B of them.

    Attributes:
        audio: `[B, T]`, what the encoder hears.
        sound, harmonics: `[B, T · SOUND_HZ / RATE_HZ]`.
        latents: `[B, D, frames]`.
        first: `[B, 1]`, whether it is a sentence's beginning.
    """

    audio: Tensor
    sound: Tensor
    harmonics: Tensor
    latents: Tensor
    first: Tensor

    @classmethod
    def joined(cls, examples: Sequence[tuple[Tensor, ...]]) -> "Examples":
        """A batch of what `Frames.example` gave."""
        return cls(*(torch.stack(part) for part in zip(*examples, strict=True)))


def compared(decoded: Tensor, examples: Examples, history_frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """What is compared of each example: made, wanted, and the harmonics in that, all as long.

    The first frames of an example are left out, because the decoder lacks what stands before them, but of a sentence's
    beginning the last. `decoded` may hold further sounds, without examples.
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
