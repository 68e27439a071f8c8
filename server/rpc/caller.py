"""Who makes a call: the principal that authentication found, readable anywhere in the handling of the call."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum

from intone.server.call_context import current_call


class Role(Enum):
    """What a principal may do. Each value is its name in the tokens file."""

    SPEAK = "speak"
    """Synthesize speech with the voices that it sees."""
    MANAGE = "manage"
    """Create voices, and change and delete those that it created."""
    ADMIN = "admin"
    """Everything, with every voice."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody whom the server knows by a token or a client certificate.

    Attributes:
        name: for logs, limits and the ownership of voices; empty for callers that need not authenticate.
        roles: what it may do.
    """

    name: str = ""
    roles: frozenset[Role] = field(default_factory=frozenset)

    def may(self, role: Role) -> bool:
        """Whether it has the role; an admin has all."""
        return role in self.roles or Role.ADMIN in self.roles


NOBODY = Principal()
"""Callers that did not authenticate, of methods that are open to all (health), and code that runs outside a call."""

ANYBODY = Principal(roles=frozenset(Role))
"""Every caller of a server that asks for no authentication."""

_principal: ContextVar[Principal] = ContextVar("principal", default=NOBODY)


def principal() -> Principal:
    """The principal of the present call; `NOBODY` outside a call.

    Tasks that a handler starts, and `asyncio.to_thread`, see it as well; `loop.run_in_executor` does not pass it on.
    """
    return _principal.get()


def set_principal(found: Principal) -> None:
    """Set the principal for the rest of the present call, and its name for the log. An interceptor may do it: gRPC
    handles each call in a task of its own, and calls the handler in the same context."""
    _principal.set(found)
    if (call := current_call()) is not None:
        call.principal = found.name
