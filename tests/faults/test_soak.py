"""Faults at random, again and again, in every way a run is launched: `make soak` counts them into a table."""

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from support.faults import at_step, nan_loss
from support.soak import TRIES, Disturbed, Soak, ended, started
from support.tiny_run import tables, tiny_yaml, train

pytestmark = pytest.mark.slow

SUBJECTS = 4
WAYS = {  # of launching a run: how many processes, and with which options
    "one process": (1, ()),
    "two processes, folds side by side": (2, ("--fold_parallel",)),
}


@pytest.fixture(scope="module")
def soak(request):
    here = [item for item in request.session.items if item.module is request.module]
    book = Soak(faults=len(here))
    yield book
    book.write()
    print("\n" + book.markdown())


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_yaml(tmp_path_factory.mktemp("soak"), data={"subjects": SUBJECTS}, training={"save_steps": 1})


@pytest.fixture(scope="module")
def undisturbed(config):
    assert train(config, config.parent / "undisturbed") == 0
    return config.parent / "undisturbed"


@pytest.fixture(scope="module")
def seconds(config, undisturbed):
    """Of a whole run here and now."""
    begun = time.monotonic()
    started(train, config, config.parent / "timed").join()
    return time.monotonic() - begun


def _member(config, run, options, rank, count):
    if count > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1")
    return train(config, run, *options)


def _launch(config, run, way):
    count, options = WAYS[way]
    return [started(_member, config, run, options, rank, count) for rank in range(count)]


