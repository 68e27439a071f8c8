"""Third stage: the audio VAE learns to pass the teacher's voice through few numbers. Knows nothing of text.

First spectra alone, then, from `adversary_from` on, a jury as well. `frozen_encoder` goes on with the decoder only: the
latents, and whatever learns from them, stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from intone.server.engines.voxcpm.audio_vae_config import AudioVAEConfig
from training.discriminators import Jury, fooling_loss, jury_loss
from training.loop import generator
from training.optimizing import Average, adam, rate_at, set_rate
from training.shards import Speech
from training.spectra import SpectralDistance
from training.vae import AudioVAE

EXAMINED_EXAMPLES = 16
EXAMINED_SAMPLES = 48_000
LOUDEST_GRADIENT = 10.0


@dataclass(frozen=True, slots=True)
class VaeRecipe:
    """How the VAE is trained.

    Attributes:
        segment_frames: latent frames in each example.
        rate, early_rate: learning rate, and what it is until the jury sits: spectra alone bear more.
        adversary_from: step from which the jury sits.
        jury_frames: of each example, what the jury hears: half a second is enough for it, and it costs the most.
        latent_noise: with a frozen encoder, deviation of what is added to the latents, in place of a speaker's errors.
    """

    steps: int
    batch: int
    segment_frames: int = 32
    rate: float = 4e-4
    early_rate: float = 4e-4
    adversary_from: int = 2_000
    jury_width: int = 32
    jury_frames: int = 16
    jury_rate: float = 2e-4
    spectra_weight: float = 15.0
    divergence_weight: float = 5e-3
    fooling_weight: float = 1.0
    feature_weight: float = 2.0
    average_decay: float = 0.999
    latent_noise: float = 0.1
    seed: int = 0


class VaeTrainee:
    """The VAE and its jury, as `loop.train` wants them.

    Args:
        speech: to learn from; kept on `device`.
        held_out: to examine with.
        start: state of an earlier run, of which the averaged VAE and the jury are taken; its own first weights if None.
        frozen_encoder: train the decoder only.
    """

    def __init__(
        self,
        config: AudioVAEConfig,
        recipe: VaeRecipe,
        speech: Speech,
        held_out: Speech,
        device: torch.device,
        start: Mapping[str, Any] | None = None,
        frozen_encoder: bool = False,
    ) -> None:
        self.recipe, self.device, self.frozen_encoder = recipe, device, frozen_encoder
        torch.manual_seed(recipe.seed)
        self.vae, self.jury = AudioVAE(config, recipe.seed), Jury(recipe.jury_width)
        if start is not None:
            self.vae.load_state_dict(start["average"])
            if "jury" in start:
                self.jury.load_state_dict(start["jury"])
        self.vae.to(device)
        self.jury.to(device)
        self.vae.encoder.requires_grad_(not frozen_encoder)
        self.average = Average.of(self.vae, recipe.average_decay)
        self.distance = SpectralDistance(config.sample_rate_hz).to(device)
        self.optimizer = adam(self.vae.parameters(), recipe.rate, (0.8, 0.99), 0.0)
        self.jury_optimizer = adam(self.jury.parameters(), recipe.jury_rate, (0.8, 0.99), 0.0)
        self.updates = 0
        self.audio = speech.audio.to(device)
        self.samples = recipe.segment_frames * hop_of(config)
        if len(self.audio) <= self.samples:
            raise ValueError(f"{len(self.audio)} samples of speech are too few for examples of {self.samples}")
        self.examined = _example(held_out, hop_of(config)).to(device)

    def step(self, number: int) -> Mapping[str, Tensor]:
        """Both learn from one batch."""
        recipe, drawn = self.recipe, generator(self.recipe.seed, number, self.device)
        rate = rate_at(number, recipe.steps, self.updates)
        self.updates += 1
        set_rate(self.optimizer, rate * (recipe.rate if number >= recipe.adversary_from else recipe.early_rate))
        set_rate(self.jury_optimizer, recipe.jury_rate * rate)
        recorded = self._segments(drawn)
        with self._mixed():
            made, divergence = self._passed_through(recorded, drawn)
        distance = self.distance(made, recorded)
        loss = recipe.spectra_weight * distance + recipe.divergence_weight * divergence
        figures = {"spectra": distance, "divergence": divergence}
        if number >= recipe.adversary_from:
            heard = self._heard(number)
            judged = self._jury_step(recorded[:, heard], made[:, heard].detach(), number)
            self.jury.requires_grad_(False)
            with self._mixed():
                fooled, features = fooling_loss(*(self.jury(sound[:, heard], number) for sound in (recorded, made)))
            self.jury.requires_grad_(True)
            loss = loss + recipe.fooling_weight * fooled + recipe.feature_weight * features
            figures |= {"jury": judged, "fooled": fooled, "features": features}
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.vae.parameters(), LOUDEST_GRADIENT)
        self.optimizer.step()
        self.average.add(self.vae, number)
        return figures

    def examine(self, number: int) -> Mapping[str, float]:
        """The averaged VAE on held-out speech: spectral distance, and the spread of its latents."""
        vae = AudioVAE(self.vae.config).to(self.device)
        vae.load_state_dict(self.average.tensors)
        with torch.no_grad():
            mean, _ = vae.encoder(self.examined)
            distance = self.distance(vae.decoder(mean), self.examined)
        return {"held_out_spectra": float(distance), "latent_deviation": float(mean.std())}

    def state(self) -> dict[str, Any]:
        """See `loop.Trainee`."""
        return {
            "vae": self.vae.state_dict(),
            "average": self.average.tensors,
            "jury": self.jury.state_dict(),
            "optimizers": [self.optimizer.state_dict(), self.jury_optimizer.state_dict()],
            "updates": self.updates,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `loop.Trainee`."""
        self.vae.load_state_dict(state["vae"])
        self.average.load(state["average"])
        self.jury.load_state_dict(state["jury"])
        if "optimizers" in state:  # a slim checkpoint has none
            for optimizer, own in zip((self.optimizer, self.jury_optimizer), state["optimizers"], strict=True):
                optimizer.load_state_dict(own)
        self.updates = state.get("updates", 0)

    def _segments(self, drawn: torch.Generator) -> Tensor:
        """A batch `[B, T]` from anywhere in the speech."""
        last = len(self.audio) - self.samples
        starts = torch.randint(last, (self.recipe.batch, 1), generator=drawn, device=self.device)
        return self.audio[starts + torch.arange(self.samples, device=self.device)].float() / 32768

    def _passed_through(self, recorded: Tensor, drawn: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same speech after the VAE, and what its latents cost."""
        with torch.set_grad_enabled(not self.frozen_encoder):
            mean, log_variance = (part.float() for part in self.vae.encoder(recorded))
        noise = torch.randn(mean.shape, generator=drawn, device=self.device)
        if self.frozen_encoder:
            return self.vae.decoder(mean + self.recipe.latent_noise * noise), mean.new_zeros(())
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return self.vae.decoder(mean + (0.5 * log_variance).exp() * noise), divergence

    def _heard(self, number: int) -> slice:
        """The part of each example that the jury hears in a step: anywhere, without asking the device where."""
        count = min(self.samples, self.recipe.jury_frames * hop_of(self.vae.config))
        start = number * 7_919 % (self.samples - count + 1)
        return slice(start, start + count)

    def _jury_step(self, recorded: Tensor, made: Tensor, turn: int) -> Tensor:
        with self._mixed():
            loss = jury_loss(self.jury(recorded, turn), self.jury(made, turn))
        self.jury_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.jury.parameters(), LOUDEST_GRADIENT)
        self.jury_optimizer.step()
        return loss

    def _mixed(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


def hop_of(config: AudioVAEConfig) -> int:
    """Samples to a latent frame."""
    hop = 1
    for rate in config.encoder_rates:
        hop *= rate
    return hop


def recipe_for(device: torch.device, **given: Any) -> VaeRecipe:
    """The recipe for a device, with what is given in its place; None gives nothing."""
    on_cuda = {"steps": 10_000, "batch": 32}
    on_cpu = {"steps": 80_000, "batch": 2, "early_rate": 2e-3, "adversary_from": 12_000, "jury_width": 8}
    usual = on_cuda if device.type == "cuda" else on_cpu
    return VaeRecipe(**{**usual, **{name: value for name, value in given.items() if value is not None}})


def start_of_refinement(scaled_vae: Mapping[str, Tensor], vae_state: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a run with a frozen encoder begins with: the VAE as the latents were made with it, and the jury if known."""
    return {"average": dict(scaled_vae), **({"jury": vae_state["jury"]} if vae_state else {})}


def _example(speech: Speech, hop: int) -> Tensor:
    """Some held-out speech `[n, T]`, sentence after sentence: what pads a single one would be most of its distance."""
    length = min(EXAMINED_SAMPLES, len(speech.audio)) // hop * hop
    count = min(EXAMINED_EXAMPLES, len(speech.audio) // length)
    return speech.audio[: count * length].view(count, length).float() / 32768
