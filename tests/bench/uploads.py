"""First sound of VoxCPM nano while recordings are uploaded and prepared as voices, beside that of a server at rest.

    python tests/bench/uploads.py [--uploads 4] [--seconds 10] [--calls 30] [--anyway]

The engine has random weights, since the packaged voice cannot clone others, and a process of its own. Each call speaks
a sentence up to its first audio. Refuses to run on a busy machine.
"""

import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from conditions import command_line, conditions, refuse_if_busy

from intone.client import AsyncSpeechClient
from intone.server.app import serving
from intone.server.config import Config

SETTINGS = {
    "voxcpm": "nano",
    "random_weights": True,
    "starter": False,
    "default_engine": "voxcpm",
    "fillers": False,
    "match_loudness": False,
    "max_uploads_per_caller": 1000,
    "max_uploads": 1000,
}
TEXT = "Hello there, how are you today?"
RATE_HZ = 16_000


async def first_sound_ms(client: AsyncSpeechClient) -> float:
    """Time to the first audio of a sentence, whose rest is not spoken."""
    began_s = time.perf_counter()
    stream = client.stream([TEXT], voice="default")
    await anext(stream)
    took_ms = 1000 * (time.perf_counter() - began_s)
    await stream.aclose()
    return took_ms


def described(name: str, took_ms: list[float]) -> str:
    """A line of the result."""
    middle, high, worst = np.percentile(took_ms, (50, 90, 100))
    return f"{name:<26} {len(took_ms):>4} calls   p50 {middle:6.0f} ms   p90 {high:6.0f} ms   worst {worst:6.0f} ms"


async def measure(uploads: int, seconds: float, calls: int) -> None:
    """Print both distributions, and how long the uploads took."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.wav"
        noise = 0.1 * np.random.default_rng(1).standard_normal(int(seconds * RATE_HZ))
        soundfile.write(recording, noise.clip(-1, 1), RATE_HZ)
        async with serving(Config.of(port=0, **SETTINGS)) as app, AsyncSpeechClient(f"127.0.0.1:{app.port}") as client:
            await first_sound_ms(client)
            print(described("at rest", [await first_sound_ms(client) for _ in range(calls)]))
            words = "Some words of it. " * max(1, round(seconds / 2))
            began_s = time.perf_counter()
            making = [
                asyncio.ensure_future(client.voices.create(recording, f"v{number}", transcript=words[:900]))
                for number in range(uploads)
            ]
            beside: list[float] = []
            while not all(task.done() for task in making):
                beside.append(await first_sound_ms(client))
            await asyncio.gather(*making)
            took_s = time.perf_counter() - began_s
            print(described(f"beside {uploads} uploads of {seconds:g} s", beside))
            print(f"the uploads took {took_s:.1f} s")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--uploads", type=int, default=4, help="recordings at once")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each")
    parser.add_argument("--calls", type=int, default=30, help="of the server at rest")
    given = parser.parse_args()
    busy = refuse_if_busy(given.anyway)
    asyncio.run(measure(given.uploads, given.seconds, given.calls))
    print(conditions(busy))


if __name__ == "__main__":
    main()
