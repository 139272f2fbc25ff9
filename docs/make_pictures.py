"""The pictures of the README and the docs, drawn by the package from synthetic clips.

    python docs/make_pictures.py                                        (after `make quickstart`)
    python docs/make_pictures.py --model CHECKPOINT_FOLDER --out FOLDER

The clip is one of a person on whom the model was not trained. Every picture is below 200 kB.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from aullm_hf import load_clips
from aullm_hf.inference import AUDetector
from aullm_hf.inference.pictures.clip_pictures import clip_pictures, explain_clip
from aullm_hf.inference.pictures.drawing import save_figure

MODEL = "runs/quickstart/folds/sub01/checkpoint"
COLOURS = 160  # of a picture's palette: a third of the bytes, and no difference to the eye
MARGIN = 24  # pixels between two pictures that stand side by side


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL, help="a checkpoint; its fold must have left subject 01 out")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures")
    options = parser.parse_args(argv)

    frames = np.asarray(load_clips("synthetic").with_format("numpy")[0]["frames"], dtype=np.uint8)
    detector = AUDetector(options.model)
    (clip,) = detector.read(frames)
    title = "A drawn face that the model has never seen"
    figures = clip_pictures(*explain_clip(detector, clip), title=title)
    film_strip, face, bars = (_drawn(figures[name]) for name in ("film_strip", "face", "probabilities"))
    options.out.mkdir(parents=True, exist_ok=True)
    for name, picture in {"overview": _side_by_side([film_strip, face]), "probabilities": bars}.items():
        path = options.out / f"{name}.png"
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path}: {picture.width} x {picture.height} pixels, {path.stat().st_size / 1000:.0f} kB")
    return 0


def _drawn(figure) -> Image.Image:
    with TemporaryDirectory() as folder:
        return Image.open(save_figure(figure, Path(folder) / "drawn.png", dpi=100)).convert("RGB")


def _side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """One picture of several, all as high as the lowest."""
    height = min(picture.height for picture in pictures)
    scaled = [picture.resize((round(picture.width * height / picture.height), height)) for picture in pictures]
    width = sum(picture.width for picture in scaled) + MARGIN * (len(scaled) - 1)
    page, left = Image.new("RGB", (width, height), "white"), 0
    for picture in scaled:
        page.paste(picture, (left, 0))
        left += picture.width + MARGIN
    return page


if __name__ == "__main__":
    raise SystemExit(main())
