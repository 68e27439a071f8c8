"""Evaluation reports: metrics of a checkpoint as JSON, Markdown table and plot."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intone.server.domain import Samples
from training import plot

REPORT_FILE = "report.json"

HEADINGS = {
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
    "characters_per_s": "characters/s",
    "length_ratio_least": "min length / teacher",
    "length_ratio_most": "max length / teacher",
    "cut": "cut at limit",
    "random_early_stops": "random words: early stops",
    "random_runaways": "random words: runaways",
    "rtf": "RTF",
    "first_ms": "TTFA ms",
    "off_whole": "max streaming error",
}
"""Metric in the JSON → heading of its column in the table."""
PERCENT = ("wer", "cer", "ser", "per")


@dataclass(frozen=True, slots=True)
class Rendered:
    """Speech of an engine for some texts, and its timing; each list has one entry per text.

    Attributes:
        audio: `[T]` samples at `rate_hz`.
        cut: whether the length limit ended the speech.
        first_ms: time to first audio (TTFA).
        elapsed_s: total synthesis time.
        off_whole: maximum absolute difference between the streamed audio and one decode of all patches; of the first
            texts only.
    """

    rate_hz: int
    audio: list[Samples] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    elapsed_s: list[float] = field(default_factory=list)
    off_whole: list[float] = field(default_factory=list)

    @property
    def lengths_s(self) -> list[float]:
        """Duration of each audio."""
        return [len(samples) / self.rate_hz for samples in self.audio]

    def figures(self) -> dict[str, float]:
        """Speed and length, over all texts; `first_ms` is the median TTFA."""
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
    """Write `report.json`, `report.md` and, if settings were compared and matplotlib is installed, `report.png`.

    Args:
        results: metrics, one mapping per setting.
        facts: what was evaluated and how; the commit is added.

    Returns the Markdown table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = {**facts, "commit": _commit()}
    (folder / REPORT_FILE).write_text(json.dumps({**about, "results": list(results)}, indent=1), encoding="utf-8")
    text = table(results)
    missing = sorted({name for result in results for name in result.get("missing", ())})
    if missing:
        text += f"\nJudges not installed, metrics left out: {', '.join(missing)}.\n"
    conditions = "".join(f"- {name}: {value}\n" for name, value in about.items())
    (folder / "report.md").write_text(f"{text}\n{conditions}", encoding="utf-8")
    plot.draw(folder / "report.png", results)
    return text


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The results as a Markdown table; a missing metric is a dash."""
    columns = [name for name in HEADINGS if any(result.get(name) is not None for result in results)]
    head = f"| | {' | '.join(HEADINGS[name] for name in columns)} |\n|---|{'---:|' * len(columns)}\n"
    rows = [f"| {r['name']} | {' | '.join(_formatted(name, r.get(name)) for name in columns)} |\n" for r in results]
    return head + "".join(rows)


def _formatted(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if name in PERCENT else f"{value:.3g}"


def _commit() -> str:
    """Abbreviated commit of the working tree; empty outside a repository."""
    try:
        result = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()
