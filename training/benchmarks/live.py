r"""How many frames of a camera the live page looks at per second, and how far behind it is. Needs OpenCV.

    python training/benchmark.py live --face_model yunet.onnx            # the packaged checkpoint
    python training/benchmark.py live --face_model yunet.onnx --model CHECKPOINT --seconds 60

A drawn person in pictures of 640 x 480 pixels comes as JPEG files, one as soon as the last was answered, as the page
sends them; from the file to the answer, without the network and the browser. `processor ms` is processor time, of all
threads: what other programs do on the machine hardly changes it. The first two
seconds, in which the face is found, are apart.
"""

import argparse
import time
import warnings
from pathlib import Path

import cv2
import numpy as np

from aullm_hf.data.synthetic.recordings import synthetic_recording
from aullm_hf.inference import AUDetector
from aullm_hf.inference.demo.live_analysis import STEP, LiveAnalysis, decode_frame
from aullm_hf.inference.demo.live_requests import update_json

CAMERA, FIRST = 30.0, 2.0  # frames per second; seconds that are apart
SIZE = 640, 480


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a folder with a checkpoint, or a repository on the Hub")
    parser.add_argument("--face_model", type=Path, help="YuNet's file, where it is not the Hub's")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the stream")
    parser.set_defaults(threads=2)


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    cv2.setNumThreads(args.threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of drawn faces
        detector = AUDetector(args.model, face="align", face_model=args.face_model)
    pictures = camera_pictures(args.seconds)
    took, spent, named = stream(LiveAnalysis(detector), pictures)
    later = slice(next(at for at in range(len(took)) if took[:at].sum() >= FIRST), None)
    row = {
        "model": detector.name,
        "threads": args.threads,
        "updates per second": f"{1 / took[later].mean():.1f}",
        "ms per update, median": f"{np.median(took[later]) * 1000:.0f}",
        "95 %": f"{np.quantile(took[later], 0.95) * 1000:.0f}",
        "most": f"{took[later].max() * 1000:.0f}",
        "processor ms": f"{spent[later].mean() * 1000:.0f}",
        "updates with AUs": f"{np.mean(named[later]):.2f}",
    }
    return {"live": [row]}


def camera_pictures(seconds: float) -> list[bytes]:
    """JPEG files, CAMERA of them per second."""
    recording = synthetic_recording(seconds=seconds, fps=CAMERA, seed=0, picture=True)
    side = SIZE[1]
    left = (SIZE[0] - side) // 2
    pictures = []
    for frame in recording:
        picture = np.full((SIZE[1], SIZE[0]), 120, np.uint8)
        picture[:, left : left + side] = cv2.resize(frame, (side, side))
        pictures.append(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    return pictures


def stream(analysis: LiveAnalysis, pictures: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(wall-clock seconds, processor seconds, whether AUs were named) of every update; late frames are left out."""
    took, spent, named = [], [], []
    begun = time.perf_counter()
    while (now := time.perf_counter() - begun) * CAMERA < len(pictures):
        frame = int(now * CAMERA)
        if frame / CAMERA < analysis.latest + STEP:  # the camera has no newer one yet
            time.sleep(0.001)
            continue
        before = time.perf_counter(), time.process_time()
        said = update_json(analysis.add(frame / CAMERA, decode_frame(pictures[frame])))
        took.append(time.perf_counter() - before[0])
        spent.append(time.process_time() - before[1])
        named.append(said["probabilities"] is not None)
    return np.array(took), np.array(spent), np.array(named)
