"""What can go wrong, by what a caller can do about it."""


class SedgeError(Exception):
    """Any failure of a call."""


class InvalidRequest(SedgeError):
    """Ask differently: a name, shape or type is not what the service takes."""


class NotFound(SedgeError):
    """Ask elsewhere: the node has no service of this name."""


class Overloaded(SedgeError):
    """Ask later and less: the node's queue is full."""


class Unavailable(SedgeError):
    """Ask later: the service is not ready."""


class DeadlineExceeded(SedgeError):
    """Give it longer: there was no answer within the timeout."""


class InternalError(SedgeError):
    """The service failed; its node's log says more."""


class Unreachable(SedgeError):
    """Nobody answers at the address, or the connection broke."""


class ProtocolError(SedgeError):
    """What came back is not an answer of the Open Inference Protocol."""


_BY_STATUS = {
    400: InvalidRequest,
    404: NotFound,
    413: InvalidRequest,
    429: Overloaded,
    503: Unavailable,
    504: DeadlineExceeded,
}


def by_status(status: int) -> type[SedgeError]:
    """The error that an HTTP status stands for."""
    return _BY_STATUS.get(status, InvalidRequest if 400 <= status < 500 else InternalError)
