"""A folder in which the commands of the documents work: what they name in CAPITALS is there, and so are the runs.

Everything is the smallest that has every part: LLM, network and clips.
"""

import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np

from aullm_hf.data import load_clips
from aullm_hf.training.launch import main as train
from support.clip_trees import casme2_tree, samm_tree
from support.tiny_run import TINY_RUN
from support.tool_tables import write_tool_table
from support.videos import write_folder, write_video

# Added to a training command where it does not say otherwise, so that it takes a second.
TINY = {name: str(TINY_RUN["model"][name]) for name in ("backbone_channels", "image_size", "se_reduction", "tiny_llm")}
TINY |= {"high_dim": "8", "projector_hidden": "16", "num_train_epochs": "1", "save_strategy": "no", "use_cpu": "true"}
OF_AULLM = ("tiny_llm", "projector_hidden", "se_reduction")
FEW_CLIPS = {"subjects": "3", "clips_per_subject": "6", "aus": "1 4 12"}


def tiny(words: list[str]) -> list[str]:
    """A training command's words with the options that make it tiny; what the command itself says stands."""
    options = dict(TINY) if "--datasets" in words else TINY | FEW_CLIPS
    if "--model_kind" in words:  # a baseline, which has no LLM
        options = {name: options[name] for name in options if name not in OF_AULLM}
    added = {f"--{name}": value.split() if name == "aus" else [value] for name, value in options.items()}
    return words + [word for name, values in added.items() if name not in words for word in (name, *values)]


def furnish(folder: Path, table: str) -> None:
    """What the documents name, into the current folder. `table` is the clips.csv of their example."""
    clips = load_clips("synthetic", subjects=3, clips_per_subject=2, size=16).with_format("numpy")
    frames = [np.asarray(one, dtype=np.uint8) for one in clips["frames"]]
    for row in table.splitlines()[1:]:
        name = row.split(",")[0]
        if name.endswith(".mp4"):
            _write_video(folder / "CLIPS_FOLDER" / name, frames[0])
        else:
            write_folder(folder / "CLIPS_FOLDER" / row.split(",")[1] / name, frames[1], "{:03d}.jpg")
    (folder / "CLIPS_FOLDER" / "clips.csv").write_text(table)
    for name in ("NEW_CLIPS_FOLDER/talk.mp4", "TALKS/talk.mp4", "VIDEO.mp4"):
        _write_video(folder / name, frames[2])
    write_folder(folder / "FRAMES_FOLDER", frames[3])
    (folder / "CLIPS.csv").write_text("path,onset,offset\nVIDEO.mp4,1,12\nFRAMES_FOLDER,2,9\n")
    casme2_tree(folder / "CASME2_FOLDER")
    samm_tree(folder / "SAMM_FOLDER")
    write_tool_table(folder / "OPENFACE.csv", "OpenFace 2")
    for words in (["quickstart", "--final_fit"], ["quickstart-baseline", "--model_kind", "led-sssnet"]):
        with patch("aullm_hf.evaluation.figures.write_figures"):  # no page looks at them
            if train(tiny(words)):
                raise RuntimeError(f"training {words[0]} failed")
    for name in ("CHECKPOINT_FOLDER", "YOU/REPOSITORY", "runs/mine/final/checkpoint"):
        shutil.copytree(folder / "runs" / "quickstart" / "final" / "checkpoint", folder / name)


def _write_video(path: Path, frames: np.ndarray) -> None:
    write_video(path, frames, codec="libx264", pixels="yuv420p", crf="12")
