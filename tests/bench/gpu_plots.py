"""Draws what a report of `gpu.py` has: latency by streams, stages beside their floors, operations beside a copy.

    python tests/bench/gpu_plots.py OUT        # draws OUT/*.png from OUT/report.json

A figure whose figures are missing is left out, so that any part of a report can be drawn.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = Sequence[Mapping[str, Any]]
DPI = 120
STAGES = ("lm ms", "diffusion ms", "vae ms")


def rows(report: Mapping[str, Any], step: str, table: str) -> Rows:
    """The rows of a table of a step; none where it has not been measured."""
    found: Rows = report["steps"].get(step, {}).get("figures", {}).get(table, [])
    return found


def latency(report: Mapping[str, Any], axes: Any) -> bool:
    """First sound by streams, both engines."""
    for name in ("voxcpm", "indextts"):
        for share in ("p50", "p95") if (found := rows(report, f"{name}_speed", "streams")) else ():
            streams, times = [row["streams"] for row in found], [row[f"first sound {share} ms"] for row in found]
            axes.plot(streams, times, "o-" if share == "p50" else "o--", label=f"{name}, {share}")
    axes.set(xlabel="streams that begin at once", ylabel="first sound, ms", xscale="log", yscale="log")
    return bool(axes.lines)


def real_time(report: Mapping[str, Any], axes: Any) -> bool:
    """Real-time factor by streams."""
    for name in ("voxcpm", "indextts"):
        if found := rows(report, f"{name}_speed", "streams"):
            axes.plot([row["streams"] for row in found], [row["RTF p95"] for row in found], "o-", label=name)
    drawn = bool(axes.lines)
    axes.axhline(1.0, color="gray", linewidth=0.8)
    axes.set(xlabel="streams that begin at once", ylabel="real-time factor, p95", xscale="log", yscale="log")
    return drawn


def stages(report: Mapping[str, Any], axes: Any) -> bool:
    """Stages of a patch of VoxCPM by streams, and their floor."""
    found, floors = (rows(report, "voxcpm_speed", table) for table in ("streams", "floors"))
    names, bottom = [str(row["streams"]) for row in found], [0.0] * len(found)
    for stage in STAGES:
        heights = [row.get(stage, 0.0) for row in found]
        axes.bar(names, heights, bottom=bottom, label=stage.removesuffix(" ms"))
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.plot([str(row["streams"]) for row in floors], [row["sum ms"] for row in floors], "k_", label="floor, no VAE")
    axes.set(xlabel="streams", ylabel="a patch, ms")
    return bool(found)


def operations(report: Mapping[str, Any], axes: Any) -> bool:
    """Bandwidth of each operation, as a share of a copy's."""
    figures = report["steps"].get("kernels", {}).get("figures", {})
    kinds = {name: table for name, table in figures.items() if isinstance(table, list)}
    labels = list(dict.fromkeys(f"{row['operation']} {row['shape']}" for table in kinds.values() for row in table))
    for index, (name, table) in enumerate(kinds.items()):
        shares = {f"{row['operation']} {row['shape']}": _share(row["of copy"]) for row in table}
        places = [at + 0.4 * index for at, label in enumerate(labels) if label in shares]
        widths = [shares[label] for label in labels if label in shares]
        axes.barh(places, widths, height=0.4, label=name.removeprefix("torch."))
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
    axes.invert_yaxis()
    axes.set(xlabel="bandwidth, share of a copy's")
    return bool(kinds)


def _share(text: str) -> float:
    """Of "85 %", 0.85; 0 where there is no number."""
    try:
        return float(text.removesuffix("%")) / 100
    except ValueError:
        return 0.0


FIGURES: dict[str, Callable[[Mapping[str, Any], Any], bool]] = {
    "latency": latency,
    "real_time": real_time,
    "stages": stages,
    "operations": operations,
}


def draw(report: Mapping[str, Any], out: Path) -> list[str]:
    """Write the figures that can be drawn; their names."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn = []
    for name, plot in FIGURES.items():
        figure, axes = pyplot.subplots(figsize=(8, 5), dpi=DPI, layout="constrained")
        if plot(report, axes):
            about = report["about"]
            title = f"{name.replace('_', ' ')}: {about['machine']}, commit {about['commit']}, {about['date']}"
            axes.set_title(title, fontsize=8)
            axes.legend(fontsize=8)
            figure.savefig(out / f"{name}.png")
            drawn.append(name)
        pyplot.close(figure)
    return drawn


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    print("drawn:", ", ".join(draw(json.loads((out / "report.json").read_text()), out)) or "nothing")


if __name__ == "__main__":
    main()
