"""Steps of `gpu.py`: how fast both engines are, alone and with many streams, beside what the machine allows."""

import statistics
import threading
from collections.abc import Sequence
from typing import Any

import torch
from conditions import module_of_tests as module_of_tests
from gpu_common import Given, Results, Spoken, noise, quantile, speak, synchronize
from gpu_floors import Ceilings, gpt_code, solve_step, voxcpm_patch

TEXT = "The ferry leaves at nine from pier four."  # 40 bytes, 40 tokens of the random tokenizer
SENTENCE = "Ten letter"  # of IndexTTS: its length is set by the options
SIZES = {"full": ("1.5", "2.5"), "nano": ("nano", "nano")}
STREAMS = {"full": (2, 4, 8, 16, 32, 64, 128, 256), "nano": (2,)}
INDEX_STREAMS = {"full": (2, 4, 8, 16, 32), "nano": (2,)}
PATCHES = {"full": 24, "nano": 3}
STEPS, GUIDANCE = 10, 2.0
FLOW_STEPS = {"full": 25, "nano": 2}
SENTENCE_MS = {"full": 2200, "nano": 800}
RUNS = {"full": 5, "nano": 1}
VOICE_S = 5.0


def voxcpm(given: Given, results: Results) -> None:
    """VoxCPM: first sound and milliseconds a patch at 1 to 256 streams, the stages, and the floor of each."""
    from intone.server.domain import SpeakRequest

    engine, patch_ms = _voxcpm(given, results)
    audio_ms = round(PATCHES[given.size] * patch_ms)
    options = _fixed_length(audio_ms, steps=STEPS, guidance=GUIDANCE)
    rate_hz, ceilings = engine.info.sample_rate_hz, Ceilings.measured(given.device)
    results["ceilings"] = ceilings.shown()
    for streams in (1, *STREAMS[given.size]):
        requests = [SpeakRequest(TEXT, seed=seed, options=options) for seed in range(streams)]
        speak(engine, requests)  # captures what this number needs
        runs = [speak(engine, requests) for _ in range(RUNS[given.size] if streams <= 8 else 2)]
        _add_row(results, runs, streams, rate_hz)
        results.add("floors", {"streams": streams, **voxcpm_patch(engine.model.config, streams, STEPS, ceilings)})
    results["memory_gb"] = _peak_gb(given.device)


def indextts(given: Given, results: Results) -> None:
    """IndexTTS: first sound, whole sentence, milliseconds a code and a solve, at 1 and more streams."""
    from intone.server.domain import SpeakRequest

    engine, voice = _indextts(given, results)
    options = _sentence_options(given)
    ceilings = Ceilings.measured(given.device)
    results["ceilings"] = ceilings.shown()

    def requests(count: int, whole: bool) -> list[Any]:
        return [SpeakRequest(SENTENCE, seed=n, options=options, voice=voice, whole=whole) for n in range(count)]

    for whole in (False, True):
        speak(engine, requests(1, whole))
        runs = [speak(engine, requests(1, whole)) for _ in range(RUNS[given.size])]
        _add_codes(results, runs, whole)
    results["floors"] = {
        "gpt ms/code": gpt_code(engine.config, ceilings),
        "flow step, 620 frames, ms": solve_step(engine.config, 620, ceilings),
    }
    for streams in INDEX_STREAMS[given.size]:
        speak(engine, requests(streams, False))
        _add_row(results, [speak(engine, requests(streams, False))], streams, engine.info.sample_rate_hz)
    results["memory_gb"] = _peak_gb(given.device)


def int8(given: Given, results: Results) -> None:
    """Both engines with int8 weights, one stream: milliseconds a patch and a code, beside their floors."""
    from intone.server.domain import SpeakRequest

    ceilings = Ceilings.measured(given.device).int8()
    engine, patch_ms = _voxcpm(given, results, dtype="int8")
    options = _fixed_length(round(PATCHES[given.size] * patch_ms), steps=STEPS, guidance=GUIDANCE)
    requests = [SpeakRequest(TEXT, seed=1, options=options)]
    speak(engine, requests)
    _add_row(results, [speak(engine, requests) for _ in range(RUNS[given.size])], 1, engine.info.sample_rate_hz)
    results["patch floor ms"] = voxcpm_patch(engine.model.config, 1, STEPS, ceilings)["sum ms"]
    other, voice = _indextts(given, results, dtype="int8")
    sentence = [SpeakRequest(SENTENCE, seed=1, options=_sentence_options(given), voice=voice)]
    speak(other, sentence)
    _add_codes(results, [speak(other, sentence) for _ in range(RUNS[given.size])], whole=False)
    results["code floor ms"] = gpt_code(other.config, ceilings)


