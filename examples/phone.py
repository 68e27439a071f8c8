"""A telephone bridge: a carrier's media stream, in 8 kHz mu-law frames of 20 ms, to and from an intone server.

    pip install websockets
    python examples/phone.py --port 8080          # then let your carrier open its media stream at ws://HOST:8080

Speaks the messages that carriers such as Twilio use for media streams. To the carrier: `media` (a frame of audio),
`mark` (a name that comes back when the audio before it has been played) and `clear` (forget what has not been played).
From the carrier: `start`, `media` (the caller's audio), `mark` and `stop`. It needs a running `intone-server`.
"""

import argparse
import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve

from intone.client import (
    AsyncConversation,
    AsyncSpeechClient,
    AsyncUtterance,
    AudioPosition,
    Format,
    SpeechSettings,
    StreamSettings,
)

LINE = Format("mulaw", 8000)
SETTINGS = StreamSettings(
    encoding="mulaw",
    sample_rate_hz=8000,
    chunk_ms=20,
    max_lead_ms=1000,  # the line keeps at most this much to forget at an interruption
    defaults=SpeechSettings(language="en"),
)
MARK_EVERY = 10
"""Frames between two marks: the server learns every 200 ms how far the line has played."""

SPEECH_LEVEL, SPEECH_FRAMES = 0.02, 5
"""The caller speaks when so many frames in a row are louder than this, 0 to 1. Better: a voice activity detector."""

GREETING = "Hello, this is the hotel. Breakfast is from seven to ten, and on Sundays until eleven. How can I help you?"


async def reply(heard: str) -> AsyncIterator[str]:
    """Stand-in for speech recognition and a language model: the answer to a caller who interrupted, word by word."""
    for word in f"Sorry, go ahead. You heard me say: {heard.strip() or 'nothing yet'}.".split():
        yield word + " "


class Call:
    """One call: speaks to the line, and stops when the caller does speak."""

    def __init__(self, line: ServerConnection, stream_id: str, talk: AsyncConversation) -> None:
        self._line, self._stream_id, self._talk = line, stream_id, talk
        self._turn: AsyncUtterance | None = None
        self._speaking: asyncio.Task[None] | None = None
        self._played: AudioPosition | None = None
        self._loud_frames = 0

    def say(self, text: str | AsyncIterator[str]) -> None:
        """Speak a text, whole or word by word."""
        self._turn = self._talk.utterance().speak(text)
        self._speaking = asyncio.create_task(self._send_audio(self._turn))

    async def take(self, message: dict[str, Any]) -> None:
        """Take a message from the carrier."""
        if message["event"] == "mark":
            utterance, _, sample = message["mark"]["name"].partition(":")
            self._played = AudioPosition(utterance, int(sample))
            await self._talk.report_playback(self._played)
        elif message["event"] == "media":
            samples = LINE.decode(base64.b64decode(message["media"]["payload"]))
            self._loud_frames = self._loud_frames + 1 if np.abs(samples).mean() > SPEECH_LEVEL else 0
            if self._loud_frames == SPEECH_FRAMES and self._turn is not None:
                await self._stop_speaking()

    async def _stop_speaking(self) -> None:
        """The caller interrupts: silence on the line first, then tell the server, then answer."""
        turn, self._turn = self._turn, None
        assert turn is not None and self._speaking is not None
        self._speaking.cancel()
        await self._send("clear")
        cut = await turn.interrupt(self._played if self._played and self._played.utterance_id == turn.id else None)
        if cut is not None:
            self.say(reply(cut.heard_text))

    async def _send_audio(self, turn: AsyncUtterance) -> None:
        """Each chunk is one frame, as the stream was opened with `chunk_ms=20`. The server paces them by the marks."""
        sample = 0
        async for frame in turn.audio():
            await self._send("media", media={"payload": base64.b64encode(frame).decode()})
            sample += len(frame)
            if sample // len(frame) % MARK_EVERY == 0:
                await self._send("mark", mark={"name": f"{turn.id}:{sample}"})
        await self._send("mark", mark={"name": f"{turn.id}:{sample}"})

    async def _send(self, event: str, **content: Any) -> None:
        await self._line.send(json.dumps({"event": event, "streamSid": self._stream_id, **content}))


async def bridge(line: ServerConnection, client: AsyncSpeechClient) -> None:
    """Handle one call until the carrier ends it."""
    call: Call | None = None
    async with contextlib.AsyncExitStack() as stack:
        async for text in line:
            message = json.loads(text)
            if message["event"] == "start":
                talk = await stack.enter_async_context(client.conversation(SETTINGS))
                call = Call(line, message["start"]["streamSid"], talk)
                call.say(GREETING)
            elif message["event"] == "stop":
                return
            elif call is not None:
                await call.take(message)


async def main() -> None:
    """Serve calls until the process is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (default: 8080)")
    arguments = parser.parse_args()
    async with (
        AsyncSpeechClient() as client,
        serve(lambda line: bridge(line, client), "127.0.0.1", arguments.port) as server,
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"waiting for calls on ws://127.0.0.1:{port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
