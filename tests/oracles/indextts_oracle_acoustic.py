"""Runs the acoustic model of the official IndexTTS-2.5 package on tiny random models, for `indextts_golden.py`.

Imports nothing of intone.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.oracles.indextts_oracle import noise, shaken, weights

HIDDEN, CHANNELS, STYLE, BANDS = 32, 64, 192, 80
CODES = 128
# Features and frames: special cases of the map (one feature, equal, twice, fewer), and duration factors 0.5 to 1.3.
SPREADS = ((1, 1), (1, 3), (7, 12), (13, 22), (25, 43), (40, 40), (40, 80), (40, 34), (40, 55), (100, 172), (100, 223))
REGULATED = ((100, 172), (25, 43), (13, 22), (1, 1), (40, 55))


def codec_model() -> nn.Module:
    from indextts25.codec.models import EnhancedCodec

    torch.manual_seed(0)
    model = EnhancedCodec(
        codebook_size=CODES,
        hidden_size=HIDDEN,
        codebook_dim=8,
        vocos_dim=24,
        vocos_intermediate_dim=48,
        vocos_num_layers=3,
    )
    nn.init.normal_(model.state_dict()["quantizer.quantizers.0.codebook.weight"])
    return shaken(model, 1)


def s2mel_model(depth: int, wavenet_layers: int) -> Any:
    """Flow and length regulator as one model."""
    from indextts25.s2mel.modules.commons import MyModel
    from omegaconf import OmegaConf

    dit = {
        **{"hidden_dim": CHANNELS, "num_heads": 4, "depth": depth, "in_channels": BANDS, "content_dim": CHANNELS},
        **{"class_dropout_prob": 0.1, "block_size": 8192, "style_condition": True, "final_layer_type": "wavenet"},
        **{"target": "mel", "content_codebook_size": 1024, "content_type": "discrete", "f0_condition": False},
        **{"n_f0_bins": 512, "content_codebooks": 1, "is_causal": False, "long_skip_connection": True},
        **{"zero_prompt_speech_token": False, "time_as_token": False, "style_as_token": False},
        **{"uvit_skip_connection": True, "add_resblock_in_transformer": False},
    }
    regulator = {
        **{"channels": CHANNELS, "is_discrete": False, "in_channels": HIDDEN, "content_codebook_size": 16},
        **{"sampling_ratios": [1, 1, 1, 1], "vector_quantize": False, "n_codebooks": 1, "quantizer_dropout": 0.0},
        **{"f0_condition": False, "n_f0_bins": 512},
    }
    wavenet = {
        **{"hidden_dim": CHANNELS, "num_layers": wavenet_layers, "kernel_size": 5, "dilation_rate": 1},
        **{"p_dropout": 0.2, "style_condition": True},
    }
    torch.manual_seed(depth)
    document = {"dit_type": "DiT", "reg_loss_type": "l1", "style_encoder": {"dim": STYLE}}
    model = MyModel(OmegaConf.create({**document, "length_regulator": regulator, "DiT": dit, "wavenet": wavenet}))
    shaken(model, depth + 1)
    model.models["cfm"].estimator.setup_caches(max_batch_size=2, max_seq_length=512)
    return model.models


def codec() -> dict[str, Tensor]:
    model = codec_model()
    found = weights(model, "w")
    for count in (1, 3, 60):
        codes = torch.randint(0, CODES, (1, count), generator=torch.Generator().manual_seed(count))
        found |= {f"in.{count}": codes, f"out.{count}": model.decode(codes)}
    features = noise(2, 2, 30, HIDDEN)
    return found | {"in.tower": features, "out.tower": model.decoder(features.transpose(1, 2))}


def regulator() -> dict[str, Tensor]:
    from indextts25.s2mel.modules.length_regulator import InterpolateRegulator

    def made() -> nn.Module:
        return InterpolateRegulator(
            channels=CHANNELS, sampling_ratios=[1, 1, 1, 1], in_channels=HIDDEN, codebook_size=16
        )

    torch.manual_seed(0)
    model = shaken(made(), 1)
    found = weights(model, "w")
    for features, frames in REGULATED:
        x = noise(features, 1, features, HIDDEN)
        found |= {f"in.{features}.{frames}": x, f"out.{features}.{frames}": model(x, ylens=torch.tensor([frames]))}
    # Identity convolutions and invertible norms show the index of the feature that each frame uses.
    return found


def wavenet() -> dict[str, Tensor]:
    from indextts25.s2mel.modules.wavenet import WN

    found: dict[str, Tensor] = {}
    for case, layers, rate in (("flat", 8, 1), ("dilated", 3, 2)):
        torch.manual_seed(layers)
        model = shaken(WN(CHANNELS, 5, rate, layers, gin_channels=CHANNELS, p_dropout=0.0, causal=False), 1)
        time = noise(3, 1, CHANNELS, 1)
        found |= weights(model, f"{case}.w") | {f"{case}.in.time": time}
        for frames in (2, 3, 40):
            x = noise(frames, 1, CHANNELS, frames)
            found[f"{case}.in.{frames}"] = x
            found[f"{case}.out.{frames}"] = model(x, torch.ones(1, 1, frames), g=time)
    return found


def dit() -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for depth, layers, prompt, frames in ((5, 3, 24, 70), (13, 8, 40, 75), (4, 8, 9, 31)):
        case = f"{depth}.{layers}.{prompt}.{frames}"
        estimator = s2mel_model(depth, layers)["cfm"].estimator
        x, given = noise(1, 2, BANDS, frames), noise(2, 2, BANDS, frames)
        x[:, :, :prompt] = 0
        given[:, :, prompt:] = 0
        content, style = noise(3, 2, frames, CHANNELS), noise(4, 2, STYLE)
        time = torch.tensor([0.36, 0.36])
        inputs = {"x": x, "given": given, "content": content, "style": style, "time": time[:1]}
        result = estimator(x, given, torch.tensor([frames, frames]), time, style, content)
        found |= weights(estimator, f"{case}.w") | {f"{case}.in.{name}": tensor for name, tensor in inputs.items()}
        found[f"{case}.out"] = result
    return found


def acoustic() -> dict[str, Tensor]:
    """The flow's solver, and everything from codes to mel, with a recording of 30 frames."""
    codec_, models = codec_model(), s2mel_model(5, 8)
    flow, regulate = models["cfm"], models["length_regulator"]
    codes = torch.randint(0, CODES, (1, 20), generator=torch.Generator().manual_seed(5))
    heard, given, style = noise(6, 1, 18, HIDDEN), noise(7, 1, BANDS, 30), noise(8, 1, STYLE)
    found = weights(codec_, "codec.w") | weights(flow, "s2mel.w.cfm") | weights(regulate, "s2mel.w.length_regulator")
    found |= {"in.codes": codes, "in.heard": heard, "in.given": given, "in.style": style}
    before = regulate(heard, ylens=torch.tensor([30]))
    features = codec_.decode(codes)
    for case, frames, steps, rate in (("plain", 68, 25, 0.7), ("slow", 89, 6, 0.7), ("unguided", 68, 1, 0.0)):
        content = torch.cat((before, regulate(features, ylens=torch.tensor([frames]))), dim=1)
        z = noise(frames, 1, BANDS, 30 + frames)
        grid = torch.linspace(0, 1, steps + 1)
        length = torch.tensor([30 + frames])
        mel = flow.solve_euler(z.clone(), length, given, content, style, None, grid, inference_cfg_rate=rate)
        found |= {f"{case}.in.noise": z, f"{case}.out.content": content, f"{case}.out.mel": mel}
    return found


GROUPS: dict[str, Callable[[], dict[str, Tensor]]] = {
    made.__name__: made for made in (codec, regulator, wavenet, dit, acoustic)
}

if __name__ == "__main__":
    with torch.inference_mode():
        tensors = GROUPS[sys.argv[1]]()
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, Path(sys.argv[2]))
