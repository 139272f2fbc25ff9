"""Patience with the Hub, a request at a time: bounded waits, bounded answers, another try where the Hub is busy.

huggingface_hub repeats some of its requests and not others, waits as long as a server tells it to, and where it sets
no timeout a server that says nothing holds it for ever. This client repeats each request by itself, so that a line on
which every second request fails still carries a push, and nothing ever waits without end.
"""

import logging
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.utils import _http

logger = logging.getLogger(__name__)

UNREACHABLE = (OSError, httpx2.TransportError)  # what a load from the Hub may end in; the latter is no OSError
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
TRIES = 3  # of one request; whoever calls has patience of its own
LONGEST_WAIT = 300.0  # seconds, whatever the Hub asks for
TIMEOUT = {"connect": 10.0, "read": 60.0, "write": 60.0, "pool": 60.0}  # where the request sets none


class PatientClient(httpx2.Client):
    """huggingface_hub's client, except that a request is sent again where that may help."""

    def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        given = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {name: given.get(name) or bound for name, bound in TIMEOUT.items()}
        again = isinstance(request.stream, httpx2.ByteStream)  # a file being sent is rewound by its own sender alone
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES or not again
            try:
                response = super().send(request, **how)
            except httpx2.TransportError as error:
                if last:
                    raise
                what, wait = f"the line was cut ({type(error).__name__})", backoff(attempt)
            else:
                if response.status_code not in BUSY:
                    return response
                what, wait = f"the Hub answered {response.status_code}", wait_of(response.headers, backoff(attempt))
                if last:
                    return _bounded(response, wait)
                response.close()
            place = urlsplit(str(request.url)).path  # the query of a signed address is a key to it
            logger.warning("%s to %s %s; trying again in %g s", what, request.method, place, wait)
            time.sleep(wait)
        raise AssertionError("unreachable")


def be_patient() -> None:
    """From here on this process is patient with the Hub, unless it has a client of its own making already."""
    if _http._GLOBAL_CLIENT_FACTORY is _http.default_client_factory:
        set_client_factory(_patient_client)


def _patient_client() -> PatientClient:
    usual = _http.default_client_factory()
    hooks = usual.event_hooks  # offline mode is one of them
    usual.close()
    return PatientClient(event_hooks=hooks, follow_redirects=True, timeout=None)


def backoff(attempt: int) -> float:
    """1, 2, 4 .. 60 s."""
    return min(60.0, 2.0 ** (attempt - 1))


def wait_of(headers: Any, otherwise: float) -> float:
    """Seconds until another try: what Retry-After says, as a number or a date, within reason."""
    asked = (headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"[+-]?\d+(\.\d*)?", asked):
        return min(LONGEST_WAIT, max(0.0, float(asked)))
    try:
        return min(LONGEST_WAIT, max(otherwise, parsedate_to_datetime(asked).timestamp() - time.time()))
    except ValueError:
        return otherwise


def _bounded(response: httpx2.Response, wait: float) -> httpx2.Response:
    """What huggingface_hub waits by, if it tries again itself, held within reason too."""
    if "Retry-After" in response.headers or "ratelimit" in response.headers:
        response.headers.pop("ratelimit", None)
        response.headers["Retry-After"] = str(round(wait))
    return response


__all__ = ["BUSY", "UNREACHABLE", "PatientClient", "backoff", "be_patient", "wait_of"]
