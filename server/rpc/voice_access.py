"""Whose voices are whose: who sees a voice, who may change it, and to whom a new one belongs.

A voice belongs to the principal that created it, who alone sees it and changes it, besides admins. Its owner may share
it with others, who then see it and speak with it, and change nothing. What an admin creates belongs to nobody:
everybody speaks with it, and only admins change it. So it is with the built-in voice, with voices of servers without
authentication, and with files that name no owner.
"""

from collections.abc import Callable

from intone.server.domain import Voice
from intone.server.errors import CallerError, Reason
from intone.server.rpc.caller import Principal, Role
from intone.server.voices.store import VoiceStore, voice_not_found

Permission = Callable[[Voice], None]
"""Raises CallerError unless a voice may be changed."""


def sees(principal: Principal, voice: Voice) -> bool:
    """Whether a principal may know of a voice and speak with it."""
    return not voice.owner or principal.name in (voice.owner, *voice.shared_with) or principal.may(Role.ADMIN)


def owns(principal: Principal, voice: Voice) -> bool:
    """Whether a principal may change a voice, and read what its speaker says in it."""
    return principal.may(Role.ADMIN) or (bool(voice.owner) and voice.owner == principal.name)


def owner_of_new(principal: Principal) -> str:
    """To whom a voice belongs that a principal creates."""
    return "" if principal.may(Role.ADMIN) else principal.name


def find(store: VoiceStore, name: str, principal: Principal, field: str = "name") -> Voice:
    """The voice of that name, if the principal sees it.

    Raises:
        CallerError: VOICE_NOT_FOUND, for voices of others as for those that do not exist.
    """
    voice = store.get(name, field)
    if not sees(principal, voice):
        raise voice_not_found(name, field)
    return voice


def changing(principal: Principal, field: str) -> Permission:
    """Permission for a principal to change or delete a voice that `find` has found."""

    def check(voice: Voice) -> None:
        if not sees(principal, voice):
            raise voice_not_found(voice.name, field)
        if not owns(principal, voice):
            message = f"{voice.name!r} belongs to {voice.owner or 'the server'}: only {_changers(voice)} change it"
            raise CallerError(field, message, Reason.PERMISSION_DENIED)

    return check


def _changers(voice: Voice) -> str:
    return "its owner and admins" if voice.owner else "admins"


def naming(principal: Principal, replace: bool, field: str) -> Permission:
    """Permission for a principal to give a new voice the name of this one, or with `replace` to replace this one."""

    def check(voice: Voice) -> None:
        if not sees(principal, voice):
            message = f"the name {voice.name!r} is taken; choose another"
            raise CallerError(field, message, Reason.VOICE_EXISTS)
        if replace:
            changing(principal, field)(voice)

    return check
