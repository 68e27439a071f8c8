"""Fourth stage: the audio VAE learns to make the teacher's voice of latents, and to find them in it. Knows no text.

Which latents a frame has is given (`analysis.py`). So both halves learn by themselves: the decoder by how far its sound
is from the teacher's (`spectra.py`), then, from `adversary_from` on, by discriminators too; the encoder by how far its
latents are from the given ones.

Phases are compared in every second example only, whose latents have nearly no noise. With noise the pointer is off, and
the phase of an overtone that follows from it is no longer the teacher's; its magnitude still is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from intone.server.engines.voxcpm.audio_vae_config import AudioVAEConfig
from training import source
from training.analysis import SOUND_SAMPLES
from training.balance import Balance
from training.discriminators import Jury, fooling_loss, jury_loss
from training.latents import Latents
from training.loop import generator
from training.optimizing import Average, adam, multiplies_bfloat16, rate_at, set_rate
from training.shards import SOUND_HZ, Speech
from training.spectra import SoundDistance
from training.vae import AudioVAE
from training.vae_examples import Examples, Frames, compared

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
        clean_noise: the same, in the examples whose phases are compared.
        history_frames: of an example, its first, which are decoded for the decoder's memory and not compared: what
            stands before them is missing.
        beginnings: part of the examples that are a sentence's beginning, compared from the first sample on.
        said_examples: of what the language models said (`say.py`), in each batch, once there is a jury.
        more: languages that have one more turn than the others, each time they are named: those that lag behind.
        encoder_every: the encoder learns in every so many-th step: it has the easier half; 0 leaves it as it is.
    """

    steps: int
    batch: int
    segment_frames: int = 32
    rate: float = 4e-4
    early_rate: float = 4e-4
    adversary_from: int = 2_000
    jury_silence: int = 250
    jury_width: int = 32
    jury_frames: int = 16
    jury_rate: float = 5e-4
    spectra_share: float = 1.0
    levels_share: float = 0.2
    phase_share: float = 0.4
    silence_share: float = 0.03
    jury_share: float = 1.0
    feature_weight: float = 2.0
    average_decay: float = 0.999
    latent_noise: float = 0.2
    clean_noise: float = 0.02
    history_frames: int = 4
    beginnings: float = 0.2
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
        self.distance = SoundDistance(SOUND_HZ).to(device)
        self.optimizer = adam(self.vae.parameters(), recipe.rate, (0.8, 0.99), 0.0)
        self.jury_optimizer = adam(self.jury.parameters(), recipe.jury_rate, (0.8, 0.99), 0.0)
        self.balance = Balance(
            {
                "spectra": recipe.spectra_share,
                "levels": recipe.levels_share,
                "phase": recipe.phase_share,
                "silence": recipe.silence_share,
                "jury": recipe.jury_share,
            }
        )
        self.updates = 0
        self.spoken = {name: Frames.of(*pair, device) for name, pair in spoken.items()}
        self.turns = [*spoken, *(name for name in recipe.more if name in spoken)]
        latents = [own.latents for own in self.spoken.values()]
        for frames in (*latents, *([] if self.said is None else [self.said])):
            if len(frames) <= recipe.segment_frames:
                raise ValueError(f"{len(frames)} frames of speech are too few for examples of {recipe.segment_frames}")
        self.examined = {
            name: Frames.of(*pair, device).some(EXAMINED_EXAMPLES, EXAMINED_FRAMES) for name, pair in held_out.items()
        }

    def step(self, number: int) -> Mapping[str, Tensor]:
        """Both learn from one batch."""
        recipe, drawn = self.recipe, generator(self.recipe.seed, number, self.device)
        rate = rate_at(number, recipe.steps, self.updates)
        self.updates += 1
        set_rate(self.optimizer, rate * (recipe.rate if number >= recipe.adversary_from else recipe.early_rate))
        set_rate(self.jury_optimizer, recipe.jury_rate * rate)
        examples = self._examples(number, drawn)
        clean = [(number + place) % 2 == 0 for place in range(recipe.batch)]
        given = self._disturbed(examples.latents, clean, drawn)
        if self.said is not None and number >= recipe.adversary_from:
            given = torch.cat((given, self._said(self.said, drawn)))
        with self._mixed():
            decoded = self.vae.decoder(given)
        made, wanted, harmonics = compared(decoded, examples, recipe.history_frames)
        recorded = made[: recipe.batch]
        losses = dict(self.distance(recorded, wanted))
        if any(clean):
            rows = torch.tensor([place for place, is_clean in enumerate(clean) if is_clean], device=self.device)
            losses["phase"] = self.distance.phase(recorded[rows], wanted[rows], harmonics[rows])
        figures = dict(losses)
        if number >= recipe.adversary_from:
            heard = self._heard(number)
            figures["jury"], fooled, features = self._judged(wanted[:, heard], made[:, heard], number)
            if number >= recipe.adversary_from + recipe.jury_silence:
                losses["jury"] = fooled + recipe.feature_weight * features
                figures |= {"fooled": fooled, "features": features}
        self.optimizer.zero_grad(set_to_none=True)
        made.backward(self.balance.gradient(made, losses))
        if number >= recipe.adversary_from:
            torch.nn.utils.clip_grad_norm_(self.jury.parameters(), LOUDEST_JURY_GRADIENT)
            self.jury_optimizer.step()
        if recipe.encoder_every and number % recipe.encoder_every == 0:
            with self._mixed():
                mean, log_variance = self.vae.encoder(examples.audio)
            surprise(mean.float(), log_variance.float(), examples.latents).backward()
        torch.nn.utils.clip_grad_norm_(self.vae.parameters(), LOUDEST_GRADIENT)
        self.optimizer.step()
        self.average.add(self.vae, number)
        return figures

    def examine(self, number: int) -> Mapping[str, float]:
        """The averaged VAE on held-out speech: how far its sound is from it, and its latents from the given ones."""
        vae = AudioVAE(self.vae.config).to(self.device)
        vae.load_state_dict(self.average.tensors)
        found: dict[str, float] = {}
        for language, held_out in self.examined.items():
            with torch.no_grad():
                made, wanted, harmonics = compared(vae.decoder(held_out.latents), held_out, self.recipe.history_frames)
                figures = {**self.distance(made, wanted), "phase": self.distance.phase(made, wanted, harmonics)}
                missed = (vae.encoder(held_out.audio)[0] - held_out.latents).square().mean().sqrt()
            figures["latents_missed"] = missed
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

    def _examples(self, number: int, drawn: torch.Generator) -> Examples:
        """A batch from anywhere in the speech, of the languages in turn."""
        recipe = self.recipe
        turns = [self.turns[(number * recipe.batch + place) % len(self.turns)] for place in range(recipe.batch)]
        return Examples.joined(
            [self.spoken[turn].example(recipe.segment_frames, recipe.beginnings, drawn) for turn in turns]
        )

    def _said(self, frames: Tensor, drawn: torch.Generator) -> Tensor:
        """Examples of what the language models said: `[said_examples, D, frames]`."""
        recipe, device = self.recipe, self.device
        shape = (recipe.said_examples, 1)
        starts = torch.randint(len(frames) - recipe.segment_frames, shape, generator=drawn, device=device)
        return frames[starts + torch.arange(recipe.segment_frames, device=device)].float().mT

    def _disturbed(self, latents: Tensor, clean: Sequence[bool], drawn: torch.Generator) -> Tensor:
        """Each example with noise of its own strength."""
        most = latents.new_tensor([self.recipe.clean_noise if one else self.recipe.latent_noise for one in clean])
        strength = most[:, None, None] * torch.rand(len(latents), 1, 1, generator=drawn, device=self.device)
        return latents + strength * torch.randn(latents.shape, generator=drawn, device=self.device)

    def _heard(self, number: int) -> slice:
        """The part of each example that the jury hears in a step: anywhere, without asking the device where."""
        recipe = self.recipe
        samples = (recipe.segment_frames - recipe.history_frames) * SOUND_SAMPLES
        count = min(samples, recipe.jury_frames * SOUND_SAMPLES)
        start = number * 7_919 % (samples - count + 1)
        return slice(start, start + count)

    def _judged(self, recorded: Tensor, made: Tensor, turn: int) -> tuple[Tensor, Tensor, Tensor]:
        """What the jury learns by, whose gradients it then has, and the two that the decoder learns by.

        One pass serves both: the weights of the jury may change only after the decoder's gradients are known.
        """
        with self._mixed_jury():
            theirs, ours = self.jury(recorded, turn), self.jury(made, turn)
            loss = jury_loss(theirs, ours)
            fooled, features = fooling_loss(theirs, ours)
        parameters = list(self.jury.parameters())
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        return loss, fooled, features

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
