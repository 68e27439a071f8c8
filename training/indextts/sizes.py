"""Sizes of nano IndexTTS, as the published configuration files."""

import copy
from typing import Any

from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.checkpoint.config_files import PITCH_ROWS, config_of
from intone.server.engines.indextts.text.front_end import SPECIAL_TOKENS
from training.indextts.codes import CODES, vocabulary
from training.indextts.speech import HOP_SAMPLES, MEL_BANDS, RATE_HZ

Document = dict[str, Any]

SOURCE_POINTS, SOURCE_NOISE = 64, 32
"""Values per mel frame of the vocoder's source: pulses with harmonics up to 2.7 kHz, and noise."""

ROWS = MEL_BANDS + PITCH_ROWS
"""Rows of a frame between flow and vocoder."""

FLOW_STEPS, TEMPERATURE = 4, 0.8

VOCODER_RATES = (16, 4, 4)
_WIDTHS: dict[str, Document] = {
    "nano": {"gpt": (256, 4, 4), "flow": (192, 3, 4), "wavenet": 3, "codec": (128, 384, 3), "vocoder": 192},
    "tiny": {"gpt": (32, 1, 2), "flow": (32, 2, 2), "wavenet": 1, "codec": (16, 16, 1), "vocoder": 96},
}


def names() -> tuple[str, ...]:
    """The size that is trained, and one for tests."""
    return tuple(_WIDTHS)


def documents(size: str) -> tuple[Document, Document, Document]:
    """The contents of `config.yaml` and the two `config.json` of vocoder and w2v-BERT."""
    widths = _WIDTHS[size]
    document, vocoder, w2v_bert = copy.deepcopy(sizes.documents("nano"))
    dim, layers, heads = widths["gpt"]
    document["dataset"] = {"bpe_model": "phonemes.tiktoken"}
    document["gpt"] |= {
        "model_dim": dim,
        "layers": layers,
        "heads": heads,
        "number_text_tokens": len(vocabulary()) + SPECIAL_TOKENS,
        "number_mel_codes": CODES + 2,
        "start_mel_token": CODES,
        "stop_mel_token": CODES + 1,
        "max_mel_tokens": 1000,
        "max_text_tokens": 500,
    }
    backbone, wide, blocks = widths["codec"]
    document["semantic_codec"] |= {
        "codebook_size": CODES,
        "codebook_dim": 32,
        "vocos_dim": backbone,
        "vocos_intermediate_dim": wide,
        "vocos_num_layers": blocks,
    }
    s2mel, (hidden, flow_heads, depth) = document["s2mel"], widths["flow"]
    s2mel["preprocess_params"]["sr"] = RATE_HZ
    s2mel["preprocess_params"]["spect_params"] |= {"n_mels": MEL_BANDS, "hop_length": HOP_SAMPLES}
    s2mel["length_regulator"]["channels"] = hidden
    s2mel["DiT"] |= {
        "hidden_dim": hidden,
        "content_dim": hidden,
        "num_heads": flow_heads,
        "depth": depth,
        "in_channels": ROWS,
    }
    s2mel["wavenet"] |= {"hidden_dim": hidden, "num_layers": widths["wavenet"]}
    document["emo_num"] = [1] * 8
    document["intone"] |= {
        "trained": True,
        "phonemes": "hibari",
        "source": {"points": SOURCE_POINTS, "noise": SOURCE_NOISE},
        "sampling": {"temperature": TEMPERATURE, "repetition_penalty": 1.0},
        "flow": {"steps": FLOW_STEPS, "guidance": 0.0},
    }
    vocoder |= {
        "num_mels": ROWS + SOURCE_POINTS + SOURCE_NOISE,
        "sampling_rate": RATE_HZ,
        "upsample_initial_channel": widths["vocoder"],
        "upsample_rates": list(VOCODER_RATES),
        "upsample_kernel_sizes": [2 * rate for rate in VOCODER_RATES],
        "resblock_kernel_sizes": [7],
        "resblock_dilation_sizes": [[1, 3]],
    }
    return document, vocoder, w2v_bert


def config(size: str) -> IndexTTSConfig:
    """The configuration of a size.

    Raises:
        KeyError: there is no such size.
    """
    return config_of(*documents(size))
