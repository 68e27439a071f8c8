"""Runs the whole official IndexTTS-2.5 pipeline, from text and sound files to audio: `... CHECKPOINT JOBS RESULTS`,
or `... serve CHECKPOINT THREADS [DEVICE]` for benchmarks.

CHECKPOINT is a folder written by `indextts_official.py`, JOBS a JSON file with a list of texts to speak. The package is
unchanged except for three things: the flow's noise comes from the job, decoding is greedy, and a voice's own emotion is
computed from the same 16 kHz audio as its other features instead of a second resampling. Imports nothing of intone.
"""

import inspect
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

BANDS = 80
FEATURE_LAYER = 17
DEAD = ("input_pos", "skip_in_linear", "x_embedder", "cond_embedder", "content_mask_embedder", "num_batches_tracked")
DEAD_IN_REGULATOR = {"mask_token", "embedding.weight"}


def official(folder: Path, device: str = "cpu") -> Any:
    """The pipeline with the models of a folder."""
    from indextts25 import infer_v2_5

    w2v_layers = json.loads((folder / "w2v-bert-2.0" / "config.json").read_text("utf8"))["num_hidden_layers"]
    if w2v_layers < FEATURE_LAYER:
        infer_v2_5.Wav2Vec2BertModel = _shallow(infer_v2_5.Wav2Vec2BertModel, w2v_layers)
    infer_v2_5.ensure_models_available = lambda _: {
        "w2v_bert": str(folder / "w2v-bert-2.0"),
        "campplus": str(folder / "campplus" / "campplus_cn_common.bin"),
        "bigvgan": str(folder / "bigvgan_v2_22khz_80band_256x"),
    }
    infer_v2_5.librosa = _OneResampler(infer_v2_5.librosa, infer_v2_5.resample)
    load = nn.Module.load_state_dict
    nn.Module.load_state_dict = _filling(load)  # type: ignore[assignment, method-assign]
    try:
        return infer_v2_5.IndexTTS2(cfg_path=str(folder / "config.yaml"), model_dir=str(folder), device=device)
    finally:
        nn.Module.load_state_dict = load  # type: ignore[method-assign]


class _OneResampler:
    """Stands for librosa: `load` resamples as the package itself does."""

    def __init__(self, librosa: Any, resample: Callable[..., Tensor]) -> None:
        self._librosa, self._resample = librosa, resample

    def load(self, path: str, sr: int | None = 22050, **named: Any) -> Any:
        """Samples and their rate."""
        samples, rate_hz = self._librosa.load(path, sr=None, **named)
        if sr is not None and sr != rate_hz:
            samples, rate_hz = self._resample(torch.from_numpy(samples)[None], rate_hz, sr)[0].numpy(), sr
        return samples, rate_hz


def _shallow(model: Any, layers: int) -> Any:
    class Shallow(model):  # type: ignore[misc]
        """Its last layer stands for the seventeenth."""

        def __init__(self, config: Any) -> None:
            config.num_hidden_layers = layers
            super().__init__(config)

        def forward(self, *args: Any, **named: Any) -> Any:
            result = super().forward(*args, **named)
            result.hidden_states += (result.hidden_states[-1],) * (FEATURE_LAYER - layers)
            return result

    return Shallow


def _filling(load: Callable[..., Any]) -> Callable[..., Any]:
    """`load_state_dict` for files without the unused tensors."""

    def filled(module: nn.Module, tensors: dict[str, Tensor], *args: Any, **named: Any) -> Any:
        own = module.state_dict()
        missing = set(own) - set(tensors)
        needed = {name for name in missing if not any(part in name for part in DEAD)} - DEAD_IN_REGULATOR
        assert not needed, f"{type(module).__name__} needs {sorted(needed)}"
        return load(module, {**{name: own[name] for name in missing}, **tensors}, *args, **named)

    return filled


