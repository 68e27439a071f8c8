"""Text tokens of each sentence, and the alignment of speech to them: which token is spoken in each 20 ms.

The teacher labels each 20 ms with a phoneme, but not with its occurrence in the text. A greedy monotonic match of the
labels to the token sequence resolves that.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cache
from itertools import groupby

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.latents import Latents
from training.shards import SILENCE, Labels
from training.tokens import FIRST_PHONEME_TOKEN, phoneme_tokenizer, text_tokenizer

BETWEEN, TONES = ' ,.;:!?—…-"()“”', "→↗↓↘"
MAX_REPEATS = 7
NOT_REPEATED = -1


@dataclass(frozen=True, slots=True)
class Script:
    """Texts and alignment of some spoken sentences, in the order of their latents.

    Attributes:
        tokens: token ids of each sentence.
        alignment: `[N, slots]`, int64, on the CPU: for each 20 ms of each patch, the index of the spoken token in its
            sentence.
        repeats: `[N, slots]`, int64, on the CPU: how many times in a row the spoken word or Mandarin syllable has been
            said before, see `repeats`.
    """

    tokens: Sequence[Sequence[int]]
    alignment: Tensor
    repeats: Tensor


def script_of(sentences: Sequence[str], spoken: Latents, language: str) -> Script:
    """Tokenize and align the speech `spoken`, whose `numbers` index `sentences`."""
    tokenizer = text_tokenizer(language)
    numbers = tqdm(spoken.numbers.tolist(), desc="phonemes of the text", unit="sentence", leave=False)
    tokens = [tokenizer.ids(sentences[number]) for number in numbers]
    labels, starts = spoken.labels.cpu().numpy(), spoken.starts.tolist()
    bounds = zip(tokens, starts, starts[1:], strict=False)
    aligned = [align(text, labels[start:end].ravel()) for text, start, end in bounds]
    breaks = separators()
    counted = [repeats(text, *breaks)[place] for text, place in zip(tokens, aligned, strict=True)]
    alignment, said = (torch.from_numpy(np.concatenate(part)).view(labels.shape) for part in (aligned, counted))
    return Script(tokens, alignment, said)


def concatenated(parts: Sequence[Script]) -> Script:
    """Several languages in one, in the order of `latents.concatenated`."""
    return Script(
        tokens=[tokens for part in parts for tokens in part.tokens],
        alignment=torch.cat([part.alignment for part in parts]),
        repeats=torch.cat([part.repeats for part in parts]),
    )


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


def repeats(tokens: Sequence[int], between: Set[int], last: Set[int]) -> np.ndarray:
    """For each token, how many times its word has been said directly before: `[len(tokens)]`, int64.

    "one five five five" gives 0, 0, 1, 2. The value is `NOT_REPEATED` in words that differ from both neighbours, and at
    the marks between words.

    Args:
        between: tokens of the marks that separate words: blanks and punctuation.
        last: tokens that end a word: the tones of Mandarin, whose syllables are counted, not its words.
    """
    words: list[list[int]] = [[]]
    for index, token in enumerate(tokens):
        if token not in between:
            words[-1].append(index)
        if token in between or token in last:
            words.append([])
    result = np.full(len(tokens), NOT_REPEATED, np.int64)
    for _, run in groupby(filter(None, words), key=lambda word: [tokens[index] for index in word]):
        same = list(run)
        for count, word in enumerate(same if len(same) > 1 else []):
            result[word] = min(count, MAX_REPEATS)
    return result


@cache
def separators() -> tuple[Set[int], Set[int]]:
    """The arguments `between` and `last` of `repeats`, for the phoneme tokens."""
    vocabulary = phoneme_tokenizer().get_vocab()
    between, last = (frozenset(vocabulary[mark] for mark in marks if mark in vocabulary) for marks in (BETWEEN, TONES))
    return between, last
