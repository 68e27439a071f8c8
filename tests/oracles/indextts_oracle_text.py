"""Runs the official tokenizers and samplers, for `indextts_golden.py`."""

import base64
import io
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from tests.oracles.indextts_oracle import Groups, main, noise

# Encoded by the official tokenizers here and by ours in the tests.
SENTENCES = (
    "Hello there, the other brother!",
    'He said: "what\'s that?" -- 12345, 3.14',
    "  two  spaces\nand a line",
    "你好，世界！今天天气不错。",
    "我们 mixed 中文 and English，ok?",
    "こんにちは、せかい",
    "¡Hola! ¿Qué tal, señor?",
    "ﬁne ＡＢＣ １２３ ½ ㎏ é e\u0301 🙂 \u0000",
    "the the the whether wither",
    "",
    " ",
)


def sampling() -> dict[str, Tensor]:
    """Scores after the official processors, and the official beam scorer with given candidates."""
    from transformers.generation.beam_search import BeamSearchScorer
    from transformers.generation.logits_process import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    logits, seen = 4 * noise(16, 4, 200), torch.tensor([[1, 5, 5, 199, 150], [1, 2, 3, 4, 199], [1] * 5, [7] * 5])
    found = {"in.logits": logits, "in.seen": seen}
    settings = ((10.0, 0.8, 30, 0.8, 1), (1.5, 1.3, 5, 0.5, 2), (1.0, 1.0, 200, 0.95, 1), (3.0, 0.4, 50, 0.3, 2))
    for case, (penalty, temperature, top_k, top_p, least) in enumerate(settings):
        processors = LogitsProcessorList(
            [
                RepetitionPenaltyLogitsProcessor(penalty),
                TemperatureLogitsWarper(temperature),
                TopKLogitsWarper(top_k, min_tokens_to_keep=least),
                TopPLogitsWarper(top_p, min_tokens_to_keep=least),
            ]
        )
        found[f"{case}.in.settings"] = torch.tensor([penalty, temperature, top_k, top_p, least], dtype=torch.float64)
        found[f"{case}.out"] = processors(seen, logits.clone()).softmax(-1)
        found[f"{case}.out.of_logs"] = processors(seen, logits.log_softmax(-1))
    beams, vocabulary, stop, steps = 3, 50, 9, 25
    for case in range(4):
        scorer = BeamSearchScorer(1, beams, torch.device("cpu"), length_penalty=0.0, do_early_stopping=False)
        ids = torch.full((beams, 1), 8)
        generator = torch.Generator().manual_seed(case)
        scores = torch.zeros(beams)
        for step in range(steps):
            candidates = (scores.max() - 3 * torch.rand(2 * beams, generator=generator)).sort(descending=True).values
            tokens = torch.randint(0, 14 if case % 2 else vocabulary, (2 * beams,), generator=generator)
            parents = torch.randint(0, beams, (2 * beams,), generator=generator)
            for name, tensor in (("scores", candidates), ("tokens", tokens), ("parents", parents)):
                found[f"beam{case}.in.{name}.{step}"] = tensor
            done = scorer.process(
                ids,
                candidates.unsqueeze(0),
                tokens.unsqueeze(0),
                parents.unsqueeze(0),
                pad_token_id=stop,
                eos_token_id=stop,
                decoder_prompt_len=1,
            )
            scores = done["next_beam_scores"]
            ids = torch.cat([ids[done["next_beam_indices"]], done["next_beam_tokens"].unsqueeze(1)], 1)
            found[f"beam{case}.out.scores.{step}"] = scores
            if scorer.is_done:
                break
        final = scorer.finalize(ids, scores, None, None, 100, stop, stop, decoder_prompt_len=1)
        found[f"beam{case}.out.codes"] = final["sequences"][0, 1:]
        found[f"beam{case}.out.steps"] = torch.tensor([step + 1])
    return found


def toy_ranks() -> bytes:
    """A tiktoken file: all bytes in GPT-2's order, then some merges."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    tokens = [bytes([b]) for b in [*printable, *(b for b in range(256) if b not in printable)]]
    tokens += [b"th", b"he", b"the", b" the", b"in", b"ing", b" w", b"er", b"wh", b"ther", "你".encode(), b"\xef\xbc"]
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))


def as_bytes(content: bytes) -> Tensor:
    return torch.tensor(list(content), dtype=torch.uint8)


def text() -> dict[str, Tensor]:
    """Both tokenizers, and their toy vocabularies."""
    import sentencepiece
    from indextts25.utils.tokenizer import get_encoding

    found: dict[str, Tensor] = {"tiktoken.in": as_bytes(toy_ranks())}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "toy.tiktoken").write_bytes(toy_ranks())
        encoding = get_encoding("toy", model_dir=folder)
    for index, sentence in enumerate(SENTENCES):
        tagged = f"<|{'zh' if index % 2 else 'en'}|> {sentence}"
        ids = encoding.encode(tagged, allowed_special="all")
        found[f"tiktoken.out.{index}"] = torch.tensor([*ids, -1])
    specials = sorted(encoding._special_tokens.items(), key=lambda item: item[1])
    found["tiktoken.out.specials"] = as_bytes("\n".join(name for name, _ in specials).encode())
    found["tiktoken.out.first_special"] = torch.tensor([specials[0][1]])
    corpus = [s for s in SENTENCES if s.strip()] * 20 + ["THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG"] * 10
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus),
        model_writer=model,
        vocab_size=150,
        model_type="bpe",
        character_coverage=1.0,
        user_defined_symbols=["<x>", "PIN1"],
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    found["sentencepiece.in"] = as_bytes(model.getvalue())
    for index, sentence in enumerate([*SENTENCES, "a PIN1 b<x>c", "zzz Ω unknown"]):
        found[f"sentencepiece.in.{index}"] = as_bytes(sentence.encode())
        found[f"sentencepiece.out.{index}"] = torch.tensor([*processor.encode(sentence), -1])
    return found


GROUPS: Groups = {"sampling": sampling, "text": text}

if __name__ == "__main__":
    main(GROUPS, *sys.argv[1:])
