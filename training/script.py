"""What is said, in tokens, and which token each moment of the speech says. Knows nothing of sound.

The teacher tells which sound is in each 20 ms (its labels), not which of the text's many equal sounds it is. Their
order decides that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.latents import Latents
from training.shards import SILENCE, Labels
from training.tokens import FIRST_SOUND, text_tokenizer


@dataclass(frozen=True, slots=True)
class Script:
    """The texts of some spoken sentences, in their order.

    Attributes:
        tokens: of each sentence.
        places: `[N, slots]`, int64, on the CPU: for each 20 ms of each patch, which token of its sentence it says.
    """

    tokens: Sequence[Sequence[int]]
    places: Tensor


def script_of(sentences: Sequence[str], spoken: Latents, language: str) -> Script:
    """The script of `spoken`, whose sentences are numbers in the list `sentences`."""
    tokenizer = text_tokenizer(language)
    numbers = tqdm(spoken.numbers.tolist(), desc="sounds of the text", unit="sentence", leave=False)
    tokens = [tokenizer.ids(sentences[number]) for number in numbers]
    labels, starts = spoken.labels.cpu().numpy(), spoken.starts.tolist()
    bounds = zip(tokens, starts, starts[1:], strict=False)
    found = [places(text, labels[start:end].ravel()) for text, start, end in bounds]
    return Script(tokens, torch.from_numpy(np.concatenate(found)).view(labels.shape))


def joined(parts: Sequence[Script]) -> Script:
    """Those of several languages in one, in the order of their latents."""
    return Script([tokens for part in parts for tokens in part.tokens], torch.cat([part.places for part in parts]))


def places(tokens: Sequence[int], labels: Labels) -> np.ndarray:
    """For each label of one sentence the token that it is the sound of, `[len(labels)]`, int64.

    A sound is the next one of that label in the text; silence belongs to what was said last. Tokens of less than 20 ms
    may be passed over.
    """
    sounds = [token - FIRST_SOUND for token in tokens]
    found = np.zeros(len(labels), np.int64)
    place, last = -1, SILENCE
    for at, label in enumerate(labels.tolist()):
        if label not in (SILENCE, last) and label in sounds[place + 1 :]:
            place = sounds.index(label, place + 1)
        last = label
        found[at] = max(place, 0)
    return found
