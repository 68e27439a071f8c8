"""What engines say about their device, and that a GPU without kernels is refused."""

import pytest
import torch

from intone.server import ops
from intone.server.engines import common
from intone.server.engines.common import describe_device
from intone.server.errors import ExtensionError

CUDA = torch.device("cuda:1")


def test_a_device_is_described_with_precision_graphs_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "reserved_bytes", {CUDA: 3_140_000_000}.__getitem__)
    assert describe_device(CUDA, "bf16", 54) == "cuda:1, bf16, 54 graphs, 3.1 GB"
    assert describe_device(CUDA, "fp16", 0) == "cuda:1, fp16, no graphs, 3.1 GB"
    assert describe_device(torch.device("cpu"), "int8") == f"cpu, {torch.get_num_threads()} threads, int8"


def test_an_extension_without_cuda_kernels_is_refused_on_a_gpu() -> None:
    """As the one is that was built here, without a CUDA build of torch."""
    ops.ensure_built_for("cpu")
    if torch.version.cuda is not None:
        pytest.skip("the extension may have been built with kernels")
    with pytest.raises(ExtensionError, match="without CUDA kernels for snake, add_rms_norm.*snake_beta.*device to cpu"):
        ops.ensure_built_for("cuda:0")
