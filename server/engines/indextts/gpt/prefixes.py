"""The input of the language model before the first code: conditioning vectors of speaker and emotion, then the text."""

from collections.abc import Sequence

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig, Variant
from intone.server.engines.weights import Weights
from intone.server.nn.transfer import send

DURATION_ROWS = 2


class Prefixes:
    """Builds prefixes from the text embedding tables; immutable. D is the model's width."""

    def __init__(self, config: IndexTTSConfig, weights: Weights) -> None:
        gpt, self.config, self._variant = config.gpt, config.gpt, config.variant
        # Clones: a view would keep the whole mapped file, which is not needed once the blocks are packed.
        self._text = weights.tensor("text_embedding.weight", (gpt.text_tokens + 1, gpt.dim)).clone()
        self._text_positions = weights.tensor("text_pos_embedding.emb.weight", (gpt.text_positions, gpt.dim)).clone()
        if config.variant is Variant.V25:
            self._languages = weights.tensor("lang_embedding.weight", (gpt.languages, gpt.dim)).clone()
            self._duration = self._text.new_zeros(DURATION_ROWS, gpt.dim)
        else:
            # The official pipeline feeds row 1, then row 0, whatever duration is requested.
            self._duration = weights.tensor("speed_emb.weight", (DURATION_ROWS, gpt.dim)).flip(0)

    def prefix(self, text: Sequence[int], speaker: Tensor, emotion: Tensor, language: int = 0) -> Tensor:
        """All positions before the start code: `[S, D]`.

        Args:
            text: at most `config.max_text` token ids, none of them special: the ids of the marks are text here.
            speaker: `[N, D]`, from `VoiceEncoder.speaker`: 32 rows in IndexTTS-2, one in 2.5.
            emotion: `[D]`, added to each of the speaker's rows.
            language: row of the language table; ignored in 2.

        The first `shared_rows(speaker)` depend on speaker and emotion only.
        """
        marked = [self.config.start_text, *text, self.config.stop_text]
        rows = self._text[send(torch.tensor(marked), self._text.device)] + self._text_positions[: len(marked)]
        if self._variant is Variant.V25:
            rows = rows + self._languages[language]
        return torch.cat((speaker + emotion, self._duration, rows))

    @staticmethod
    def shared_rows(speaker: Tensor) -> int:
        """Rows at the beginning of a prefix that all texts in a voice and emotion have in common."""
        return len(speaker) + DURATION_ROWS
