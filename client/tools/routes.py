"""Why an engine speaks, in a few words for tables and pictures."""

_REASONS = {
    "preference": "asked for",
    "policy": "by the settings",
    "failing": "another fails",
    "busy": "another is busy",
    "language": "language",
    "not_loaded": "another is not loaded",
}


def short_reason(code: str, *, emotional: bool) -> str:
    """Why an engine was chosen; empty if there is nothing to say, see `RouteReason` of `speech.proto`.

    Args:
        code: of the route.
        emotional: whether there is an emotion. That no engine voices it is said beside the emotion, not here.
    """
    if code == "plain" or (code == "not_loaded" and emotional):
        return ""
    return _REASONS.get(code, code.replace("_", " "))
