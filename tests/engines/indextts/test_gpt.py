"""The reference language model against the official package, and in chunks against itself."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import (
    ConformerConfig,
    GPTConfig,
    IndexTTSConfig,
    PerceiverConfig,
    Variant,
    W2vBertConfig,
)
from intone.server.engines.indextts.checkpoint.weights import part_shapes
from intone.server.engines.indextts.layers import Linear
from intone.server.engines.indextts.reference.language_model import GPT
from intone.server.engines.indextts.reference.sampling import GREEDY, BatchSampling, cut
from intone.server.engines.indextts.voice.conditioning import FeatureStatistics, VoiceEncoder
from intone.server.engines.indextts.voice.emotion import EmotionMatrix, merged
from intone.server.engines.pieces import complete
from tests.oracles.indextts_golden import assert_close, golden, under
from tests.support.indextts_tiny import tiny_config, untrained_gpt, weights

pytestmark = pytest.mark.usefixtures("no_gradients")

EMOTION = ConformerConfig(1024, 64, 128, 4, 2), PerceiverConfig(1024, 64, 1, 4)
OFFICIAL = GPTConfig(64, 3, 4, 300, 130, 60, 80, 0, 1, 128, 129, EMOTION, None)
CLOSE = 1e-5


@pytest.fixture(scope="module")
def goldens(require: Callable[..., Any]) -> dict[str, Tensor]:
    return golden(require, "gpt")


def official_config() -> IndexTTSConfig:
    return dataclasses.replace(tiny_config(), gpt=OFFICIAL, w2v_bert=W2vBertConfig(1024, 8, 2, 0, 3, 8, 1))


@pytest.fixture(scope="module")
def official(goldens: dict[str, Tensor]) -> GPT:
    return GPT(official_config(), weights(under(goldens, "w")))


def official_prefix(model: GPT, goldens: dict[str, Tensor], case: str) -> Tensor:
    project = Linear.read(weights(under(goldens, "w")), "spk_emb_proj", (64, 192))
    text, language = goldens[f"{case}.in.text"].tolist(), int(goldens[f"{case}.in.language"])
    return model.prefix(text, project(goldens["in.style"][None]), goldens["in.emotion"], language)


def test_names_and_shapes_equal_the_official(require: Callable[..., Any]) -> None:
    theirs = under(golden(require, "conditioning"), "gpt.w")
    config = official_config()
    expected = part_shapes(config)["gpt"]
    assert {n: tuple(t.shape) for n, t in theirs.items() if not n.endswith("pos_enc.pe")} == expected


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_prefix_hidden_states_and_logits(official: GPT, goldens: dict[str, Tensor], case: str) -> None:
    prefix = official_prefix(official, goldens, case)
    assert_close(prefix, goldens[f"{case}.out.prefix"])
    unit, hidden = official.begin(prefix, 20)
    rows = [hidden]
    for code in goldens[f"{case}.out.codes"]:
        rows.append(official.advance(code[None], [unit])[0])
    theirs = goldens[f"{case}.out.hidden"][len(prefix) :]
    assert_close(torch.stack(rows), theirs)
    assert_close(official.logits(torch.stack(rows)), goldens[f"{case}.out.logits"][len(prefix) :])
    assert unit.code_count == 20


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_greedy_codes(official: GPT, goldens: dict[str, Tensor], case: str) -> None:
    codes = greedy(official, [official_prefix(official, goldens, case)], 20)[0]
    assert codes == goldens[f"{case}.out.codes"].tolist()


def test_emotion_vectors_and_their_interpolation(require: Callable[..., Any]) -> None:
    found = golden(require, "conditioning")
    config = official_config()
    matrix = EmotionMatrix(torch.ones(8, 192), torch.ones(8, 64), (1,) * 8)
    campplus = weights(under(golden(require, "voice"), "campplus.w"))
    statistics = FeatureStatistics(torch.zeros(1024), torch.ones(1024))
    w2v = weights(
        {
            "feature_projection.layer_norm.weight": torch.ones(160),
            "feature_projection.layer_norm.bias": torch.zeros(160),
            "feature_projection.projection.weight": torch.zeros(1024, 160),
            "feature_projection.projection.bias": torch.zeros(1024),
        }
    )
    encoder = VoiceEncoder(config, weights(under(found, "gpt.w")), w2v, campplus, statistics, matrix)
    own, other = (complete(encoder.emotion(found[f"gpt.in.{name}"])) for name in ("base", "emotional"))
    assert_close(own, found["gpt.out.base"])
    assert_close(merged(own, other, 0.6), found["gpt.out.merged"])


# ---- against itself -------------------------------------------------------------------------------------------------


def greedy(model: GPT, prefixes: list[Tensor], count: int) -> list[list[int]]:
    """Greedy codes of several units in one batch."""
    begun = [model.begin(prefix, count) for prefix in prefixes]
    units, rows = [unit for unit, _ in begun], torch.stack([hidden for _, hidden in begun])
    settings = BatchSampling.of([GREEDY] * len(units), model.config.codes, rows.device)
    nothing = torch.zeros(len(units), model.config.codes, dtype=torch.bool)
    made = []
    for _ in range(count):
        codes, _ = cut(model.logits(rows), nothing, settings)
        made.append(codes[:, 0])
        rows = model.advance(codes[:, 0], units)
    return torch.stack(made, 1).tolist()


def random_gpt(variant: Variant, **switches: bool) -> GPT:
    config = tiny_config(variant)
    speaker = (EMOTION[0], PerceiverConfig(64, 64, 5, 2)) if variant is Variant.V2 else None
    config = dataclasses.replace(config, gpt=dataclasses.replace(OFFICIAL, speaker=speaker))
    return GPT(config, weights(untrained_gpt(config, 3)), **switches)


def random_prefix(model: GPT, text: list[int], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    speaker, emotion = torch.randn(5, 64, generator=generator), torch.randn(64, generator=generator)
    return model.prefix(text, speaker, emotion)


@pytest.mark.parametrize("variant", list(Variant))
@pytest.mark.parametrize("cuts", [(1,), (7, 8), (3, 20, 21), tuple(range(1, 30))])
def test_any_chunking_gives_the_same_hidden_states(variant: Variant, cuts: tuple[int, ...]) -> None:
    model = random_gpt(variant)
    codes = torch.randint(0, 128, (30,), generator=torch.Generator().manual_seed(4))
    prefix = random_prefix(model, [9, 8, 7])
    unit, _ = model.begin(prefix, 30)
    whole = model.replay(codes, unit)
    unit, _ = model.begin(prefix, 30)
    pieces = []
    for start, stop in zip((0, *cuts), (*cuts, 30), strict=True):
        one_by_one = start % 2 == 1
        for piece in codes[start:stop].split(1 if one_by_one else stop - start):
            pieces.append(model.advance(piece, [unit]) if one_by_one else model.replay(piece, unit))
    assert_close(torch.cat(pieces), whole)


def test_batched_units_equal_single_ones() -> None:
    model = random_gpt(Variant.V25)
    prefixes = [random_prefix(model, list(range(n)), n) for n in (1, 4, 40)]
    begun = [model.begin(prefix, 12) for prefix in prefixes]
    units = [unit for unit, _ in begun]
    model.replay(torch.tensor([5, 6, 7]), units[1])  # units may be at different positions
    together = [model.advance(torch.tensor([n, n + 1, n + 2]), units) for n in range(5)]
    for row, prefix in enumerate(prefixes):
        unit, _ = model.begin(prefix, 12)
        if row == 1:
            model.replay(torch.tensor([5, 6, 7]), unit)
        alone = [model.advance(torch.tensor([n + row]), [unit])[0] for n in range(5)]
        assert_close(torch.stack([rows[row] for rows in together]), torch.stack(alone), CLOSE)


def test_ids_of_the_marks_are_ordinary_text() -> None:
    """In 2.5 the ids of the start and stop marks are also those of "!" and a quotation mark."""
    model = random_gpt(Variant.V25)
    with_mark, without = random_prefix(model, [4, 0, 5]), random_prefix(model, [4, 5])
    assert len(with_mark) == len(without) + 1
    assert torch.equal(random_prefix(model, [4, 1, 5])[:8], with_mark[:8])  # 5 + 2 rows, then the mark and 4
    row = model.prefix([0, 0], torch.zeros(1, 64), torch.zeros(64))
    assert not torch.equal(row[4], row[5])  # the same id at two positions


def test_rows_before_the_text() -> None:
    two, newer = random_gpt(Variant.V2), random_gpt(Variant.V25)
    tensors = untrained_gpt(tiny_config(Variant.V2), 3)
    assert tensors["speed_emb.weight"].shape == (2, 48)
    speaker, emotion = torch.randn(5, 64), torch.randn(64)
    prefix = two.prefix([3], speaker, emotion)
    assert prefix.shape == (5 + 2 + 3, 64)
    assert torch.equal(prefix[:5], speaker + emotion)
    assert prefix[5:7].abs().min() > 0 and not torch.equal(prefix[5], prefix[6])
    prefix = newer.prefix([3], speaker[:1], emotion, language=7)
    assert prefix.shape == (1 + 2 + 3, 64) and not prefix[1:3].any()
    assert not torch.equal(prefix[3:], newer.prefix([3], speaker[:1], emotion, language=8)[3:])


def test_upstream_positions_change_codes_but_not_the_start() -> None:
    trained, upstream = random_gpt(Variant.V25), random_gpt(Variant.V25, upstream_positions=True)
    prefix = random_prefix(trained, [1, 2])
    (unit, first), (other, same) = trained.begin(prefix, 9), upstream.begin(prefix, 9)
    assert torch.equal(first, same)
    code = torch.tensor([11])
    assert (trained.advance(code, [unit]) - upstream.advance(code, [other])).abs().max() > 1e-3
    assert upstream.max_codes() == trained.max_codes() - 1 == 81


def test_random_weights_never_stop() -> None:
    model = random_gpt(Variant.V25)
    codes = greedy(model, [random_prefix(model, [1, 2, 3])], 40)[0]
    assert model.config.stop_code not in codes and len(set(codes)) > 3
