"""Everything the package does, in one process in which unpickling fails and is witnessed. Run by its path:

    python witnessed.py FOLDER

Two witnesses, independent of each other: what could unpickle is replaced by what refuses and takes note, and the
interpreter's own audit events. Writing a pickle is not reading one (`datasets` hashes that way), so it is let be,
except in files. The last line of the output is a JSON of what was seen.
"""

import json
import os
import pickle
import sys
import traceback
from pathlib import Path

FOLDER = Path(sys.argv[1]).resolve()
SEEN: dict[str, list[str]] = {name: [] for name in ("unpickled", "classes", "connected", "started", "written")}
PRIVATE = [str(FOLDER), "/dev/", "/proc/"]


def audit(event: str, args: tuple) -> None:
    if event == "pickle.find_class":
        SEEN["classes"].append(f"{args[0]}.{args[1]}")
    elif event == "socket.connect":
        address = args[1]
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1"):
            SEEN["connected"].append(str(address))
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        SEEN["started"].append(os.path.basename(str(args[0])))
    elif event == "open" and isinstance(args[0], str | bytes) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        path = os.path.realpath(os.fsdecode(args[0]))
        if not path.startswith(tuple(PRIVATE)) and "__pycache__" not in path:
            SEEN["written"].append(path)


def refusing(name: str):
    def refused(*_, **__):
        SEEN["unpickled"].append(f"{name} by {traceback.extract_stack(limit=3)[0].filename}")
        raise AssertionError(f"{name} was called")

    return refused


class Refusing(pickle._Unpickler):
    """In the place of pickle.Unpickler, which libraries inherit from when they are imported."""

    def __init__(self, *_, **__):
        refusing("an Unpickler")()


def lock_up() -> None:
    """Before any library is imported, and again after: they make names of their own."""
    pickle.load, pickle.loads = refusing("pickle.load"), refusing("pickle.loads")
    pickle.Unpickler = pickle._Unpickler = Refusing
    pickle._load, pickle._loads = pickle.load, pickle.loads
    import numpy
    import torch

    torch.load, torch.save = refusing("torch.load"), refusing("torch.save")
    read = numpy.load

    def load(*args, allow_pickle=False, **options):
        return refusing("numpy.load with pickles")() if allow_pickle else read(*args, **options)

    numpy.load = load


def everything(server) -> None:
    """Build clips, train, be stopped, go on, score, push, load as a stranger, predict, explain, and tell."""
    import numpy as np
    import torch

    import aullm_hf
    from support import clip_trees
    from support.commands import aullm
    from support.hub_server import reach_the_server  # noqa: F401  (its client is the real one here)
    from support.tiny_run import tiny_yaml, train
    from support.videos import noise, write_video

    clip_trees.casme2_tree(FOLDER / "casme2")

    assert aullm("data", "build", "casme2", FOLDER / "casme2", "--face", "none") == 0

    from aullm_hf.training import trainer as fold_trainer

    config, run = tiny_yaml(FOLDER, training={"num_train_epochs": 2}), FOLDER / "run"
    seal, sealed = fold_trainer.seal, []

    def stop(checkpoint):
        seal(checkpoint)
        sealed.append(checkpoint)
        raise KeyboardInterrupt

    fold_trainer.seal = stop
    try:
        train(config, run)
    except (KeyboardInterrupt, SystemExit):
        pass
    assert sealed, "training was not stopped"
    fold_trainer.seal = seal
    assert train(config, run, "--final_fit", report=True) == 0
    assert aullm("evaluate", run, "--resamples", "5") == 0
    assert aullm("push", run, "--repo", "me/run") == 0

    from transformers import AutoModel, AutoProcessor, pipeline

    at = {"revision": "fold-sub01", "trust_remote_code": True}
    model, processor = AutoModel.from_pretrained("me/run", **at), AutoProcessor.from_pretrained("me/run", **at)
    clip = np.random.default_rng(0).integers(0, 256, (9, 16, 16), dtype=np.uint8)
    with torch.no_grad():
        model(processor(clip)["pixel_values"])
    model.explain(processor(clip)["pixel_values"], "all")
    pipeline(model="me/run", **at)(clip)

    video = str(write_video(FOLDER / "clip.avi", noise(12, 16, 16), rate=50))
    from aullm_hf.commands.main import main as aullm

    named = ["--model", "me/run", "--revision", "fold-sub01"]
    assert aullm(["predict", video, *named, "--out", str(FOLDER / "aus.csv"), "--no_face"]) == 0
    assert aullm(["explain", video, *named, "--out", str(FOLDER / "pictures"), "--no_face"]) == 0
    assert aullm(["info", "me/run", "--revision", "fold-sub01"]) == 0
    assert aullm_hf.detect_aus(video, "me/run", revision="fold-sub01", face="none")["reason"].eq("").all()
    from aullm_hf.inference import AUDetector
    from aullm_hf.inference.demo.analysis import Demo
    from aullm_hf.inference.demo.page import result_html

    demo = Demo(AUDetector("me/run", revision="fold-sub01", face="none"))
    assert "AU12" in result_html(demo.analyse_upload(video, cropped=True))
    if os.environ.get("PLANT"):  # so that a test may know that the witnesses see
        torch.load(FOLDER / "planted.pt", weights_only=False)


def main() -> None:
    for name, folder in {"HOME": "home", "HF_HOME": "hf", "TMPDIR": "tmp", "MPLCONFIGDIR": "mpl"}.items():
        os.environ[name] = str(FOLDER / folder)
        (FOLDER / folder).mkdir(exist_ok=True)
    os.environ |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    from support.hub_server import HubServer

    with HubServer(token=os.environ["HF_TOKEN"]) as server:
        os.environ["HF_ENDPOINT"] = server.url
        sys.addaudithook(audit)
        pickle.load, pickle.loads = refusing("pickle.load"), refusing("pickle.loads")
        pickle.Unpickler = pickle._Unpickler = Refusing
        lock_up()
        try:
            everything(server)
            failure = ""
        except BaseException:
            failure = traceback.format_exc()
        published = [
            server.content(entry).decode("latin-1")
            for repo in server.repos.values()
            for tree in repo["commits"].values()
            for entry in tree.values()
        ]
    private = {"token": os.environ["HF_TOKEN"], "folder": str(FOLDER), "home": str(Path(sys.argv[0]).parents[2])}
    told = {name: sum(secret in text for text in published) for name, secret in private.items()}
    print("WITNESSED" + json.dumps({**SEEN, "failure": failure, "published": len(published), "told": told}))


if __name__ == "__main__":
    main()
