"""Patience with the Hub: every request has a time limit, and is sent again where that may help.

This is the one layer of retries. huggingface_hub repeats some of its requests and not others, and waits without a
limit where it sets no timeout. A request that was repeated here in vain ends in `HubUnreachable`, which
huggingface_hub does not repeat: it takes it as being offline, and uses what is cached. Only an upload from a file is
left to huggingface_hub, which can rewind it.
"""

import logging
import re
import time
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import __version__, get_session, set_client_factory
from huggingface_hub.errors import OfflineModeIsEnabled

if __version__.startswith("1."):  # both may be installed: the one that huggingface_hub uses
    import httpx
else:
    import httpx2 as httpx

logger = logging.getLogger(__name__)

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
TRIES = 3  # of one request
LONGEST_WAIT = 300.0  # seconds, whatever the Hub asks for
TIMEOUT = {"connect": 10.0, "read": 60.0, "write": 60.0, "pool": 60.0}  # seconds, where the request sets none
NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout)
UNREACHABLE = (OSError, httpx.TransportError)  # what loading from the Hub may end in; the latter is no OSError


class HubUnreachable(OfflineModeIsEnabled):
    """A request was tried as often as allowed, and the Hub did not answer or was busy each time."""


class PatientClient(httpx.Client):
    """huggingface_hub's HTTP client, with a time limit on every request and `tries` of each."""

    def __init__(self, tries: int = TRIES, **options: Any):
        super().__init__(follow_redirects=True, timeout=None, **options)
        self.tries = tries
        self.silent: set[str] = set()  # hosts that were given up: tried once until they answer
        self.reached: set[str] = set()  # hosts that answered; to any other, no connection means no network

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        limits = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {name: limits.get(name) or limit for name, limit in TIMEOUT.items()}
        if not isinstance(request.stream, httpx.ByteStream):
            response = super().send(request, **options)
            if {"retry-after", "ratelimit"} & set(response.headers):  # huggingface_hub waits as long as it is told
                response.headers["Retry-After"] = f"{requested_wait(response.headers, backoff(1)):.0f}"
                response.headers.pop("ratelimit", None)
            return response
        host, tries = request.url.host, 1 if request.url.host in self.silent else self.tries
        for attempt in range(1, tries + 1):
            wait = backoff(attempt)
            try:
                response = super().send(request, **options)
                self.reached.add(host)
                if response.status_code not in BUSY:
                    self.silent.discard(host)
                    return response
                reason, wait = f"the Hub answered {response.status_code}", requested_wait(response.headers, wait)
                response.close()
            except httpx.TransportError as error:
                reason = f"the line was cut ({type(error).__name__})"
                if isinstance(error, NO_CONNECTION) and host not in self.reached:
                    reason, tries = str(error), attempt
                    break
            if attempt < tries:
                path = urlsplit(str(request.url)).path  # the query of a signed address is a key to it
                logger.warning("%s to %s %s; trying again in %g s", reason, request.method, path, wait)
                time.sleep(wait)
        self.silent.add(host)
        raise HubUnreachable(f"{reason}, {tries} times" if tries > 1 else reason)


def be_patient(tries: int = TRIES) -> None:
    """From here on huggingface_hub tries each request `tries` times, unless this process gave it another client."""
    client = get_session()
    hooks = client.event_hooks  # offline mode is one of them
    is_default = type(client) is httpx.Client and any(
        hook.__module__.startswith("huggingface_hub") for hook in hooks["request"]
    )
    if is_default or (isinstance(client, PatientClient) and client.tries != tries):
        set_client_factory(partial(PatientClient, tries, event_hooks=hooks))


def backoff(attempt: int) -> float:
    """1, 2, 4 .. 60 s."""
    return min(60.0, 2.0 ** (attempt - 1))


def requested_wait(headers: Any, otherwise: float) -> float:
    """Seconds until another try: what the Hub asks for, as a number, a date or a rate limit's reset, within reason."""
    asked = (headers.get("Retry-After") or "").strip()
    if not asked and (reset := re.search(r";\s*r=0\s*;\s*t=(\d+)", headers.get("ratelimit") or "")):
        asked = reset[1]
    if re.fullmatch(r"[+-]?\d+(\.\d*)?", asked):
        return min(LONGEST_WAIT, max(0.0, float(asked)))
    try:
        return min(LONGEST_WAIT, max(otherwise, parsedate_to_datetime(asked).timestamp() - time.time()))
    except ValueError:
        return otherwise


__all__ = ["BUSY", "UNREACHABLE", "HubUnreachable", "PatientClient", "backoff", "be_patient", "requested_wait"]
