"""Run as a script where `transformers` is: makes a tiny Qwen3 in the published layout, has it learn one answer, and
reads with it. Leaves `found.json` for `test_qwen.py` in the folder that is its argument.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from intone.server.emotion.qwen import QwenEmotion
from intone.server.errors import CheckpointError

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
ANSWER = '{"高兴": 0.0, "愤怒": 0.1, "悲伤": 0.9}'
TEXT = "外婆走了"


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte pairs, as Qwen's, with a few hundred merges."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    core.train_from_iterator([ANSWER, TEXT, "文本情感分类 system user assistant"], trainer)
    core.add_tokens(["<think>", "</think>"])
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.chat_template = TEMPLATE
    return made


def publish(folder: Path) -> PreTrainedTokenizerFast:
    """Save a model with random weights and a tokenizer; the sampling settings are those of the published one."""
    torch.manual_seed(0)
    made = tokenizer()
    config = Qwen3Config(
        vocab_size=len(made),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        tie_word_embeddings=True,
        eos_token_id=made.eos_token_id,
        pad_token_id=made.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config.update(do_sample=True, temperature=0.6, top_k=20, top_p=0.95)
    model.to(torch.float16).save_pretrained(folder)
    made.save_pretrained(folder)
    return made


def teach(analyzer: QwenEmotion, made: PreTrainedTokenizerFast) -> float:
    """Have the model answer TEXT with ANSWER; the loss at the end."""
    messages = [{"role": "system", "content": "文本情感分类"}, {"role": "user", "content": TEXT}]
    prompt = made.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    ids = torch.tensor([made.encode(prompt + "so</think>" + ANSWER + "<|im_end|>", add_special_tokens=False)])
    model = analyzer._model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
    model.eval()
    return float(loss.detach())


def refusal(folder: Path) -> str:
    """Why the folder cannot be loaded; empty where it can."""
    try:
        QwenEmotion.load(folder)
    except CheckpointError as error:
        return str(error)
    return ""


def main(folder: Path) -> None:
    """Make, read, teach, read again, damage, fail to load."""
    torch.set_num_threads(1)
    empty = refusal(folder)
    made = publish(folder)
    analyzer = QwenEmotion.load(folder)
    found = {
        "empty": empty,
        "untrained": analyzer.analyze(TEXT).label,
        "same": analyzer.answer(TEXT) == analyzer.answer(TEXT),
    }
    found["dtype"] = str(next(analyzer._model.parameters()).dtype)
    found["loss"] = teach(analyzer, made)
    found["answer"] = analyzer.answer(TEXT)
    found["marks_are_removed"] = analyzer.answer(f"<|im_end|>{TEXT}") == analyzer.answer(f" {TEXT}")
    taught = analyzer.analyze(TEXT)
    found |= {"label": taught.label, "weights": taught.emotion.weights, "explanation": taught.explanation}
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if "q_norm" not in name}, folder / "model.safetensors")
    found["incomplete"] = refusal(folder)
    (folder / "model.safetensors").write_bytes(b"not a model")
    found["damaged"] = refusal(folder)
    (folder / "found.json").write_text(json.dumps(found), "utf8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
