"""Stage `vocoder`: trains BigVGAN on the teacher's own frames and source.

The losses are those of nano VoxCPM's decoder (`training/spectra.py`), each with its share of the gradient; from step
`adversary_from` on also those of its discriminators.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.vocoder.source import Source, SourceState
from training.balance import Balance
from training.discriminators import Jury, judged
from training.indextts.features import Basis
from training.indextts.sizes import ROWS
from training.indextts.speech import FRAME_S, HOP_SAMPLES, RATE_HZ, Speech
from training.indextts.vocoder import BigVGAN
from training.loop import generator
from training.optimizing import Average, adam, rate_at, restore_optimizers, set_rate
from training.spectra import SoundDistance

CPU = torch.device("cpu")
EXAMINED_EXAMPLES, EXAMINED_FRAMES = 8, 140
MAX_GRADIENT, MAX_JURY_GRADIENT = 100.0, 10.0


@dataclass(frozen=True, slots=True)
class VocoderRecipe:
    """Hyperparameters of the vocoder.

    Attributes:
        segment_frames: frames of an example.
        context_frames: frames at either end of an example that are not compared, because their context is missing;
            at the beginning of a sentence there is none.
        beginnings: fraction of the examples that begin with a sentence.
        row_noise: maximum standard deviation of the noise on the rows, which simulates errors of the flow.
        adversary_from: first step of the discriminators.
        jury_silence: further steps until they affect the vocoder.
        jury_samples: samples of an example that the discriminators see.
    """

    steps: int = 40_000
    batch: int = 2
    segment_frames: int = 80
    context_frames: int = 6
    beginnings: float = 0.15
    row_noise: float = 0.15
    rate: float = 1e-3
    adversary_from: int = 15_000
    jury_silence: int = 250
    jury_width: int = 16
    jury_rate: float = 5e-4
    jury_samples: int = 8192
    feature_weight: float = 2.0
    average_decay: float = 0.999
    seed: int = 0


SHARES = {"spectra": 1.0, "levels": 0.2, "phase": 0.4, "silence": 0.03, "jury": 1.0}
"""Share of each loss in the gradient."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a sentence: rows `[R, F]`, sound and harmonics `[F · HOP_SAMPLES]`, and whether it begins with it."""

    rows: Tensor
    sound: Tensor
    harmonics: Tensor
    begins: bool


class Segments:
    """Segments of sentences with the rows that the vocoder is given."""

    def __init__(self, speech: Speech, basis: Basis, source: Source) -> None:
        self._speech, self._basis, self._source = speech, basis, source
        self._states = _states(speech)

    def drawn(self, length: int, beginnings: float, random: torch.Generator) -> Segment:
        """A random segment of `length` frames; the fraction `beginnings` of them begins with a sentence."""
        while True:
            place = int(torch.randint(len(self._speech.mel), (1,), generator=random))
            index = int(torch.searchsorted(self._speech.frames, place, right=True)) - 1
            start, end = self._speech.frames[index : index + 2].tolist()
            if end - start >= length:
                break
        begins = float(torch.rand(1, generator=random)) < beginnings
        first = start if begins else min(place, end - length)
        return self.at(first, length)

    def at(self, first: int, length: int) -> Segment:
        """The segment from frame `first` on, within a sentence."""
        speech, span = self._speech, slice(first, first + length)
        rows = self._basis.rows(speech.mel[span], speech.pitch[span]).t()
        pitch_hz, voicing, phase = self._states[first].tolist()
        given, _ = self._source.rows(rows, SourceState(pitch_hz, voicing, phase, first))
        sound, harmonics = (part[span].flatten().float() / 32767 for part in (speech.sound, speech.harmonics))
        return Segment(given, sound, harmonics, bool((speech.frames == first).any()))


def _states(speech: Speech) -> np.ndarray:
    """Pitch in Hz, voicing and phase of the source before each frame, `[frames, 3]`, float64."""
    pitch = speech.pitch.double().numpy()
    states = np.zeros((len(pitch), 3))
    for index, (start, end) in enumerate(zip(speech.frames.tolist(), speech.frames.tolist()[1:], strict=False)):
        before = speech.before[index].numpy()
        states[start, :2], states[start + 1 : end, :2] = before[:2], pitch[start : end - 1]
        hertz = np.concatenate((before[:1], pitch[start:end, 0]))
        cycles = np.concatenate(([0.0], np.cumsum((hertz[1:-1] + hertz[:-2]) / 2))) * FRAME_S
        states[start:end, 2] = (before[2] + cycles) % 1
    return states


