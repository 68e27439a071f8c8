"""The number of files and sockets that this process may have open."""

import logging
import resource

logger = logging.getLogger(__name__)

OWN_FILES = 256
"""Files that the server has open beside its connections, with room to spare."""


def raise_file_limit(connections: int) -> None:
    """Raise the soft limit to the hard one, and log it; warn where it is too low for so many connections.

    Without room for another file, accepting a connection, starting a process and reading a voice all fail.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS has a lower limit of its own
        logger.debug("the limit on open files stays at %d", soft)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    logger.info("up to %d open files, %d connections", limit, connections)
    if limit != resource.RLIM_INFINITY and limit < connections + OWN_FILES:
        message = "max_connections needs %d open files, but the limit is %d: lower it, or raise the limit"
        logger.warning(message, connections + OWN_FILES, limit)
