"""What holds for every test: no network, no deprecation of the base libraries goes unseen, the same seed."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import gc
import logging
import signal
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import settings

from support.leftovers import isolate, snapshot

# The same examples everywhere, and no deadline: a busy machine is slow now and then.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

# A shell that starts a job in the background has it ignore Ctrl-C, and all that the job starts: the tests of Ctrl-C
# would wait for nothing.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Half a million objects come with the libraries and stay: the collector would look at all of them again and again.
gc.disable()


def pytest_collection_finish():
    gc.enable()
    gc.freeze()


# A killed process loses nothing that it wrote; only a machine without power does, which no test tries. A training
# of one second would wait for the disk most of its time.
os.fsync = lambda _: None


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Before anything is imported that asks for the home: workers of xdist inherit what their controller was given."""
    if not hasattr(config, "workerinput"):
        isolate(config._tmp_path_factory.mktemp("session"))
        config.before_the_tests = snapshot()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """The session fails if it left anything behind; under xdist the controller looks, once its workers are gone."""
    config = session.config
    if hasattr(config, "before_the_tests"):
        config.left_behind = sorted(snapshot() - config.before_the_tests)
        if config.left_behind:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    for path in getattr(config, "left_behind", ()):
        terminalreporter.write_line(f"left behind by the tests: {path}", red=True)


LOOPBACK = {"127.0.0.1", "localhost", "::1", "0.0.0.0", "::", ""}
_connect = socket.socket.connect


def _connect_on_loopback_only(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and str(address[0]) not in LOOPBACK:
        raise PermissionError(f"a test tried to reach {address[0]}: tests run without the network")
    return _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def no_network():
    """Only the loopback interface can be reached (the tests' own Hub server, and gloo)."""
    socket.socket.connect = _connect_on_loopback_only
    yield
    socket.socket.connect = _connect


class _Deprecations(logging.Handler):
    def __init__(self):
        super().__init__(level=logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "deprecat" in (message := record.getMessage()).lower():
            self.messages.append(message)


@pytest.fixture(autouse=True)
def no_logged_deprecations():
    """transformers announces many deprecations through its logger, where warning filters do not see them."""
    handler = _Deprecations()
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    assert not handler.messages, f"deprecated use of transformers: {handler.messages}"


@pytest.fixture(autouse=True)
def seeded():
    import random

    import numpy as np

    random.seed(0)
    np.random.seed(0)
    try:
        import torch
    except ImportError:
        return
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_face_detector_at_hand(monkeypatch):
    """As on a machine that has never fetched one, whatever this one has: a test that needs it names its file."""
    monkeypatch.delenv("AULLM_FACE_MODEL", raising=False)
    monkeypatch.setattr("aullm_hf.data.faces.HUB_FILE", "not_cached.onnx")


@pytest.fixture(scope="session")
def face_model() -> Path:
    """YuNet's weights, from AULLM_FACE_MODEL or beside the checkout; they are too large for the repository."""
    beside = Path(__file__).parents[2] / "shared" / "models" / "yunet_n_640_640.onnx"
    path = Path(os.environ.get("AULLM_FACE_MODEL") or beside)
    if not path.is_file():
        pytest.skip(f"no face detector: set AULLM_FACE_MODEL to YuNet's .onnx file (looked for {path})")
    return path