def _send(process, number) -> None:
    if process.is_alive():
        os.kill(process.pid, number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
@pytest.mark.parametrize("way", WAYS)
def test_ended_at_random(soak, config, undisturbed, seconds, tmp_path, way, number):
    row = soak.row(f"{number.name}, {way}")
    run = Disturbed(config, tmp_path / "run", undisturbed, row)
    for chance in soak.tries(row):
        processes = _launch(config, run.run, way)
        time.sleep(chance.uniform(0.02, 0.6) * seconds)
        for process in processes:
            _send(process, number)
        for process in processes:
            row.happened[ended(process)] += 1
        run.look()
        if len(run.finished) == SUBJECTS:
            run.end()
            run.begin_anew()
    run.end()
    assert row.lost == 0 and not any("99" in what for what in row.happened), row


def test_one_of_two_workers_dies(soak, config, undisturbed, seconds, tmp_path):
    """The other one trains the dead one's fold too, in the same launch."""
    row = soak.row("one of two workers killed")
    for chance in soak.tries(row):
        run = Disturbed(config, tmp_path / f"run{row.tried}", undisturbed, row)
        first, second = _launch(config, run.run, "two processes, folds side by side")
        time.sleep(chance.uniform(0.1, 0.5) * seconds)
        _send(first, signal.SIGKILL)
        row.happened[f"killed one: {ended(first)}"] += 1
        row.happened[f"the other: {ended(second)}"] += 1
        run.look()
        row.lost += len(run.finished) < SUBJECTS or tables(run.run) != tables(undisturbed)
    assert row.lost == 0 and row.happened["the other: exit 0"] == row.tried, row


@pytest.fixture
def small_disk(tmp_path):
    """A file system whose size can be changed; and made read-only."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(*options: str) -> bool:
        words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
        return subprocess.run(words, capture_output=True).returncode == 0

    if not mount("size=64m"):
        pytest.skip("no tmpfs can be mounted here; the short form of this fault runs without one")
    mount.place = place
    yield mount
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_full(soak, config, undisturbed, small_disk):
    """Of a random size below what the run needs; then it grows, and the same command is given."""
    row = soak.row("disk full at a random byte")
    run = Disturbed(config, small_disk.place / "run", undisturbed, row)
    needed = sum(path.stat().st_size for path in undisturbed.rglob("*") if path.is_file())
    for chance in soak.tries(row):
        assert small_disk("remount", f"size={int(needed * chance.uniform(0.05, 1.2)) // 4096 * 4096}")
        row.happened[f"full: {ended(started(run.launch))}"] += 1
        run.look()
        assert small_disk("remount", "size=64m")
        run.end()
        run.begin_anew()
    assert row.lost == 0 and not any("99" in what for what in row.happened), row


def test_a_disk_that_becomes_read_only(soak, config, undisturbed, seconds, small_disk):
    row = soak.row("disk read-only at a random moment")
    run = Disturbed(config, small_disk.place / "run", undisturbed, row)
    for chance in soak.tries(row):
        process = started(run.launch)
        time.sleep(chance.uniform(0, 0.6) * seconds)
        os.kill(process.pid, signal.SIGKILL)  # a disk with open files does not become read-only
        process.join()
        assert small_disk("remount", "ro")
        row.happened[f"read-only: {ended(started(run.launch))}"] += 1
        assert small_disk("remount", "rw")
        run.look()
        run.end()
        run.begin_anew()
    assert row.lost == 0 and row.happened["read-only: exit 2"] == row.tried, row


def _limited(run, limit, size):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(getattr(resource, limit), (size, size))
    return run.launch()


@pytest.mark.parametrize("limit", ["RLIMIT_NOFILE", "RLIMIT_FSIZE"])
def test_limits_of_the_system(soak, config, undisturbed, tmp_path, limit):
    """Too few open files, or files that may not grow."""
    what, low, high = {
        "RLIMIT_NOFILE": ("few file handles (ulimit -n)", 12, 60),
        "RLIMIT_FSIZE": ("files of limited size (ulimit -f)", 100, 200_000),
    }[limit]
    row = soak.row(what)
    run = Disturbed(config, tmp_path / "run", undisturbed, row)
    for chance in soak.tries(row):
        row.happened[f"limited: {ended(started(_limited, run, limit, chance.randint(low, high)))}"] += 1
        run.look()
        run.end()
        run.begin_anew()
    assert row.lost == 0 and not any("99" in what for what in row.happened), row


def _harm(path, chance) -> str:
    content = bytearray(path.read_bytes())
    way = chance.choice(["cut", "flipped", "emptied"] if content else ["filled"])
    if way == "cut":
        del content[chance.randrange(len(content)) :]
    elif way == "flipped":
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    else:
        content = bytearray(b"" if way == "emptied" else b"\0")
    path.write_bytes(content)
    return way


def test_a_file_of_a_finished_run_is_harmed(soak, config, undisturbed, tmp_path):
    """Whatever file it is: refused by name and trained again on request, or written again, or of no matter."""
    row = soak.row("a file of a finished run cut or flipped")
    for chance in soak.tries(row, at_most=3 * TRIES):
        run = Disturbed(config, tmp_path / "run", undisturbed, row)
        run.begin_anew()
        shutil.copytree(undisturbed, run.run)
        files = [path for path in run.run.rglob("*") if path.is_file() and path.suffix != ".lock"]
        harmed = chance.choice(sorted(files))
        way = _harm(harmed, chance)
        status = ended(started(run.launch))
        row.happened[f"{way}: {status}"] += 1
        if status == "exit 2" and harmed.name == "run.json":
            harmed.unlink()
        elif status == "exit 2":
            run.end("--retrain_damaged")
            continue
        run.end()
    assert row.lost == 0 and not any("99" in what for what in row.happened), row


def test_a_file_of_an_unfinished_run_is_harmed(soak, config, undisturbed, seconds, tmp_path):
    row = soak.row("a file of an unfinished run cut or flipped")
    run = Disturbed(config, tmp_path / "run", undisturbed, row)
    for chance in soak.tries(row):
        process = started(run.launch)
        time.sleep(chance.uniform(0.2, 0.6) * seconds)
        _send(process, signal.SIGKILL)
        process.join()
        files = [path for path in run.run.glob("folds/*/work/**/*") if path.is_file()]
        if files:
            row.happened[_harm(chance.choice(sorted(files)), chance)] += 1
        run.look()
        run.end()
        run.begin_anew()
    assert row.lost == 0, row


def _elsewhen(run, offset):
    now = time.time
    time.time = lambda: now() + offset
    return run.launch()


def test_a_clock_that_jumps(soak, config, undisturbed, seconds, tmp_path):
    """Every file's time at random, and the process's clock with it."""
    row = soak.row("the clock jumps between launches")
    run = Disturbed(config, tmp_path / "run", undisturbed, row)
    for chance in soak.tries(row):
        process = started(_elsewhen, run, chance.uniform(-1e9, 1e9))
        time.sleep(chance.uniform(0.1, 0.6) * seconds)
        _send(process, signal.SIGKILL)
        row.happened[ended(process)] += 1
        for path in run.run.rglob("*"):
            os.utime(path, (moment := chance.uniform(0, 4e9), moment))
        run.look()
        if len(run.finished) == SUBJECTS:
            run.end()
            run.begin_anew()
    run.end()
    assert row.lost == 0, row


def _poisoned(run, fold, step):
    with at_step(fold, step, nan_loss):
        return run.launch()


def test_a_loss_that_is_no_number(soak, config, undisturbed, tmp_path):
    row = soak.row("nan loss at a random step of a random fold")
    run = Disturbed(config, tmp_path / "run", undisturbed, row)
    for chance in soak.tries(row):
        fold, step = f"sub0{chance.randint(1, SUBJECTS)}", chance.randint(1, 6)
        row.happened[f"nan: {ended(started(_poisoned, run, fold, step))}"] += 1
        run.look()
        row.lost += len(run.finished) != SUBJECTS - 1
        run.end()
        run.begin_anew()
    assert row.lost == 0 and row.happened["nan: exit 1"] == row.tried, row


def test_two_launches_in_one_folder(soak, config, undisturbed, seconds, tmp_path):
    """The same run is joined, another one refused."""
    row = soak.row("two launches in one folder")
    for chance in soak.tries(row):
        run = Disturbed(config, tmp_path / f"run{row.tried}", undisturbed, row)
        first = started(run.launch)
        time.sleep(chance.uniform(0, 0.4) * seconds)
        joined = started(run.launch)
        while first.is_alive() and not (run.run / "run.json").is_file():
            time.sleep(0.02)
        row.happened[f"another run: {ended(started(run.launch, '--clips_seed', '5'))}"] += 1
        row.happened[f"the first: {ended(first)}"] += 1
        row.happened[f"the same run: {ended(joined)}"] += 1
        run.end()
    assert row.lost == 0 and row.happened["another run: exit 2"] == row.tried, row


@pytest.fixture
def open_place(tmp_path):
    """A folder that other users can look into; pytest's own are closed to them."""
    modes = {folder: folder.stat().st_mode for folder in (tmp_path, *tmp_path.parents)}
    closed = {folder: mode for folder, mode in modes.items() if not mode & 0o001}
    for folder, mode in closed.items():
        folder.chmod(mode | 0o001)
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o755)
    yield place
    for folder, mode in closed.items():
        folder.chmod(mode)


