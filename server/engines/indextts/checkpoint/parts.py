"""The models that IndexTTS needs beside its own files, which are published separately: where they may lie.

Does not import torch, so that the server can look for them before an engine is loaded.
"""

from collections.abc import Iterator
from pathlib import Path

from intone.server.storage.hub import cached

W2V_BERT, MASK_GCT = "facebook/w2v-bert-2.0", "amphion/MaskGCT"
CAMPPLUS, VOCODER = "funasr/campplus", "nvidia/bigvgan_v2_22khz_80band_256x"

CODEC_FOLDER, CODEC = "semantic_codec", "model.safetensors"
"""The codec of IndexTTS-2, in MaskGCT's repository; IndexTTS-2.5 has one of its own, `codec.pth`."""

FILES = {
    W2V_BERT: ("config.json", "model.safetensors"),
    CAMPPLUS: ("campplus_cn_common.bin",),
    VOCODER: ("config.json", "bigvgan_generator.pt"),
}


def places(folder: Path, repository: str) -> Iterator[Path]:
    """Where the files of a repository may lie.

    In a folder of its own name or in the layout of `huggingface_hub`'s cache, each in the model's folder and in its
    `hf_cache`; then in that cache itself.
    """
    for root in (folder, folder / "hf_cache"):
        yield root / repository.split("/")[1]
        yield from sorted(root.glob(f"models--{repository.replace('/', '--')}/snapshots/*"))
    yield from cached(repository)


def missing_parts(folder: Path) -> dict[str, tuple[str, ...]]:
    """Repositories of which a checkpoint lacks files, and which files these are."""
    needed = dict(FILES)
    if not any(folder.glob("codec.*")) and not (folder / CODEC_FOLDER / CODEC).is_file():
        needed[MASK_GCT] = (f"{CODEC_FOLDER}/{CODEC}",)
    missing = {}
    for repository, names in needed.items():
        found = list(places(folder, repository))
        lacking = tuple(name for name in names if not any(_has(place, name) for place in found))
        if lacking:
            missing[repository] = lacking
    return missing


def _has(place: Path, name: str) -> bool:
    return (place / name).is_file() or (place / name).with_suffix(".safetensors").is_file()
