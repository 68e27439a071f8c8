"""The four kinds of gRPC method handlers, for interceptors that wrap them."""

from typing import Any


def behaviour_of(handler: Any) -> tuple[str, Any]:
    """The function that handles a call, and the name of its field in the handler, such as "unary_stream".

    `handler._replace(**{name: wrapped})` puts another one in its place.
    """
    kinds = ("stream" if streams else "unary" for streams in (handler.request_streaming, handler.response_streaming))
    name = "_".join(kinds)
    return name, getattr(handler, name)