def _as_nobody(run, cache):
    os.umask(0o077)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    return _with_cache(run, cache)


def _with_cache(run, cache):
    import datasets

    datasets.config.HF_DATASETS_CACHE = cache
    return run.launch()


def _without_tmpdir(run):
    os.environ["TMPDIR"], tempfile.tempdir = str(run.run.parent / "gone"), None
    return run.launch()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_belongs_to_somebody_else(soak, config, undisturbed, open_place):
    """Another user's run folder, then another user's cache: told in a line, nothing changed."""
    recipe = shutil.copy(config, open_place / "recipe.yaml")
    os.chmod(recipe, 0o644)
    shutil.copytree(undisturbed, open_place / "run")
    subprocess.run(["chmod", "-R", "a+rX", str(open_place)], check=True)
    (open_place / "cache").mkdir(mode=0o777)
    (open_place / "cache").chmod(0o777)
    row = soak.row("a run folder of another user")
    run = Disturbed(recipe, open_place / "run", undisturbed, row)
    run.look()
    for _ in soak.tries(row, at_most=1):
        row.happened[ended(started(_as_nobody, run, open_place / "cache"))] += 1
        run.look()
    assert row.lost == 0 and row.happened["exit 2"] == row.tried, row
    row = soak.row("a cache that cannot be written")
    (open_place / "cache").chmod(0o755)
    for _ in soak.tries(row, at_most=1):
        row.happened[ended(started(_as_nobody, run, open_place / "closed"))] += 1
        run.look()
    assert row.lost == 0 and row.happened["exit 2"] == row.tried, row


def test_a_temporary_folder_that_is_gone(soak, config, undisturbed, tmp_path):
    row = soak.row("TMPDIR is gone")
    run = Disturbed(config, tmp_path / "run", undisturbed, row)
    for _ in soak.tries(row, at_most=1):
        row.happened[ended(started(_without_tmpdir, run))] += 1
        run.end()
    assert row.lost == 0, row
