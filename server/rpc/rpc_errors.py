"""Ends calls with the status of the exception that was raised in them."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_status import rpc_status

from intone.server.call_context import call_failed
from intone.server.errors import IntoneError, Reason, reason_of
from intone.server.rpc.wire.status import to_status

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def errors_as_status(context: Any) -> AsyncIterator[None]:
    """Abort the call of `context` with the status of any exception raised inside. Every service method uses it."""
    try:
        yield
    except IntoneError as error:
        call_failed(reason_of(error))
        status = to_status(error)
    except grpc.aio.BaseError:  # the call is over: it was aborted already, or the client is gone
        raise
    except Exception as error:  # a bug: it is logged, and the client is told no more than INTERNAL
        logger.exception("a call failed")
        call_failed(Reason.INTERNAL)
        status = to_status(error)
    else:
        return
    await context.abort_with_status(rpc_status.to_status(status))
