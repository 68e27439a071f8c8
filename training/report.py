"""Figures of one measurement as a table and JSON. Knows neither the judges nor the engine."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intone.server.domain import Samples
from training import plot

REPORT_FILE = "report.json"

SHOWN = {
    "wer": "WER %",
    "cer": "CER %",
    "ser": "SER %",
    "per": "PER %",
    "mos": "MOS",
    "dnsmos": "DNSMOS",
    "likeness": "likeness",
    "f0_median_hz": "F0 Hz",
    "f0_range_semitones": "F0 range st",
    "rms_db": "level dB",
    "level_range_db": "level range dB",
    "characters_per_s": "letters/s",
    "length_ratio_least": "shortest",
    "length_ratio_most": "longest",
    "cut": "at cap",
    "random_early_stops": "random: early stops",
    "random_runaways": "runaways",
    "rtf": "RTF",
    "first_ms": "TTFA ms",
    "off_whole": "streamed - whole",
}
PERCENT = ("wer", "cer", "ser", "per")


@dataclass(frozen=True, slots=True)
class Rendered:
    """What an engine made of some texts, each with an entry in every list.

    Attributes:
        audio: all of it.
        cut: whether the length guard ended it.
        first_ms: from its start to its first audio.
        elapsed_s: from its start to its end.
        off_whole: how far the streamed sound is, at most, from one decode of the whole; of the first texts only.
    """

    rate_hz: int
    audio: list[Samples] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    elapsed_s: list[float] = field(default_factory=list)
    off_whole: list[float] = field(default_factory=list)

    @property
    def lengths_s(self) -> list[float]:
        """Of the audio of each."""
        return [len(samples) / self.rate_hz for samples in self.audio]

    def figures(self) -> dict[str, float]:
        """Of speed and length; TTFA is the median."""
        seconds = sum(self.lengths_s)
        first_ms = sorted(self.first_ms)
        return {
            "seconds": seconds,
            "rtf": sum(self.elapsed_s) / seconds,
            "first_ms": first_ms[len(first_ms) // 2],
            "first_ms_most": first_ms[-1],
            "cut": sum(self.cut),
            "off_whole": max(self.off_whole),
        }


def write_report(folder: Path, results: Sequence[Mapping[str, Any]], facts: Mapping[str, str]) -> str:
    """`report.json`, `report.md` and, where there is matplotlib and something to compare, `report.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {**facts, "commit": _commit()}
    (folder / REPORT_FILE).write_text(json.dumps({**about, "results": list(results)}, indent=1), encoding="utf-8")
    text = table(results)
    missing = sorted({name for result in results for name in result.get("missing", ())})
    if missing:
        text += f"\nJudges that are missing here, whose figures are left out: {', '.join(missing)}.\n"
    conditions = "".join(f"- {name}: {value}\n" for name, value in about.items())
    (folder / "report.md").write_text(f"{text}\n{conditions}", encoding="utf-8")
    plot.draw(folder / "report.png", results)
    return text


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """In Markdown; a figure that nobody took is a dash."""
    columns = [name for name in SHOWN if any(result.get(name) is not None for result in results)]
    head = f"| | {' | '.join(SHOWN[name] for name in columns)} |\n|---|{'---:|' * len(columns)}\n"
    rows = [f"| {r['name']} | {' | '.join(_shown(name, r.get(name)) for name in columns)} |\n" for r in results]
    return head + "".join(rows)


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if name in PERCENT else f"{value:.3g}"


def _commit() -> str:
    """Of the tree that this runs in; empty where there is none."""
    try:
        found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()
