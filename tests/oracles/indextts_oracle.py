"""Runs the official IndexTTS-2.5 package on tiny random models: `python tests/oracles/indextts_oracle.py GROUP FILE`.

Called by `indextts_golden.py` in a separate process; imports nothing of intone. No parameter has a neutral value: norms
are not all ones, biases not all zeros.
"""

import sys
from collections.abc import Callable

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

EMOTION_MODULE = {
    "output_size": 64,
    "linear_units": 128,
    "attention_heads": 4,
    "num_blocks": 2,
    "input_layer": "conv2d2",
    "perceiver_mult": 2,
}
TINY_GPT = {
    "layers": 3,
    "model_dim": 64,
    "heads": 4,
    "max_text_tokens": 60,
    "max_mel_tokens": 80,
    "number_text_tokens": 300,
    "number_mel_codes": 130,
    "start_mel_token": 128,
    "stop_mel_token": 129,
    "start_text_token": 0,
    "stop_text_token": 1,
    "mel_length_compression": 1024,
    "emo_condition_module": EMOTION_MODULE,
}


def shaken(module: nn.Module, seed: int) -> nn.Module:
    """The module in evaluation mode, with random vectors and running statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.is_floating_point() and (tensor.dim() == 1 or "pos_bias" in name):
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return module.eval()


def weights(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """A state dict with a prefix."""
    return {f"{prefix}.{name}": tensor.clone().contiguous() for name, tensor in module.state_dict().items()}


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tiny_gpt() -> nn.Module:
    from indextts25.gpt.model_v2 import UnifiedVoice

    torch.manual_seed(0)
    model = UnifiedVoice(**TINY_GPT)
    for embedding in (model.text_embedding, model.mel_embedding, model.lang_embedding):
        nn.init.normal_(embedding.weight, std=0.5)
    for name, tensor in model.gpt.named_parameters():
        if name.startswith("h.") and tensor.dim() == 2:
            tensor.data.mul_(8)  # so that codes depend on text and history
    model.post_init_gpt2_config()
    return shaken(model, 1)


def published(model: nn.Module, prefix: str) -> dict[str, Tensor]:
    """The tensors of a file, without the second names that decoding gives to some of them."""
    second = (f"{prefix}.inference_model.", f"{prefix}.gpt.wte.")
    return {name: tensor for name, tensor in weights(model, prefix).items() if not name.startswith(second)}


def gpt() -> dict[str, Tensor]:
    """Greedy codes, and teacher-forced hidden states and logits of the same sequence."""
    model = tiny_gpt()
    found = {name: tensor for name, tensor in published(model, "w").items() if not name.startswith("w.emo_cond")}
    style, emotion = noise(2, 1, 192), noise(3, 1, 64)
    for case, text, language in (("a", [5, 17, 250, 3, 299, 8], 1), ("b", [33], 7), ("c", list(range(2, 42)), 0)):
        ids, langs = torch.tensor([text]), torch.tensor([language])
        codes = model.inference_speech(
            ids,
            langs,
            emotion,
            style,
            max_generate_length=20,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
        )
        codes = codes[0] if isinstance(codes, tuple) else codes
        speaker = model.spk_emb_proj(style) + emotion
        rows = torch.cat([speaker.unsqueeze(0), torch.zeros(1, 2, 64)], 1)
        prepared = model.prepare_gpt_inputs(rows, ids, langs)
        prefix = next(t for t in prepared if t.is_floating_point() and t.dim() == 3)
        start = model.mel_embedding.weight[128] + model.mel_pos_embedding.emb.weight[0]
        made = codes[0].tolist()
        tail = [model.mel_embedding.weight[c] + model.mel_pos_embedding.emb.weight[k + 1] for k, c in enumerate(made)]
        whole = torch.cat([prefix, torch.stack([start, *tail]).unsqueeze(0)], 1)
        hidden = model.final_norm(model.gpt(inputs_embeds=whole).last_hidden_state)
        found |= {
            f"{case}.in.text": ids[0],
            f"{case}.in.language": langs[0],
            f"{case}.out.codes": codes[0],
            f"{case}.out.prefix": prefix[0],
            f"{case}.out.hidden": hidden[0],
            f"{case}.out.logits": model.mel_head(hidden)[0],
        }
    return found | {"in.style": style[0], "in.emotion": emotion[0]}


def conditioning() -> dict[str, Tensor]:
    """Conformer, perceiver, emotion vector and merge."""
    from indextts25.gpt.conformer_encoder import ConformerEncoder
    from indextts25.gpt.perceiver import PerceiverResampler

    found: dict[str, Tensor] = {}
    torch.manual_seed(4)
    encoder = shaken(
        ConformerEncoder(
            input_size=96, output_size=64, linear_units=128, attention_heads=4, num_blocks=2, input_layer="conv2d2"
        ),
        5,
    )
    x = noise(6, 1, 101, 96)
    found |= weights(encoder, "conformer.w")
    found |= {"conformer.in": x[0], "conformer.out": encoder(x, torch.tensor([101]))[0][0]}
    perceiver = shaken(PerceiverResampler(64, dim_context=48, ff_mult=2, heads=4, num_latents=3), 7)
    context = noise(8, 1, 20, 48)
    found |= weights(perceiver, "perceiver.w")
    out = perceiver(context, torch.ones(1, 23, dtype=torch.bool))
    found |= {"perceiver.in": context[0], "perceiver.out": out[0]}
    model = tiny_gpt()
    base, emotional = noise(9, 1, 80, 1024), noise(10, 1, 61, 1024)
    full = torch.tensor([1024])  # the length that the pipeline always passes
    found |= published(model, "gpt.w")
    return found | {
        "gpt.in.base": base[0],
        "gpt.in.emotional": emotional[0],
        "gpt.out.base": model.get_emovec(base, full)[0],
        "gpt.out.merged": model.merge_emovec(base, emotional, full, full, alpha=0.6)[0],
    }


def voice() -> dict[str, Tensor]:
    """CAMPPlus, mel, filter bank, resampling."""
    from indextts25.s2mel.modules.audio import mel_spectrogram
    from indextts25.s2mel.modules.campplus.DTDNN import CAMPPlus
    from indextts25.utils.common import kaldi_fbank, resample

    torch.manual_seed(11)
    encoder = shaken(CAMPPlus(feat_dim=80, embedding_size=192), 12)
    found = weights(encoder, "campplus.w")
    for frames in (230, 100, 57):
        features = noise(frames, 1, frames, 80)
        found |= {f"campplus.in.{frames}": features[0], f"campplus.out.{frames}": encoder(features)[0]}
    time = torch.arange(33075) / 22050
    audio = 0.3 * torch.sin(2 * torch.pi * (150 + 90 * time) * time) + 0.02 * noise(13, 33075)
    low = resample(audio.unsqueeze(0), 22050, 16000)
    return found | {
        "audio.in": audio,
        "audio.out.mel": mel_spectrogram(audio.unsqueeze(0), 1024, 80, 22050, 256, 1024, 0, None)[0],
        "audio.out.resampled": low[0],
        "audio.out.resampled_44100": resample(audio.unsqueeze(0), 22050, 44100)[0],
        "audio.out.fbank": kaldi_fbank(low),
    }


def w2v_bert() -> dict[str, Tensor]:
    """w2v-BERT in transformers, and its input features."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

    torch.manual_seed(14)
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 96, "conv_depthwise_kernel_size": 7}
    model = shaken(Wav2Vec2BertModel(Wav2Vec2BertConfig(num_hidden_layers=3, **sizes)), 15)
    extractor = SeamlessM4TFeatureExtractor(
        feature_size=80, num_mel_bins=80, padding_side="right", padding_value=1, stride=2, sampling_rate=16000
    )
    found = weights(model, "w")
    for samples in (24000, 16240, 4801):  # even and odd numbers of frames, and fewer than the positions reach
        audio = (0.1 * noise(samples, samples)).numpy()
        given = extractor(audio, sampling_rate=16000, return_tensors="pt")
        states = model(**given, output_hidden_states=True).hidden_states
        found |= {
            f"in.{samples}": torch.from_numpy(audio),
            f"out.features.{samples}": given["input_features"][0],
            f"out.mask.{samples}": given["attention_mask"][0],
            f"out.hidden1.{samples}": states[1][0],
            f"out.hidden2.{samples}": states[2][0],
        }
    return found


