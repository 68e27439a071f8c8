"""IndexTTS modules in sizes that take milliseconds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import (
    BigVGANConfig,
    CAMPPlusConfig,
    CodecConfig,
    ConformerConfig,
    DiTConfig,
    GPTConfig,
    IndexTTSConfig,
    MelConfig,
    PerceiverConfig,
    RegulatorConfig,
    Variant,
    W2vBertConfig,
    WaveNetConfig,
)
from intone.server.engines.indextts.checkpoint.random_weights import Rule, gpt_rules, random_tensors
from intone.server.engines.indextts.checkpoint.sizes import random_part
from intone.server.engines.indextts.reference.language_model import GPT
from intone.server.engines.indextts.s2mel import streaming
from intone.server.engines.indextts.s2mel.acoustic import AcousticModel, AcousticPrompt, AcousticSettings
from intone.server.engines.indextts.s2mel.streaming import AcousticState, ChunkPlan
from intone.server.engines.weights import Weights, declared_shapes

HIDDEN, CHANNELS, STYLE, BANDS, CODES, GPT_DIM = 32, 64, 192, 80, 128, 48
PLAN = ChunkPlan(
    first_features=24, growth=1.5, max_features=40, lookahead_frames=10, prompt_frames=40, context_frames=30
)


def tiny_config(
    variant: Variant = Variant.V25, depth: int = 5, wavenet_layers: int = 8, rate: int = 1
) -> IndexTTSConfig:
    """A whole configuration; the parts that the acoustic model does not use are minimal."""
    emotion = ConformerConfig(HIDDEN, 16, 16, 2, 1), PerceiverConfig(16, 16, 1, 1)
    downsample = 2 if variant is Variant.V25 else 1
    return IndexTTSConfig(
        variant=variant,
        gpt=GPTConfig(GPT_DIM, 1, 2, 8, CODES + 2, 8, 8, 0, 1, CODES, CODES + 1, emotion, None),
        codec=CodecConfig(CODES, HIDDEN, 8, 24, 48, 3, downsample),
        regulator=RegulatorConfig(CHANNELS, HIDDEN),
        dit=DiTConfig(CHANNELS, 4, depth, BANDS, CHANNELS, STYLE),
        wavenet=WaveNetConfig(CHANNELS, wavenet_layers, 5, rate),
        mel=MelConfig(22050, 1024, 1024, 256, BANDS, 0.0, None),
        vocoder=BigVGANConfig(BANDS, 16, (4, 4), (8, 8), (3,), ((1,),), 22050),
        w2v_bert=W2vBertConfig(HIDDEN, 32, 2, 1, 3, 8, 1),
        campplus=CAMPPlusConfig(),
        emotion_rows=(1,) * 8,
        tokenizer_file="none",
        trained=False,
    )


def weights(tensors: Mapping[str, Tensor]) -> Weights:
    return Weights(tensors)


def untrained(module: Callable[[Weights], object], seed: int = 0, rules: Sequence[Rule] = ()) -> dict[str, Tensor]:
    """Random tensors for everything that a module declares."""
    return random_tensors(declared_shapes(module), torch.Generator().manual_seed(seed), rules)


def untrained_gpt(config: IndexTTSConfig, seed: int) -> dict[str, Tensor]:
    """Random tensors of the language model without its conditioners."""
    return untrained(partial(GPT, config), seed, gpt_rules(config.gpt))


def published(folded: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of a published file for these weights, with weight norm split into gain and direction.

    The result has the names and shapes of `shapes`; other tensors of `folded` are ignored.
    """
    found: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        if name.endswith("weight_g"):
            weight = folded[name.removesuffix("_g")]
            found[name] = weight.flatten(1).norm(dim=1).view(shape)
        elif name.endswith("weight_v"):
            found[name] = 3.0 * folded[name.removesuffix("_v")]  # only its direction matters
        else:
            found[name] = folded[name]
        assert tuple(found[name].shape) == shape, (name, found[name].shape, shape)
    return found


def tiny_model(config: IndexTTSConfig, seed: int = 0) -> AcousticModel:
    generator = torch.Generator().manual_seed(seed)
    s2mel, book = (random_part(config, part, generator) for part in ("s2mel", "codec"))
    return AcousticModel(config, weights(s2mel), weights(book))


def tiny_prompt(model: AcousticModel, frames: int = 60, seed: int = 1) -> AcousticPrompt:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(round(frames / 1.72), HIDDEN, generator=generator)
    return model.prompt(
        torch.randn(BANDS, frames, generator=generator), features, torch.randn(STYLE, generator=generator)
    )


@dataclass(frozen=True)
class AcousticFixture:
    """An acoustic model with a voice and settings."""

    variant: Variant
    model: AcousticModel
    prompt: AcousticPrompt
    settings: AcousticSettings

    @classmethod
    def build(cls, variant: Variant) -> "AcousticFixture":
        model = tiny_model(tiny_config(variant))
        return cls(variant, model, tiny_prompt(model), AcousticSettings(seed=7, times=model.time_table(3)))

    def codes(self, count: int, seed: int = 1) -> tuple[Tensor, Tensor | None]:
        generator = torch.Generator().manual_seed(seed)
        codes = torch.randint(0, CODES, (count,), generator=generator)
        hidden = torch.randn(count, GPT_DIM, generator=generator)
        return codes, hidden if self.variant is Variant.V2 else None

    def offline(self, codes: Tensor, hidden: Tensor | None) -> Tensor:
        return self.model.whole(self.prompt.known_frames(), codes, hidden, self.settings)

    def stream(
        self, codes: Tensor, hidden: Tensor | None, cuts: Sequence[int], plan: ChunkPlan = PLAN
    ) -> tuple[list[Tensor], list[AcousticState]]:
        """Chunks and states of a unit whose codes come cut at `cuts`; the last piece is the rest."""
        state = streaming.start(self.prompt, self.settings, plan)
        chunks, states = [], []
        edges = [0, *sorted(cuts), codes.shape[0]]
        for begin, end in zip(edges[:-1], edges[1:], strict=True):
            part = None if hidden is None else hidden[begin:end]
            mel, state = streaming.extend(self.model, state, codes[begin:end], part, last=end == edges[-1])
            chunks.append(mel)
            states.append(state)
            if state.done:
                break
        return chunks, states
