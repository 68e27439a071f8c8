"""The semantic codec against the official package, and the context that streaming relies on."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import Variant
from intone.server.engines.indextts.checkpoint.sizes import random_part
from intone.server.engines.indextts.checkpoint.weights import part_shapes
from intone.server.engines.indextts.s2mel import codec
from intone.server.engines.indextts.s2mel.codec import CodecDecoder, FeatureQuantizer, Tower
from tests.oracles.indextts_golden import assert_close, golden, under
from tests.support.indextts_tiny import CODES, HIDDEN, published, tiny_config, weights

V2, V25 = tiny_config(Variant.V2), tiny_config(Variant.V25)


@pytest.fixture(scope="module")
def official(require: Callable[..., Any]) -> dict[str, Tensor]:
    return golden(require, "codec", "indextts_oracle_acoustic.py")


@pytest.fixture(scope="module")
def decoder() -> CodecDecoder:
    return CodecDecoder(V25.codec, weights(random_part(V25, "codec", torch.Generator().manual_seed(0))))


@pytest.mark.parametrize("count", [1, 3, 60])
def test_decoding_equals_the_official_codec(official: dict[str, Tensor], count: int) -> None:
    tensors = published(under(official, "w"), part_shapes(V25)["codec"])
    decoded = CodecDecoder(V25.codec, weights(tensors))(official[f"in.{count}"])
    assert_close(decoded, official[f"out.{count}"])


def test_a_tower_equals_the_official(official: dict[str, Tensor]) -> None:
    """The encoder of IndexTTS-2 has the structure of the decoder; the official package has only the decoder."""
    tensors = published(under(official, "w"), part_shapes(V25)["codec"])
    tower = Tower(V25.codec, weights(tensors).scope("decoder"))
    assert_close(tower(official["in.tower"]), official["out.tower"])


def test_features_depend_on_context_codes_and_no_more(decoder: CodecDecoder) -> None:
    codes = torch.randint(0, CODES, (1, 60), generator=torch.Generator().manual_seed(1))
    other = codes.clone()
    other[0, 30] = (other[0, 30] + 1) % CODES
    changed = (decoder(codes) != decoder(other)).any(dim=2)[0].nonzero()[:, 0]
    reach = decoder.context_codes  # 12 codes and one feature on either side
    assert reach == 13
    assert changed.min() == 2 * (30 - reach) + 1 and changed.max() == 2 * (30 + reach)


def test_codes_beyond_the_context_have_no_effect(decoder: CodecDecoder) -> None:
    codes = torch.randint(0, CODES, (1, 60), generator=torch.Generator().manual_seed(2))
    whole = decoder(codes)
    start = 60 - 20 - decoder.context_codes
    assert_close(decoder(codes[:, start:])[:, 2 * decoder.context_codes :], whole[:, -40:], 1e-6)


def test_quantising_takes_the_most_similar_code_unscaled() -> None:
    tensors = random_part(V2, "codec", torch.Generator().manual_seed(3))
    features = torch.randn(2, 25, HIDDEN, generator=torch.Generator().manual_seed(4))
    codes, quantised = FeatureQuantizer(V2.codec, weights(tensors))(features)

    def projected(name: str, x: Tensor) -> Tensor:
        gain, direction = tensors[f"{name}.weight_g"], tensors[f"{name}.weight_v"]
        weight = gain * direction / direction.flatten(1).norm(dim=1).view(-1, 1, 1)
        return functional.conv1d(x.transpose(1, 2), weight, tensors[f"{name}.bias"]).transpose(1, 2)

    book = tensors[f"{codec.BOOK}.codebook.weight"]
    low = projected(f"{codec.BOOK}.in_project", Tower(V2.codec, weights(tensors).scope("encoder"))(features))
    distances = torch.cdist(functional.normalize(low, dim=2), functional.normalize(book, dim=1))
    assert torch.equal(codes, distances.argmin(dim=2))
    assert len(codes.unique()) > 10
    assert_close(quantised, projected(f"{codec.BOOK}.out_project", book[codes]), 1e-6)


@pytest.mark.parametrize("config", [V2, V25], ids=["v2", "v2.5"])
def test_untrained_features_have_a_variance_near_1(config: Any) -> None:
    tensors = random_part(config, "codec", torch.Generator().manual_seed(0))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == part_shapes(config)["codec"]
    table = codec.code_table(config.codec, weights(tensors))
    assert 0.5 < float(table.std()) < 2
