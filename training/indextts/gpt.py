"""Trainable GPT over semantic codes, on whole sentences: it computes what the server's decoding loop does.

A code's embedding and its row of the output layer are sums of rows for its sound, its pitch level and its effort
level, and of a row of its own, which begins at zero.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from intone.server.domain import EMOTIONS
from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.gpt.prefixes import DURATION_ROWS, Prefixes
from training.indextts.codes import CODES, EFFORT_LEVELS, PITCH_LEVELS, SOUND_COUNT, parts
from training.indextts.parameters import Parameters, initial
from training.indextts.prosody import NEUTRAL, Mood

TRAINED = ("gpt.", "final_norm.", "mel_", "text_embedding.", "text_pos_embedding.", "lang_embedding.")
FACTORED = ("mel_embedding.weight", "mel_head.weight")
PREFIX_ROWS = 1 + DURATION_ROWS
"""Rows of the speaker and of the duration before the text."""

LEVELS = SOUND_COUNT + PITCH_LEVELS + EFFORT_LEVELS
LANGUAGE = 0
NORM_EPS = 1e-5


class GPT(nn.Module):
    """The language model of one voice with its emotion vectors.

    Attributes:
        own: the voice's row of the prefix, in which its neutral emotion vector is included: `[D]`.
        emotions: what emotion vectors add to the neutral one at weight 1, `[8, D]`.
    """

    def __init__(self, config: IndexTTSConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        tensors = {name: t for name, t in initial(config, "gpt", seed).items() if name.startswith(TRAINED)}
        dim, random = config.gpt.dim, torch.Generator().manual_seed(seed)
        for name in FACTORED:
            tensors[name] = torch.zeros_like(tensors[name])
        for name, rows in (("embedding_parts", 0.5), ("head_parts", dim**-0.5)):
            tensors[name] = rows * torch.randn(LEVELS, dim, generator=random)
        tensors["mel_head.bias"] = torch.zeros_like(tensors["mel_head.bias"])
        tensors["own"] = torch.randn(dim, generator=random)
        tensors["emotions"] = 0.5 * torch.randn(len(EMOTIONS), dim, generator=random)
        special = ["start_embedding", "start_head", "stop_embedding", "stop_head"]
        tensors |= {name: 0.1 * torch.randn(dim, generator=random) for name in special}
        self.given = Parameters(tensors)
        sounds, pitch, effort = parts(torch.arange(CODES))
        levels = torch.stack((sounds, SOUND_COUNT + pitch, SOUND_COUNT + PITCH_LEVELS + effort), 1)
        self.register_buffer("levels", levels, persistent=False)

    def table(self, kind: str) -> Tensor:
        """The rows of all codes, start and stop, `[CODES + 2, D]`; `kind` is "embedding" or "head"."""
        levels = self.levels
        assert isinstance(levels, Tensor)
        made = self.given[f"{kind}_parts"][levels].sum(1)
        special = [self.given[f"{name}_{kind}"][None] for name in ("start", "stop")]
        name = FACTORED[0] if kind == "embedding" else FACTORED[1]
        return torch.cat((made, *special)) + self.given[name]

    def emotion(self, moods: Sequence[Mood]) -> Tensor:
        """What the moods add to the neutral emotion vector: `[B, D]`."""
        weights = torch.zeros(len(moods), len(EMOTIONS))
        for row, mood in enumerate(moods):
            if mood.emotion != NEUTRAL:
                weights[row, mood.emotion] = mood.weight
        emotions = self.given["emotions"]
        return weights.to(emotions.device) @ emotions

    def forward(
        self, texts: Sequence[Sequence[int]], codes: Sequence[Tensor], moods: Sequence[Mood]
    ) -> tuple[Tensor, list[Tensor], list[int]]:
        """Hidden states of sentences after both final norms, attention of the first heads, and starts of the codes.

        Args:
            texts: token ids.
            codes: `[n]` each.

        Returns:
            Hidden states `[B, S, D]`, of which row `start + k` of a sentence predicts its code k; attention weights of
            the first head of each layer `[B, S, S]`; and the starts.
        """
        gpt, emotion = self.config.gpt, self.emotion(moods)
        embedding, positions = self.table("embedding"), self.given["mel_pos_embedding.emb.weight"]
        prefixes = Prefixes(self.config, self.given.weights())
        rows, starts = [], []
        for text, spoken, mood in zip(texts, codes, emotion, strict=True):
            prefix = prefixes.prefix(text, self.given["own"][None], mood, LANGUAGE)
            marked = torch.cat((spoken.new_tensor([gpt.start_code]), spoken))
            starts.append(len(prefix))
            rows.append(torch.cat((prefix, embedding[marked] + positions[: len(marked)])))
        x = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        looks: list[Tensor] = []
        for layer in range(gpt.layers):
            x = self._layer(f"gpt.h.{layer}", x, looks)
        return self._norm("final_norm", self._norm("gpt.ln_f", x)), looks, starts

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the next code: `[..., D]` → `[..., CODES + 2]`."""
        return functional.linear(hidden, self.table("head"), self.given["mel_head.bias"])

    def published(self) -> dict[str, Tensor]:
        """The tensors of the decoding loop and of the prefix by their published names."""
        tensors = {name: t for name, t in self.given.tensors().items() if name.startswith(TRAINED)}
        return tensors | dict(zip(FACTORED, (self.table("embedding"), self.table("head")), strict=True))

    def _layer(self, name: str, x: Tensor, looks: list[Tensor]) -> Tensor:
        heads = self.config.gpt.heads
        both = self._affine(f"{name}.attn.c_attn", self._norm(f"{name}.ln_1", x))
        queries, keys, values = both.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        looks.append(_weights(queries[:, 0], keys[:, 0]))
        attended = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self._affine(f"{name}.attn.c_proj", attended.transpose(1, 2).flatten(2))
        wide = functional.gelu(self._affine(f"{name}.mlp.c_fc", self._norm(f"{name}.ln_2", x)), approximate="tanh")
        return x + self._affine(f"{name}.mlp.c_proj", wide)

    def _affine(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.given[f"{name}.weight"], self.given[f"{name}.bias"]  # the weight is `[in, out]`
        result: Tensor = torch.addmm(bias, x.flatten(0, 1), weight).unflatten(0, x.shape[:2])
        return result

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.given[f"{name}.weight"], self.given[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias, NORM_EPS)


def _weights(queries: Tensor, keys: Tensor) -> Tensor:
    """Causal attention weights of one head: `[B, S, S]`."""
    scores = queries @ keys.transpose(1, 2) / queries.shape[2] ** 0.5
    hidden = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).triu(1)
    weights: Tensor = scores.masked_fill(hidden, float("-inf")).softmax(2)
    return weights
