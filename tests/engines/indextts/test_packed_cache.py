"""The cache of packed weights of the language model: the same audio, without packing again."""

import base64
import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from intone.server.domain import SpeakRequest, SynthesisOptions
from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.packed_cache import finish_writing
from intone.server.engines.pieces import complete
from tests.support.indextts_files import write_checkpoint
from tests.support.indextts_units import finish, recording

OPTIONS = SynthesisOptions(parameters={"steps": 2, "max_audio_ms": 400})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model in the published layout."""
    place = tmp_path_factory.mktemp("model")
    checkpoint = sizes.in_memory("nano", seed=3)
    write_checkpoint(place, checkpoint, sizes.documents("nano"))
    ranks = "".join(f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(256))
    (place / checkpoint.config.tokenizer_file).write_text(ranks, "ascii")
    return place


def spoken(folder: Path, dtype: str, pack_cache: Path | None) -> NDArray[np.float32]:
    """What a newly loaded engine says, once its packed weights are saved."""
    engine = IndexTTSEngine.from_folder(folder, dtype=dtype, pack_cache=pack_cache)
    finish_writing()
    request = SpeakRequest("Hm", seed=1, voice=complete(engine.prepare_voice(recording())), options=OPTIONS)
    return np.concatenate([step.pcm for step in finish(engine, engine.start(request)) if step.pcm is not None])


@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_audio_from_cached_weights_is_bit_identical(
    folder: Path, tmp_path: Path, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    expected = spoken(folder, dtype, None)
    assert np.array_equal(spoken(folder, dtype, tmp_path), expected)
    assert "loaded packed weights" not in caplog.text
    caplog.clear()
    assert np.array_equal(spoken(folder, dtype, tmp_path), expected)
    assert "loaded packed weights" in caplog.text and len(list(tmp_path.iterdir())) == 1
