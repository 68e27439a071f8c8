"""What the client of one stream may do wrong before the stream ends."""

from intone.server.errors import CallerError, IntoneError, OverloadError, Reason
from intone.server.settings import StreamLimits


class MessageLimits:
    """Counts messages that could not be decoded, and flushes that are not answered yet."""

    def __init__(self, limits: StreamLimits) -> None:
        self._limits = limits
        self.malformed_count = 0
        self.flush_count = 0

    def broken(self, urgent_count: int) -> IntoneError | None:
        """Why the stream has to end; None if it has not to. `urgent_count`: answers that wait for the client."""
        limits, waiting = self._limits, max(urgent_count, self.flush_count)
        if self.malformed_count > limits.max_malformed_messages:
            message = (
                f"{self.malformed_count} messages could not be decoded; {limits.max_malformed_messages} are answered"
            )
            message += " (max_malformed_messages): use the stubs of intone.v1"
            return CallerError("", message, Reason.MESSAGE_MALFORMED, limit=limits.max_malformed_messages)
        if waiting > limits.max_waiting_answers:
            message = f"{waiting} answers wait for the client, more than {limits.max_waiting_answers}"
            message += " (max_waiting_answers): read what comes, and send less until it has come"
            return OverloadError(message, 1.0, Reason.ANSWERS_UNREAD, limits.max_waiting_answers)
        return None