class VocoderTrainee:
    """The vocoder and its discriminators, as a `loop.Trainee`."""

    def __init__(
        self,
        config: IndexTTSConfig,
        recipe: VocoderRecipe,
        basis: Basis,
        speech: Speech,
        held_out: Speech,
        device: torch.device = CPU,
    ) -> None:
        assert config.source is not None
        self.recipe, self.device = recipe, device
        torch.manual_seed(recipe.seed)
        self.vocoder, self.jury = BigVGAN(config, recipe.seed).to(device), Jury(recipe.jury_width).to(device)
        self.average = Average.of(self.vocoder, recipe.average_decay)
        self._examined_vocoder = BigVGAN(config, recipe.seed).to(device)
        self.distance = SoundDistance(RATE_HZ).to(device)
        self.optimizer = adam(self.vocoder.parameters(), recipe.rate, (0.8, 0.99), 0.0)
        self.jury_optimizer = adam(self.jury.parameters(), recipe.jury_rate, (0.8, 0.99), 0.0)
        self.balance = Balance(SHARES)
        self.updates = 0
        source = Source(config.source.points, config.source.noise, FRAME_S)
        self.segments = Segments(speech, basis, source)
        examined = Segments(held_out, basis, source)
        starts = [
            int(at) for at, n in zip(held_out.frames, held_out.frames.diff(), strict=False) if n > EXAMINED_FRAMES
        ]
        self.examined = [examined.at(start, EXAMINED_FRAMES) for start in starts[:EXAMINED_EXAMPLES]]

    def step(self, number: int) -> Mapping[str, Tensor]:
        """Train on one batch; returns the losses."""
        recipe, random = self.recipe, generator(self.recipe.seed, number, CPU)
        rate = rate_at(number, recipe.steps, self.updates)
        self.updates += 1
        set_rate(self.optimizer, recipe.rate * rate)
        set_rate(self.jury_optimizer, recipe.jury_rate * rate)
        drawn = [self.segments.drawn(recipe.segment_frames, recipe.beginnings, random) for _ in range(recipe.batch)]
        decoded = self.vocoder(self._disturbed(torch.stack([one.rows for one in drawn]), random).to(self.device))
        edge = recipe.context_frames * HOP_SAMPLES
        skipped = [0 if one.begins else edge for one in drawn]
        length = decoded.shape[1] - 2 * edge
        parts = (decoded, [one.sound for one in drawn], [one.harmonics for one in drawn])
        made, wanted, harmonics = (
            torch.stack([sound[at : at + length] for sound, at in zip(part, skipped, strict=True)]).to(self.device)
            for part in parts
        )
        losses = dict(self.distance(made, wanted))
        losses["phase"] = self.distance.phase(made, wanted, harmonics)
        figures = dict(losses)
        if number >= recipe.adversary_from:
            start = number * 7_919 % (length - recipe.jury_samples + 1)
            heard = slice(start, start + recipe.jury_samples)
            figures["jury"], fooled, features = judged(self.jury, wanted[:, heard], made[:, heard], number)
            if number >= recipe.adversary_from + recipe.jury_silence:
                losses["jury"] = fooled + recipe.feature_weight * features
                figures |= {"fooled": fooled, "features": features}
        self.optimizer.zero_grad(set_to_none=True)
        made.backward(self.balance.gradient(made, losses))
        if number >= recipe.adversary_from:
            torch.nn.utils.clip_grad_norm_(self.jury.parameters(), MAX_JURY_GRADIENT)
            self.jury_optimizer.step()
        torch.nn.utils.clip_grad_norm_(self.vocoder.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        self.average.add(self.vocoder, number)
        return figures

    def examine(self, number: int) -> Mapping[str, float]:
        """Losses of the averaged vocoder on held-out beginnings of sentences."""
        vocoder = self._examined_vocoder
        vocoder.load_state_dict(self.average.tensors)
        sums: dict[str, float] = {}
        with torch.no_grad():
            for one in self.examined:
                rows, wanted, harmonics = (part[None].to(self.device) for part in (one.rows, one.sound, one.harmonics))
                made = vocoder(rows)
                phase = self.distance.phase(made, wanted, harmonics)
                losses = {**self.distance(made, wanted), "phase": phase}
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + float(value) / len(self.examined)
        return {f"held_out_{name}": value for name, value in sums.items()}

    def state(self) -> dict[str, Any]:
        """See `loop.Trainee`."""
        return {
            "vocoder": self.vocoder.state_dict(),
            "average": self.average.tensors,
            "jury": self.jury.state_dict(),
            "optimizers": [self.optimizer.state_dict(), self.jury_optimizer.state_dict()],
            "pulls": self.balance.sizes,
            "updates": self.updates,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `loop.Trainee`."""
        self.vocoder.load_state_dict(state["vocoder"])
        self.average.load(state["average"])
        self.jury.load_state_dict(state["jury"])
        restore_optimizers((self.optimizer, self.jury_optimizer), state)
        self.balance.sizes = dict(state.get("pulls", {}))
        self.updates = state.get("updates", 0)

    def _disturbed(self, rows: Tensor, random: torch.Generator) -> Tensor:
        """Add noise of a random strength to the rows of each example, but not to those of the source."""
        strength = self.recipe.row_noise * torch.rand(len(rows), 1, 1, generator=random)
        noise = strength * torch.randn(len(rows), ROWS, rows.shape[2], generator=random)
        return torch.cat((rows[:, :ROWS] + noise, rows[:, ROWS:]), 1)
