"""Fourth stage: the audio VAE learns to make the teacher's voice of latents, and to find them in it. Knows no text.

Which latents a frame has is given (`analysis.py`). So both halves learn by themselves: the decoder by what its sound is
worth, spectra and waves alone at first, then, from `adversary_from` on, before a jury; the encoder by how far its
latents are from the given ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from intone.server.engines.voxcpm.audio_vae_config import AudioVAEConfig
from training import source
from training.analysis import FRAME_SAMPLES
from training.balance import Balance
from training.discriminators import Jury, fooling_loss, jury_loss
from training.latents import Latents
from training.loop import generator
from training.optimizing import Average, adam, multiplies_bfloat16, rate_at, set_rate
from training.shards import Speech
from training.spectra import SoundDistance
from training.vae import AudioVAE

Material = Mapping[str, tuple[Speech, Latents]]
"""By language: the same sentences as sound and as latents."""

EXAMINED_EXAMPLES = 16
EXAMINED_FRAMES = 75
LOUDEST_GRADIENT, LOUDEST_JURY_GRADIENT = 100.0, 10.0


@dataclass(frozen=True, slots=True)
class VaeRecipe:
    """How the VAE is trained.

    Attributes:
        segment_frames: latent frames in each example.
        rate, early_rate: learning rate, and what it is until the jury sits: spectra alone bear more.
        adversary_from: step from which the jury sits.
        jury_silence: steps in which it only listens first: what judges say who have learnt nothing is noise.
        jury_frames: of each example, what the jury hears: half a second is enough for it, and it costs the most.
        latent_noise: most that is added to the latents, in place of a speaker's errors.
        said_examples: of what the language models said (`say.py`), in each batch, once there is a jury.
        more: languages that have one more turn than the others, each time they are named: those that lag behind.
        encoder_every: the encoder learns in every so many-th step: it has the easier half.
    """

    steps: int
    batch: int
    segment_frames: int = 32
    rate: float = 4e-4
    early_rate: float = 4e-4
    adversary_from: int = 2_000
    jury_silence: int = 500
    jury_width: int = 32
    jury_frames: int = 16
    jury_rate: float = 5e-4
    spectra_share: float = 1.0
    waves_share: float = 0.5
    jury_share: float = 1.0
    feature_weight: float = 2.0
    average_decay: float = 0.999
    latent_noise: float = 0.2
    said_examples: int = 1
    more: tuple[str, ...] = ()
    encoder_every: int = 4
    seed: int = 0


class VaeTrainee:
    """The VAE and its jury, as `loop.train` wants them.

    Args:
        spoken: what to learn from, by language; kept on `device`.
        held_out: to examine with, each language by itself.
        said: frames `[F, D]` without a recording, see `say.py`.

    Raises:
        ValueError: the latents are of other speech, or there is too little.
    """

    def __init__(
        self,
        config: AudioVAEConfig,
        recipe: VaeRecipe,
        spoken: Material,
        held_out: Material,
        device: torch.device,
        said: Tensor | None = None,
    ) -> None:
        self.recipe, self.device = recipe, device
        self.said = None if said is None else said.to(device)
        torch.manual_seed(recipe.seed)
        self.vae, self.jury = AudioVAE(config, recipe.seed), Jury(recipe.jury_width)
        source.lay(self.vae)
        self.vae.to(device)
        self.jury.to(device)
        self.average = Average.of(self.vae, recipe.average_decay)
        self.distance = SoundDistance(config.sample_rate_hz).to(device)
        self.optimizer = adam(self.vae.parameters(), recipe.rate, (0.8, 0.99), 0.0)
        self.jury_optimizer = adam(self.jury.parameters(), recipe.jury_rate, (0.8, 0.99), 0.0)
        self.balance = Balance(
            {"spectra": recipe.spectra_share, "waves": recipe.waves_share, "jury": recipe.jury_share}
        )
        self.updates = 0
        self.spoken = {name: [part.to(device) for part in _aligned(*pair)] for name, pair in spoken.items()}
        self.turns = [*spoken, *(name for name in recipe.more if name in spoken)]
        for frames in (*(own for _, own in self.spoken.values()), *([] if self.said is None else [self.said])):
            if len(frames) <= recipe.segment_frames:
                raise ValueError(f"{len(frames)} frames of speech are too few for examples of {recipe.segment_frames}")
        self.examined = {name: _some(*_aligned(*pair), device) for name, pair in held_out.items()}

    def step(self, number: int) -> Mapping[str, Tensor]:
        """Both learn from one batch."""
        recipe, drawn = self.recipe, generator(self.recipe.seed, number, self.device)
        rate = rate_at(number, recipe.steps, self.updates)
        self.updates += 1
        set_rate(self.optimizer, rate * (recipe.rate if number >= recipe.adversary_from else recipe.early_rate))
        set_rate(self.jury_optimizer, recipe.jury_rate * rate)
        recorded, latents = self._examples(number, drawn)
        given = self._disturbed(latents, drawn)
        if self.said is not None and number >= recipe.adversary_from:
            given = torch.cat((given, self._said(self.said, drawn)))
        with self._mixed():
            made = self.vae.decoder(given)
        spectra, waves = self.distance(made[: len(recorded)], recorded)
        losses = {"spectra": spectra, "waves": waves}
        figures = dict(losses)
        if number >= recipe.adversary_from:
            heard = self._heard(number)
            figures["jury"] = self._jury_step(recorded[:, heard], made[:, heard].detach(), number)
            if number >= recipe.adversary_from + recipe.jury_silence:
                fooled, features = self._judged(recorded[:, heard], made[:, heard], number)
                losses["jury"] = fooled + recipe.feature_weight * features
                figures |= {"fooled": fooled, "features": features}
        self.optimizer.zero_grad(set_to_none=True)
        made.backward(self.balance.gradient(made, losses))
        if number % recipe.encoder_every == 0:
            with self._mixed():
                mean, log_variance = self.vae.encoder(recorded)
            surprise(mean.float(), log_variance.float(), latents).backward()
        torch.nn.utils.clip_grad_norm_(self.vae.parameters(), LOUDEST_GRADIENT)
        self.optimizer.step()
        self.average.add(self.vae, number)
        return figures

    def examine(self, number: int) -> Mapping[str, float]:
        """The averaged VAE on held-out speech: how far its sound is from it, and its latents from the given ones."""
        vae = AudioVAE(self.vae.config).to(self.device)
        vae.load_state_dict(self.average.tensors)
        found: dict[str, float] = {}
        for language, (audio, latents) in self.examined.items():
            with torch.no_grad():
                spectra, waves = self.distance(vae.decoder(latents), audio)
                missed = (vae.encoder(audio)[0] - latents).square().mean().sqrt()
            figures = {"spectra": spectra, "waves": waves, "latents_missed": missed}
            found |= {f"held_out_{name}_{language}": float(value) for name, value in figures.items()}
        return found

    def state(self) -> dict[str, Any]:
        """See `loop.Trainee`."""
        return {
            "vae": self.vae.state_dict(),
            "average": self.average.tensors,
            "jury": self.jury.state_dict(),
            "optimizers": [self.optimizer.state_dict(), self.jury_optimizer.state_dict()],
            "pulls": self.balance.sizes,
            "updates": self.updates,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `loop.Trainee`."""
        self.vae.load_state_dict(state["vae"])
        self.average.load(state["average"])
        if "jury" in state:  # an exported checkpoint has none
            self.jury.load_state_dict(state["jury"])
        if "optimizers" in state:  # a slim checkpoint has none
            for optimizer, own in zip((self.optimizer, self.jury_optimizer), state["optimizers"], strict=True):
                optimizer.load_state_dict(own)
        self.balance.sizes = dict(state.get("pulls", {}))
        self.updates = state.get("updates", 0)

    def _examples(self, number: int, drawn: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch from anywhere in the speech, of the languages in turn: `[B, T]` and its latents `[B, D, frames]`."""
        recipe, device = self.recipe, self.device
        found: list[tuple[Tensor, Tensor]] = []
        for place in range(recipe.batch):
            audio, latents = self.spoken[self.turns[(number * recipe.batch + place) % len(self.turns)]]
            start = torch.randint(len(latents) - recipe.segment_frames, (1,), generator=drawn, device=device)
            frames = start + torch.arange(recipe.segment_frames, device=device)
            found.append((audio[frames].flatten().float() / 32768, latents[frames].float().mT))
        recorded, latents = (torch.stack(part) for part in zip(*found, strict=True))
        return recorded, latents

    def _said(self, frames: Tensor, drawn: torch.Generator) -> Tensor:
        """Examples of what the language models said: `[said_examples, D, frames]`."""
        recipe, device = self.recipe, self.device
        shape = (recipe.said_examples, 1)
        starts = torch.randint(len(frames) - recipe.segment_frames, shape, generator=drawn, device=device)
        return frames[starts + torch.arange(recipe.segment_frames, device=device)].float().mT

    def _disturbed(self, latents: Tensor, drawn: torch.Generator) -> Tensor:
        """Each example with noise of its own strength."""
        strength = self.recipe.latent_noise * torch.rand(len(latents), 1, 1, generator=drawn, device=self.device)
        return latents + strength * torch.randn(latents.shape, generator=drawn, device=self.device)

    def _heard(self, number: int) -> slice:
        """The part of each example that the jury hears in a step: anywhere, without asking the device where."""
        samples, count = self.recipe.segment_frames * FRAME_SAMPLES, self.recipe.jury_frames * FRAME_SAMPLES
        count = min(samples, count)
        start = number * 7_919 % (samples - count + 1)
        return slice(start, start + count)

    def _jury_step(self, recorded: Tensor, made: Tensor, turn: int) -> Tensor:
        with self._mixed_jury():
            loss = jury_loss(self.jury(recorded, turn), self.jury(made, turn))
        self.jury_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.jury.parameters(), LOUDEST_JURY_GRADIENT)
        self.jury_optimizer.step()
        return loss

    def _judged(self, recorded: Tensor, made: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        self.jury.requires_grad_(False)
        with self._mixed_jury():
            losses = fooling_loss(self.jury(recorded, turn), self.jury(made, turn))
        self.jury.requires_grad_(True)
        return losses

    def _mixed_jury(self) -> torch.autocast:
        """Its convolutions are better off in bfloat16 on a CPU too; those of the VAE are our own there."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=multiplies_bfloat16(self.device))

    def _mixed(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


def surprise(mean: Tensor, log_variance: Tensor, latents: Tensor) -> Tensor:
    """How unlikely the given latents are in what the encoder says, per number, constants left out."""
    return 0.5 * ((latents - mean).square() * (-log_variance).exp() + log_variance).mean()


def recipe_for(device: torch.device, **given: Any) -> VaeRecipe:
    """The recipe for a device, with what is given in its place; None gives nothing."""
    on_cuda = {"steps": 10_000, "batch": 32}
    on_cpu = {"steps": 60_000, "batch": 2, "rate": 6e-4, "early_rate": 1e-3, "adversary_from": 5_000, "jury_width": 16}
    usual = on_cuda if device.type == "cuda" else on_cpu
    return VaeRecipe(**{**usual, **{name: value for name, value in given.items() if value is not None}})


def _some(audio: Tensor, frames: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Examples `[n, T]` and their latents `[n, D, frames]`, all on end: what pads a sentence would be most of it."""
    length = min(EXAMINED_FRAMES, len(frames))
    count = min(EXAMINED_EXAMPLES, len(frames) // length)
    audio, frames = (part[: count * length].view(count, length, -1) for part in (audio, frames))
    return audio.flatten(1).float().to(device) / 32768, frames.mT.float().to(device)


def _aligned(speech: Speech, latents: Latents) -> tuple[Tensor, Tensor]:
    """The same sentences as frames of sound `[F, FRAME_SAMPLES]` and of latents `[F, D]`."""
    sound, frames = speech.audio.view(-1, FRAME_SAMPLES), latents.patches.flatten(0, 1)
    if len(sound) != len(frames) or not torch.equal(speech.numbers, latents.numbers):
        raise ValueError("the latents are of other speech: remove their folder, and run the stage `latents` again")
    return sound, frames