class Recorder:
    """Records inputs and outputs of the pipeline's modules, and their times."""

    def __init__(self, pipeline: Any) -> None:
        self.seen: dict[str, Tensor] = {}
        self.seconds: dict[str, float] = {}
        self.noise = torch.zeros(0, BANDS)
        self.prompt_frames = 0
        self.steps: int | None = None  # of the flow, where not the default
        flow = pipeline.s2mel.models["cfm"]
        pipeline.gpt.inference_speech = self._around("gpt_gen_time", pipeline.gpt.inference_speech, self._codes)
        pipeline.semantic_codec.decode = self._around("s2mel_time", pipeline.semantic_codec.decode)
        flow.inference = self._around("s2mel_time", self._stepping(flow.inference))
        pipeline.bigvgan.forward = self._around("bigvgan_time", pipeline.bigvgan.forward, self._sound)
        self._randn = torch.randn

    def randn(self, *shape: Any, **named: Any) -> Tensor:
        """Replaces `torch.randn`: the flow's noise after the recording's columns is that of the job."""
        size = tuple(shape[0]) if isinstance(shape[0], (list, tuple, torch.Size)) else shape
        noise = self._randn(size)
        if len(size) == 3 and size[1] == BANDS and len(self.noise):
            noise[0, :, self.prompt_frames :] = self.noise[: size[2] - self.prompt_frames].t()
        return noise

    def _around(self, stage: str, call: Callable[..., Any], keep: Callable[..., None] | None = None) -> Any:
        def timed(*args: Any, **named: Any) -> Any:
            began_s = time.perf_counter()
            result = call(*args, **named)
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began_s
            if keep:
                keep(result, *args, **named)
            return result

        return timed

    def _stepping(self, solve: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def stepped(*args: Any, **named: Any) -> Tensor:
            call = inspect.signature(solve).bind(*args, **named)
            call.arguments["n_timesteps"] = self.steps or call.arguments["n_timesteps"]
            return solve(*call.args, **call.kwargs)

        return stepped

    def _codes(self, result: Any, text: Tensor, *_: Any, **__: Any) -> None:
        codes = result[0] if isinstance(result, tuple) else result
        self.seen |= {"text": text[0], "codes": codes[0]}

    def _sound(self, result: Tensor, mel: Tensor, *_: Any, **__: Any) -> None:
        self.seen |= {"mel": mel[0], "sound": result.flatten()}


def speak(pipeline: Any, recorder: Recorder, job: dict[str, Any]) -> dict[str, Tensor]:
    """Speak one text."""
    recorder.seen, recorder.seconds = {}, {}
    recorder.noise, recorder.prompt_frames = load_file(job["noise"])["noise"], job["prompt_frames"]
    sampling = {"num_beams": 1, "top_k": 1, "max_mel_tokens": job["codes"], "text_normalization": False}
    torch.randn = recorder.randn  # type: ignore[assignment]
    try:
        with torch.inference_mode():
            for _ in pipeline.infer_generator(
                job["voice"], job["text"], None, job["language"], **sampling, **job["more"]
            ):
                pass
    finally:
        torch.randn = recorder._randn
    return recorder.seen


def main(folder: str, jobs: str, results: str) -> None:
    """See the module."""
    pipeline = official(Path(folder))
    recorder = Recorder(pipeline)
    found: dict[str, Tensor] = {}
    for job in json.loads(Path(jobs).read_text("utf8")):
        found |= {f"{job['name']}.{name}": tensor for name, tensor in speak(pipeline, recorder, job).items()}
    save_file({name: tensor.clone().contiguous() for name, tensor in found.items()}, results)


def serve(folder: str, threads: str, device: str = "cpu") -> None:
    """For benchmarks: speak each job read as a line of JSON, and answer with the times."""
    torch.set_num_threads(int(threads))
    pipeline = official(Path(folder), device)
    recorder = Recorder(pipeline)
    answers, sys.stdout = sys.stdout, sys.stderr  # the package prints
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        recorder.seen, recorder.seconds, recorder.steps = {}, {}, job["steps"]
        began_s = time.perf_counter()
        sampling = {"num_beams": job["beams"], "max_mel_tokens": job["codes"], "text_normalization": False}
        asked = job["voice"], job["text"], None, job["language"]
        stream = pipeline.infer_generator(*asked, stream_return=True, **sampling)
        first_s = None
        with torch.inference_mode():
            for _ in stream:
                first_s = first_s or time.perf_counter() - began_s
        found = {"first_s": first_s, "total_s": time.perf_counter() - began_s, "stages_s": recorder.seconds}
        print(json.dumps({**found, "samples": len(recorder.seen["sound"])}), file=answers, flush=True)


if __name__ == "__main__":
    serve(*sys.argv[2:]) if sys.argv[1] == "serve" else main(*sys.argv[1:])