def both(given: Given, results: Results) -> None:
    """Both engines on one device: 32 conversations, every fifth turn by IndexTTS; how long a listener waits."""
    from intone.server.domain import SpeakRequest

    plain, patch_ms = _voxcpm(given, results)
    strong, voice = _indextts(given, results)
    conversations = 32 if given.size == "full" else 3
    emotional = max(1, conversations // 5)
    audio_ms = round(PATCHES[given.size] * patch_ms)
    options = _fixed_length(audio_ms, steps=STEPS, guidance=GUIDANCE)
    flow = _sentence_options(given)
    jobs = {
        "voxcpm": (plain, [SpeakRequest(TEXT, seed=n, options=options) for n in range(conversations - emotional)]),
        "indextts": (strong, [SpeakRequest(SENTENCE, seed=n, options=flow, voice=voice) for n in range(emotional)]),
    }
    found: dict[str, Spoken] = {}
    for job in jobs.values():  # captures what these numbers of units need
        speak(*job)
    threads = [
        threading.Thread(target=lambda name=name, job=job: found.update({name: speak(*job)}))
        for name, job in jobs.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, spoken in found.items():
        rate_hz = jobs[name][0].info.sample_rate_hz
        waits = [unit.stall_ms(rate_hz) for unit in spoken.units]
        row = {"units": len(waits), "first sound p95 ms": quantile([u.ttfa_ms for u in spoken.units], 0.95)}
        results.add(
            "side by side", {"engine": name, **row, "underruns": sum(w > 0 for w in waits), "wait ms": max(waits)}
        )


def _voxcpm(given: Given, results: Results, dtype: str = "auto") -> tuple[Any, float]:
    from intone.server.engines.voxcpm.engine import VoxCPMEngine

    engine = VoxCPMEngine.random(SIZES[given.size][0], device=given.device, dtype=dtype, fixed_buffers=True)
    results["voxcpm"] = f"{engine.info.model}; {engine.info.device}"
    vae = engine.model.vae
    return engine, 1000 * engine.model.config.patch_frames * vae.hop_out_samples / engine.info.sample_rate_hz


def _indextts(given: Given, results: Results, dtype: str = "auto") -> tuple[Any, Any]:
    from intone.server.domain import Recording
    from intone.server.engines.indextts.engine import IndexTTSEngine
    from intone.server.engines.pieces import complete

    engine = IndexTTSEngine.random(SIZES[given.size][1], device=given.device, dtype=dtype, fixed_buffers=True)
    results["indextts"] = f"{engine.info.model}; {engine.info.device}"
    return engine, complete(engine.prepare_voice(Recording(noise(VOICE_S, 22050), 22050)))


def _sentence_options(given: Given) -> Any:
    return _fixed_length(SENTENCE_MS[given.size], steps=FLOW_STEPS[given.size])


def _fixed_length(audio_ms: float, **parameters: float) -> Any:
    """Options of a unit of this length."""
    from intone.server.domain import SynthesisOptions

    return SynthesisOptions(parameters={**parameters, "min_audio_ms": audio_ms, "max_audio_ms": audio_ms})


def _add_codes(results: Results, runs: Sequence[Spoken], whole: bool) -> None:
    """First sound, milliseconds a code and stages of one unit of IndexTTS."""
    codes = statistics.median(len(run.units[0].state.all_codes) for run in runs)
    gpt_ms = statistics.median(sum(stage.get("gpt_gen_time", 0.0) for stage in run.stages) for run in runs)
    row = {"whole": whole, "first sound ms": statistics.median(run.units[0].ttfa_ms for run in runs)}
    row |= {"codes": codes, "gpt ms/code": gpt_ms / max(codes, 1)}
    results.add("one stream", {**row, **_stages(runs)})


def _add_row(results: Results, runs: Sequence[Spoken], streams: int, rate_hz: int) -> None:
    """First sound, real-time factor, waits and stages of several units at once."""
    units = [unit for run in runs for unit in run.units]
    later = [step_ms for run in runs for step_ms in run.steps_ms[1:]]
    row = {
        "streams": streams,
        "first sound p50 ms": quantile([unit.ttfa_ms for unit in units], 0.5),
        "first sound p95 ms": quantile([unit.ttfa_ms for unit in units], 0.95),
        "step p50 ms": quantile(later, 0.5),
        "RTF p95": quantile([unit.rtf(rate_hz) for unit in units], 0.95),
        "wait p95 ms": quantile([unit.stall_ms(rate_hz) for unit in units], 0.95),
    }
    results.add("streams", {**row, **_stages(runs)})


def _stages(runs: Sequence[Spoken]) -> dict[str, float]:
    """Median milliseconds of each stage, of the steps that have it."""
    names = dict.fromkeys(name for run in runs for stage in run.stages for name in stage)
    return {
        f"{name} ms": statistics.median(stage[name] for run in runs for stage in run.stages if name in stage)
        for name in names
    }


def _peak_gb(device: str) -> float:
    synchronize(device)
    return torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else float("nan")