def folding() -> dict[str, Tensor]:
    """Weight norm of all kinds of layers, folded by the package."""
    from indextts25.utils.checkpoint import fold_weight_norm

    found: dict[str, Tensor] = {}
    shapes = {"conv": (6, 4, 3), "transposed": (4, 6, 8), "linear": (5, 7), "one": (3, 3, 1)}
    for seed, (name, shape) in enumerate(shapes.items(), 20):
        found[f"in.{name}.weight_v"] = noise(seed, *shape)
        found[f"in.{name}.weight_g"] = 0.1 + noise(seed + 50, shape[0], *[1] * (len(shape) - 1)).abs()
        found[f"in.{name}.bias"] = noise(seed + 90, shape[0])
    folded = fold_weight_norm({name[3:]: tensor for name, tensor in found.items()}, "cpu")
    return found | {f"out.{name}": tensor for name, tensor in folded.items()}


Groups = dict[str, Callable[[], dict[str, Tensor]]]


def main(groups: Groups, group: str, file: str) -> None:
    with torch.inference_mode():
        found = groups[group]()
    save_file({name: tensor.clone().contiguous() for name, tensor in found.items()}, file)


GROUPS: Groups = {
    "gpt": gpt,
    "conditioning": conditioning,
    "voice": voice,
    "w2v_bert": w2v_bert,
    "folding": folding,
}

if __name__ == "__main__":
    main(GROUPS, *sys.argv[1:])
