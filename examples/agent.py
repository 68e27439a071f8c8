"""A voice agent: a model's tokens are spoken as they are written, and you may interrupt.

    python examples/agent.py                       # type a line and press Enter; type another one to interrupt
    python examples/agent.py --out agent.wav       # without a sound device: what it says, in real time, into a file

It needs a running `intone-server` and, without --out, `pip install 'intone[play]'`. Put your model into `tokens`.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from intone.client import (
    AsyncConversation,
    AsyncSpeechClient,
    AsyncUtterance,
    AudioPosition,
    Format,
    PlaybackBuffer,
    Player,
    WavWriter,
    report_playback,
)

TOKEN_S = 0.03
"""Time between two tokens of the stand-in for a model."""


async def tokens(history: list[dict[str, str]]) -> AsyncIterator[str]:
    """Stand-in for your language model: yields the answer to the last message, token by token.

    With an OpenAI-compatible client, for instance:
    `async for part in await llm.chat.completions.create(model=..., messages=history, stream=True):
    yield part.choices[0].delta.content or ""`.
    """
    asked, turn = history[-1]["content"], sum(message["role"] == "user" for message in history)
    answer = (
        f"You said: {asked.rstrip('.!?')}. This is answer number {turn}. It goes on for a while, so that there is time "
        "to interrupt it. Type a line and press Enter whenever you have heard enough."
    )
    for word in answer.split():
        await asyncio.sleep(TOKEN_S)
        yield word + " "


class FileSpeaker:
    """Takes the place of `Player` where there is no sound device: writes what would be heard, as it sounds."""

    def __init__(self, path: Path, audio_format: Format) -> None:
        self._format, self._file, self.buffer = audio_format, WavWriter(path, audio_format), PlaybackBuffer()
        self._task = asyncio.create_task(self._play())

    def write(self, turn: AsyncUtterance, pcm: bytes) -> None:
        self.buffer.write(turn.id, self._format.decode(pcm))

    def drop(self) -> None:
        self.buffer.drop()

    @property
    def position(self) -> AudioPosition | None:
        return self.buffer.position

    def close(self) -> None:
        self._task.cancel()
        self._file.close()

    async def _play(self) -> None:
        frame = self._format.sample_rate_hz // 50
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in range(1, sys.maxsize):
            samples = self.buffer.take(frame)
            self._file.write((samples * 32767).astype("<i2").tobytes())
            await asyncio.sleep(begin + number / 50 - loop.time())


@contextlib.contextmanager
def speaker(path: Path | None, audio_format: Format) -> Iterator[Player | FileSpeaker]:
    """The sound device, or a file."""
    sound = FileSpeaker(path, audio_format) if path else Player(audio_format)
    try:
        yield sound
    finally:
        sound.close()


async def lines() -> AsyncIterator[str]:
    """What is typed, line by line, until the end of standard input."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip():
            yield line.strip()


async def answer(talk: AsyncConversation, sound: Player | FileSpeaker, history: list[dict[str, str]]) -> None:
    """Speak the model's answer, and keep in the history what was heard of it."""
    turn = talk.utterance().speak(tokens(history))
    try:
        async for pcm in turn.audio():
            sound.write(turn, pcm)
        while not sound.buffer.empty:  # noqa: ASYNC110 (played by another thread)
            await asyncio.sleep(0.02)
        heard = turn.speech.text
    except asyncio.CancelledError:  # the caller speaks: silence first, then tell the server where it stopped
        sound.drop()
        cut = await turn.interrupt(sound.position)
        heard = cut.heard_text if cut else turn.speech.text
        print(f"(interrupted after: {heard.strip() or 'nothing'})", flush=True)
    history.append({"role": "assistant", "content": heard})


async def main() -> None:
    """Talk until the end of standard input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="WAV file to write instead of playing")
    arguments = parser.parse_args()
    history: list[dict[str, str]] = []
    async with AsyncSpeechClient() as client, client.conversation(language="en") as talk:
        with speaker(arguments.out, talk.configured.format) as sound:
            async with report_playback(talk, lambda: sound.position):
                speaking: asyncio.Task[None] | None = None
                async for line in lines():
                    if speaking is not None:
                        speaking.cancel()
                        await asyncio.wait({speaking})
                    history.append({"role": "user", "content": line})
                    speaking = asyncio.create_task(answer(talk, sound, history))
                if speaking is not None:
                    await speaking
    for message in history:
        print(f"{message['role']}: {message['content'].strip()}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
