"""The emotion model published with IndexTTS 2 and 2.5: `qwen0.6bemo4-merge`, a Qwen3 with 0.6 billion parameters.

It judges a text as a whole, which word lists cannot. An answer takes seconds on a CPU, so callers bound their wait.
Needs the optional package `transformers`.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intone.server.domain import EMOTIONS
from intone.server.emotion.estimate import EmotionEstimate
from intone.server.emotion.phrases import PhraseTable
from intone.server.emotion.word_lists import Role, lexicon_lists
from intone.server.errors import CheckpointError

NAME = "emotion model"
SYSTEM_PROMPT = "文本情感分类"
"""The system prompt of its training. Its chat template is applied with thinking disabled."""

KEYS = dict(zip(("高兴", "愤怒", "悲伤", "恐惧", "反感", "低落", "惊讶", "自然"), EMOTIONS, strict=True))
"""Our emotion for each of the model's labels."""

MAX_NEW_TOKENS = 160
"""Twice the length of a full answer. A longer answer is cut, and what it holds is used."""

MAX_CHARACTERS = 1000
"""Longer texts are judged by their beginning."""

_MAX_SCORE = 1.2
_SCORE = re.compile(rf"[\"'“]?({'|'.join(KEYS)})[\"'”]?\s*[:：=]\s*[\"']?([-+]?\d+(?:\.\d+)?)")
_CONTROL = re.compile(r"<\|[^<>|]*\|>|</?think>")  # control tokens of the chat template, which a text must not inject


class QwenEmotion:
    """The analyzer. Not thread-safe.

    Args:
        model: a causal language model of `transformers`, in evaluation mode.
        tokenizer: its tokenizer, with a chat template.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._end_of_thinking = tokenizer.convert_tokens_to_ids("</think>")
        entries = lexicon_lists().entries.items()
        words = (text for text, entry in entries if (entry.role, entry.emotion) == (Role.EMOTION, "melancholic"))
        self._melancholic = PhraseTable(dict.fromkeys(words, True))

    @classmethod
    def load(cls, folder: Path) -> "QwenEmotion":
        """Load the published folder, without downloads. Takes seconds, and 2.4 GB of memory for the published model.

        Raises:
            CheckpointError: `transformers` is missing, or the folder is not a model with a tokenizer.
        """
        try:  # optional, and takes a second to import
            from safetensors import SafetensorError
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise CheckpointError(NAME, "needs transformers: pip install 'intone[qwen]'") from error
        if not (folder / "config.json").is_file():
            raise CheckpointError(NAME, f"{folder} has no config.json: expected the folder qwen0.6bemo4-merge")
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            # The weights are float16, which is slower than float32 on a CPU.
            model, info = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, dtype="float32", output_loading_info=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(NAME, f"cannot load {folder}: {error}") from error
        wrong = sorted(
            str(key) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in info[kind]
        )
        if wrong:
            raise CheckpointError(NAME, f"{folder}: {len(wrong)} weights do not fit, such as {wrong[0]}")
        if tokenizer.chat_template is None:
            raise CheckpointError(NAME, f"{folder}: its tokenizer has no chat template")
        return cls(model.eval(), tokenizer)

    def analyze(self, text: str) -> EmotionEstimate:
        """The emotion of `text`; neutral, with an explanation, where the model's answer has no scores."""
        scores = parse_scores(self.answer(text))
        if scores is None:
            return EmotionEstimate.neutral("the emotion model gave no scores")
        if self._names_melancholy(text):
            # The model was trained with both under one label, "sad".
            scores = scores | {"sad": scores.get("melancholic", 0.0), "melancholic": scores.get("sad", 0.0)}
        if not any(scores.values()):
            return EmotionEstimate.from_strengths({"calm": 1.0}, "the emotion model sees no emotion: calm")
        listed = ", ".join(f"{name} {score:.2f}" for name, score in scores.items() if score > 0.0)
        return EmotionEstimate.from_strengths(scores, f"the emotion model: {listed}", min_secondary_share=0.0)

    def answer(self, text: str) -> str:
        """The model's answer without its thinking; deterministic."""
        messages = [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": _CONTROL.sub(" ", text[:MAX_CHARACTERS])},
        ]
        prompt = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        inputs = self._tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        # Greedy decoding; None overrides the sampling settings of the folder.
        generated = self._model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
        )
        ids = generated[0].tolist()[inputs["input_ids"].shape[1] :]  # [1, prompt + answer]
        if self._end_of_thinking in ids:
            ids = ids[len(ids) - ids[::-1].index(self._end_of_thinking) :]
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def _names_melancholy(self, text: str) -> bool:
        tokens = self._melancholic.tokens(text[:MAX_CHARACTERS])
        return any(self._melancholic.longest_match(tokens, start) for start in range(len(tokens)))


def parse_scores(answer: str) -> dict[str, float] | None:
    """Score of each of `EMOTIONS` that the answer names, clamped to [0, 1.2]; None where it names none.

    The answer should be a JSON object. If it is cut off or decorated, the "label: number" pairs in it are used.
    """
    start, end = answer.find("{"), answer.rfind("}")
    found: Any = None
    if 0 <= start < end:
        try:
            found = json.loads(answer[start : end + 1])
        except (ValueError, RecursionError):
            found = None
    pairs = found if isinstance(found, Mapping) else dict(_SCORE.findall(answer))
    scores = {KEYS[key]: score for key, value in pairs.items() if key in KEYS and (score := _score(value)) is not None}
    return scores or None


def _score(value: object) -> float | None:
    """A finite number, or one in quotes, clamped to the limits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        score = float(value)
    except (ValueError, OverflowError):
        return None
    return min(max(score, 0.0), _MAX_SCORE) if math.isfinite(score) else None
