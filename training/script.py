"""Text tokens of each sentence, and the alignment of speech to them: which token is spoken in each 20 ms.

The teacher labels each 20 ms with a phoneme, but not with its occurrence in the text. A greedy monotonic match of the
labels to the token sequence resolves that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.latents import Latents
from training.shards import SILENCE, Labels
from training.tokens import FIRST_PHONEME_TOKEN, text_tokenizer


@dataclass(frozen=True, slots=True)
class Script:
    """Texts and alignment of some spoken sentences, in the order of their latents.

    Attributes:
        tokens: token ids of each sentence.
        alignment: `[N, slots]`, int64, on the CPU: for each 20 ms of each patch, the index of the spoken token in its
            sentence.
    """

    tokens: Sequence[Sequence[int]]
    alignment: Tensor


def script_of(sentences: Sequence[str], spoken: Latents, language: str) -> Script:
    """Tokenize and align the speech `spoken`, whose `numbers` index `sentences`."""
    tokenizer = text_tokenizer(language)
    numbers = tqdm(spoken.numbers.tolist(), desc="phonemes of the text", unit="sentence", leave=False)
    tokens = [tokenizer.ids(sentences[number]) for number in numbers]
    labels, starts = spoken.labels.cpu().numpy(), spoken.starts.tolist()
    bounds = zip(tokens, starts, starts[1:], strict=False)
    aligned = [align(text, labels[start:end].ravel()) for text, start, end in bounds]
    return Script(tokens, torch.from_numpy(np.concatenate(aligned)).view(labels.shape))


def concatenated(parts: Sequence[Script]) -> Script:
    """Several languages in one, in the order of `latents.concatenated`."""
    return Script([tokens for part in parts for tokens in part.tokens], torch.cat([part.alignment for part in parts]))


def align(tokens: Sequence[int], labels: Labels) -> np.ndarray:
    """Index of the spoken token for each label of one sentence: `[len(labels)]`, int64, non-decreasing.

    Each new label advances to the next token of that phoneme. Silence, and labels that do not occur in the rest of the
    text, keep the current token. Tokens shorter than 20 ms may be skipped.
    """
    phonemes = [token - FIRST_PHONEME_TOKEN for token in tokens]
    result = np.zeros(len(labels), np.int64)
    index, last = -1, SILENCE
    for slot, label in enumerate(labels.tolist()):
        if label not in (SILENCE, last) and label in phonemes[index + 1 :]:
            index = phonemes.index(label, index + 1)
        last = label
        result[slot] = max(index, 0)
    return result
