"""What was sent on a stream, for the calls that take the place of a lost one."""

from collections import deque

from intone.proto import speech_pb2

Request = speech_pb2.StreamSynthesizeRequest
Response = speech_pb2.StreamSynthesizeResponse

MAX_BYTES = 1 << 20
"""Of the last messages, which the server may not have received: more than is ever on its way."""

MAX_UNANSWERED_BYTES = 4 << 20
"""Of messages without an answer. With more of them, a call is not opened anew."""

_MESSAGE_BYTES = 64
"""What a message counts beside its bytes on the wire."""


class SentRequests:
    """The messages that were sent on a stream, as far as they may be needed again.

    A call that resumes the stream needs the last ones. A new stream, before the first audio, needs all that were not
    answered.

    Args:
        config: the first message.
    """

    def __init__(self, config: Request) -> None:
        self._unanswered: list[Request] | None = [config]
        self._unanswered_bytes = _size(config)
        self._last: deque[Request] = deque()
        self._last_bytes = 0
        self._count = 0
        self._asking: dict[int, Request] = {}
        self._record(config)

    @property
    def can_restart(self) -> bool:
        """Whether nothing has sounded, so that a new stream may take the place of this one."""
        return self._unanswered is not None

    def add(self, request: Request) -> None:
        """A message is sent, or is to be sent on the next call."""
        if self._unanswered is not None:
            self._unanswered.append(request)
            self._unanswered_bytes += _size(request)
            if self._unanswered_bytes > MAX_UNANSWERED_BYTES:
                self._unanswered = None
        self._record(request)

    def answered(self, response: Response) -> None:
        """Forget what `response` completes: a new stream must not get it again."""
        if self._unanswered is None:
            return
        kind = response.WhichOneof("response")
        if kind == "audio":
            self._unanswered = None
        elif kind in ("done", "flushed", "interrupted"):
            self._unanswered = [request for request in self._unanswered if not _answers(response, request)]
            self._unanswered_bytes = sum(map(_size, self._unanswered))

    def restart(self) -> list[Request]:
        """The messages of a new stream: all that were not answered."""
        requests = list(self._unanswered or ())
        self._last.clear()
        self._asking.clear()
        self._count = self._last_bytes = 0
        for request in requests:
            self._record(request)
        return requests

    def since(self, count: int) -> list[Request] | None:
        """The messages of this stream from number `count` on; None if they are no longer kept, or were never sent."""
        oldest = self._count - len(self._last)
        return list(self._last)[count - oldest :] if oldest <= count <= self._count else None

    def asking(self, index: int) -> Request | None:
        """The flush or interrupt that was message number `index` of this stream."""
        return self._asking.get(index)

    def _record(self, request: Request) -> None:
        if request.WhichOneof("request") in ("flush", "interrupt"):
            self._asking[self._count] = request
            if len(self._asking) > 100:  # refusals come at once
                del self._asking[next(iter(self._asking))]
        self._last.append(request)
        self._last_bytes += _size(request)
        self._count += 1
        while self._last_bytes > MAX_BYTES and len(self._last) > 1:
            self._last_bytes -= _size(self._last.popleft())


def _size(request: Request) -> int:
    return _MESSAGE_BYTES + int(request.ByteSize())


def _answers(response: Response, request: Request) -> bool:
    match response.WhichOneof("response"), request.WhichOneof("request"):
        case "done", ("start" | "text") as kind:
            return bool(getattr(request, kind).utterance_id == response.done.utterance_id)
        case "interrupted", "interrupt":
            return bool(request.interrupt.interrupt_id == response.interrupted.interrupt_id)
        case "flushed", "flush":
            return bool(request.flush.flush_id == response.flushed.flush_id)
    return False
