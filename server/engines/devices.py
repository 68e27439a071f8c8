"""Whether a device can be used with the torch that is installed."""

import torch


def cuda_fault(device: str) -> str:
    """Why "cuda" or "cuda:N" cannot be used here, and what to do about it; empty where it can."""
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} was built without CUDA: install a CUDA build of torch "
            "(https://pytorch.org/get-started), then build intone against it again"
        )
    if not torch.cuda.is_available():
        return "torch finds no usable GPU: `nvidia-smi` shows whether the driver does"
    count = torch.cuda.device_count()
    if torch.device(device).index is not None and torch.device(device).index >= count:
        return f"there is no such GPU: {count} found, cuda:0 to cuda:{count - 1}"
    return ""
