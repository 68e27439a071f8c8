"""Build and packaging of the distribution `intone`.

Three things are unusual:

- `proto/`, `server/` and `client/` are installed as `intone.proto`, `intone.server` and `intone.client`, so that no
  package named "server" is published. `intone` itself is `package/`. The generated stubs import each other as
  `intone.v1`, which is `proto/intone/v1`.
- The extension is compiled against the installed torch. torch cannot be a build requirement: pip would install the
  newest one, with gigabytes of CUDA, into an isolated build environment. Always use
  `pip install --no-build-isolation`.
- Without torch the extension is not built; a client needs neither.
"""

import os
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
os.chdir(ROOT)

FOLDERS = {
    "package": "intone",
    "proto": "intone.proto",
    "server": "intone.server",
    "client": "intone.client",
    "proto/intone/v1": "intone.v1",
}

CLIENT = [
    "grpcio>=1.80",  # what the stubs were generated for
    "protobuf>=6.31.1,<8",  # the stubs' own stamp; 8 is not out
    "googleapis-common-protos>=1.70",
    "grpcio-status>=1.80",
    "numpy>=1.26",
    "rich>=13",
    "tomli>=2; python_version < '3.11'",  # scripts of `intone chat`
]
EXTRAS = {
    "server": [
        "torch>=2.11,<2.14",  # the range this was built and tested with
        "ninja",
        "grpcio-health-checking>=1.80",
        "grpcio-reflection>=1.80",
        "soundfile>=0.13",
        "soxr>=1.0",
        "sentencex>=1.0.32",
        "safetensors>=0.5",
        "tokenizers>=0.21",
        "tiktoken>=0.9",  # text of IndexTTS-2.5
        "sentencepiece>=0.2.1",  # text of IndexTTS-2
        "pyyaml>=6",  # the settings of an IndexTTS checkpoint
        "huggingface_hub>=1.0",  # checkpoints by name; 1.0 tells sizes before a download
        "prometheus-client>=0.21",
        "tomli>=2; python_version < '3.11'",
    ],
    "starter": ["hibari-tts[fast]==0.2.1"],  # one author, one file format: pinned so that the voice stays the same
    "mandarin": ["misaki[zh]==0.9.4"],  # the sounds of Chinese text, for checkpoints that read sounds
    "m4a": ["av>=14,<19"],  # recordings of phones; its wheels hold FFmpeg, with parts under the GPL
    "qwen": ["transformers>=4.57", "jinja2>=3.1"],  # the IndexTTS emotion model, and its chat template
    "otel": ["opentelemetry-sdk>=1.30,<2", "opentelemetry-exporter-otlp-proto-grpc>=1.30,<2"],  # traces of calls
    "play": ["miniaudio>=1.61"],
    "plot": ["matplotlib>=3.9"],
    "training": ["onnx>=1.17", "onnxruntime>=1.20", "scipy>=1.11", "tqdm>=4.66"],  # beside starter
    "test": [
        "pytest>=8.3",
        "pytest-xdist>=3.6",
        "hypothesis>=6.120",
        "ruff==0.14.5",
        "mypy==1.18.2",
        "import-linter==2.17; python_version >= '3.11'",
        "pre-commit>=4",
        "av>=14,<19",  # of m4a
        "clang-format==21.1.5",
        "buf-bin==1.75.0",
        "promql-parser>=0.5,<1",  # expressions of the dashboard and alerts in deploy/
        "onnx>=1.17",  # of training's teacher
        "websockets>=13",  # of examples/phone.py
        "hama==1.7.0",  # phoneme recognizer: 23 MB, needs only numpy
        # Imported by the official package `voxcpm`, which tests/oracles/voxcpm.txt installs without its dependencies.
        "einops>=0.8",
        "pydantic>=2.10",
        "tqdm>=4.66",
        "huggingface_hub>=0.27",
    ],
}


def packages() -> dict[str, str]:
    """Package name → folder, for every folder with an `__init__.py` below the mapped ones."""
    found: dict[str, str] = {}
    for folder, package in FOLDERS.items():
        for init in sorted((ROOT / folder).rglob("__init__.py")):
            inner = init.parent.relative_to(ROOT / folder)
            if folder == "proto" and inner.parts:
                continue  # proto/intone/v1 has its own name
            found[".".join((package, *inner.parts))] = str(init.parent.relative_to(ROOT))
    return found


def extension() -> dict[str, object]:
    """The C++ extension, if torch is installed; with the CUDA kernels if torch has CUDA and there is an nvcc."""
    try:
        from torch import cuda as gpus
        from torch import version
        from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension
    except ImportError:
        print("torch is not installed: building without the server's extension", file=sys.stderr)
        return {}
    sys.path.insert(0, str(ROOT / "server" / "ops"))
    try:
        import build_flags as build
    finally:
        sys.path.pop(0)
    toolkit = build.nvcc_release(CUDA_HOME)
    cuda = build.wants_cuda(version.cuda, toolkit, os.environ.get("INTONE_CUDA", ""))
    if cuda and not gpus.is_available():
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", build.cuda_architectures(toolkit))
    files = [str(path.relative_to(ROOT)) for path in build.sources(ROOT / "csrc", cuda)]
    sanitizer = os.environ.get("INTONE_SANITIZE", "")
    flags = build.SANITIZERS[sanitizer] if sanitizer else []
    if sanitizer == "thread":
        files.append("tests/native/sanitize/openmp_threads.cpp")
    module = (CUDAExtension if cuda else CppExtension)(
        "intone.server.ops._C",
        files,
        include_dirs=[str(ROOT / "csrc")],
        extra_compile_args={"cxx": build.CXX_FLAGS + flags, "nvcc": build.NVCC_FLAGS},
        extra_link_args=build.LINK_FLAGS + flags,
    )
    return {"ext_modules": [module], "cmdclass": {"build_ext": BuildExtension.with_options(use_ninja=True)}}


PACKAGES = packages()

setup(
    packages=list(PACKAGES),
    package_dir=PACKAGES,
    include_package_data=False,
    package_data={
        "intone.v1": ["*.proto", "*.pyi", "py.typed"],
        "intone.server": ["py.typed"],
        "intone.server.emotion": ["data/*.tsv"],
        "intone.server.text.normalization": ["data/*"],
        "intone.server.text.pronunciation": ["data/*"],
        "intone.server.text.cues": ["data/*"],
        "intone.server.ops": ["*.pyi"],
        "intone.server.engines.voxcpm": ["nano/*"],  # a voice, once one is trained
        "intone.client": ["py.typed"],
    },
    install_requires=CLIENT,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["intone-server = intone.server.__main__:main", "intone = intone.__main__:main"]},
    **extension(),
)
