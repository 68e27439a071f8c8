"""What the language model of IndexTTS reads before the first code: speaker, emotion, text. Knows no codes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig, Variant
from intone.server.engines.weights import Weights
from intone.server.nn.transfer import send

DURATION_ROWS = 2


class Prefixes:
    """The tables of text; frozen once built. D is the model's width."""

    def __init__(self, config: IndexTTSConfig, weights: Weights) -> None:
        self.config, self._variant = config.gpt, config.variant
        # Copies: a view would hold the whole of a mapped file, which is not needed once the blocks are packed.
        self._text = weights["text_embedding.weight"].clone()
        self._text_positions = weights["text_pos_embedding.emb.weight"].clone()
        if config.variant is Variant.V25:
            self._languages = weights["lang_embedding.weight"].clone()
            self._duration = self._text.new_zeros(DURATION_ROWS, config.gpt.dim)
        else:
            self._duration = weights["speed_emb.weight"].flip(0)  # the pipeline says 1, then 0, whatever is asked

    def prefix(self, text: Sequence[int], speaker: Tensor, emotion: Tensor, language: int = 0) -> Tensor:
        """All that stands before the start code: `[S, D]`.

        Text goes in as it is: no id is special, not even those of the marks around it.

        Args:
            text: at most `GPT.longest_text` ids.
            speaker: `[N, D]`, of `conditioning.py`: 32 rows in 2, one in 2.5.
            emotion: `[D]`, added to each of them.
            language: row of the language table; 2 has none.
        """
        marked = [self.config.start_text, *text, self.config.stop_text]
        rows = self._text[send(torch.tensor(marked), self._text.device)] + self._text_positions[: len(marked)]
        if self._variant is Variant.V25:
            rows = rows + self._languages[language]
        return torch.cat((speaker + emotion, self._duration, rows))
