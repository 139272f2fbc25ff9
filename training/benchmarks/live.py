r"""How many frames of a camera the live page looks at per second, and how far behind it is. Needs OpenCV.

    python training/benchmark.py live --face_model yunet.onnx            # the packaged checkpoint
    python training/benchmark.py live --face_model yunet.onnx --model CHECKPOINT --seconds 60

A drawn person in pictures of 640 x 480 pixels comes as JPEG files, each the newest that there is when the last was
answered; from the file to the answer, without the network and the browser. The clock is processor time of all threads:
what other programs do on the machine hardly changes it, and with one thread it is what one core of its own would do.
The first two seconds, in which the face is found, are apart.
"""

import argparse
import time
import warnings
from pathlib import Path

import cv2
import numpy as np

from aullm_hf.data.synthetic.recordings import synthetic_recording
from aullm_hf.inference import AUDetector
from aullm_hf.inference.demo.live_analysis import LiveAnalysis, decode_frame
from aullm_hf.inference.demo.live_requests import update_json

CAMERA, FIRST = 30.0, 2.0  # frames per second; seconds that are apart
SHORTEST = 10.0  # seconds of a drawn recording
SIZE = 640, 480


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a folder with a checkpoint, or a repository on the Hub")
    parser.add_argument("--face_model", type=Path, help="YuNet's file, where it is not the Hub's")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the stream")
    parser.set_defaults(threads=1)


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    cv2.setNumThreads(args.threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of drawn faces
        detector = AUDetector(args.model, face="align", face_model=args.face_model)
    took, named = stream(LiveAnalysis(detector), args.seconds)
    later = slice(int((took.cumsum() < FIRST).sum()), None)
    row = {
        "model": detector.name,
        "threads": args.threads,
        "updates per second": f"{1 / took[later].mean():.1f}",
        "ms per update, median": f"{np.median(took[later]) * 1000:.0f}",
        "95 %": f"{np.quantile(took[later], 0.95) * 1000:.0f}",
        "most": f"{took[later].max() * 1000:.0f}",
        "updates with AUs": f"{np.mean(named[later]):.2f}",
    }
    return {"live": [row]}


def stream(analysis: LiveAnalysis, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """(processor seconds, whether AUs were named) of every update."""
    recording = synthetic_recording(seconds=max(seconds, SHORTEST), fps=CAMERA, seed=0, picture=True)
    took, named, clock = [], [], 0.0
    while clock < seconds:
        number = int(clock * CAMERA + 1e-6)
        picture = camera_picture(recording[number])
        begun = time.process_time()
        said = update_json(analysis.add(number / CAMERA, decode_frame(picture)))
        took.append(time.process_time() - begun)
        named.append(said["probabilities"] is not None)
        clock = max(clock + took[-1], (number + 1) / CAMERA)  # the camera has no newer picture yet
    return np.array(took), np.array(named)


def camera_picture(frame: np.ndarray) -> bytes:
    """A square picture as a JPEG file of SIZE."""
    side = SIZE[1]
    left = (SIZE[0] - side) // 2
    picture = np.full((SIZE[1], SIZE[0]), 120, np.uint8)
    picture[:, left : left + side] = cv2.resize(frame, (side, side))
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
