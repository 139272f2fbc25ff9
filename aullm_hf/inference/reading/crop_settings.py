"""How clips are cropped: as the caller says, or as the model was trained; and in what that differs from training."""

from dataclasses import dataclass, replace
from pathlib import Path

from ...data.faces import FaceFinder, FaceRecipe
from ...model import AULLMVideoProcessor

FACE_MODES = ("align", "follow", "none")
FACES = ("largest", "all")


@dataclass(frozen=True)
class CropSettings:
    """How clips are cropped."""

    num_frames: int  # that the model samples from a clip
    recipe: FaceRecipe
    finder: FaceFinder | None = None
    all_faces: bool = False  # of a frame, not the largest only
    follow: bool = False  # move the crop with the face, smoothly, instead of one transform per clip


def choose_crop_settings(
    processor: AULLMVideoProcessor, face: str | None, faces: str, face_model: str | Path | None
) -> tuple[CropSettings, str]:
    """The settings, and what a reader of the rows should know about them."""
    trained = FaceRecipe.from_dict(processor.face) if processor.face else None
    mode = face or (trained.face if trained else "none")
    recipe = replace(trained or FaceRecipe(size=processor.size), face="none" if mode == "none" else "align")
    finder = FaceFinder(face_model) if mode != "none" else None
    warnings = []
    if trained and mode == "none" and trained.face == "align":
        warnings.append("the model was trained on aligned faces, but clips were taken as they are (face='none')")
    elif mode != "none" and (trained is None or trained.face == "none"):
        warnings.append(
            f"the model was trained on clips that came cropped, but faces were cut out here (face='{mode}')"
        )
    elif mode == "follow":
        warnings.append(
            "the model was trained with one transform per clip, but the crop followed the face (face='follow')"
        )
    if finder is not None and trained and trained.detector and trained.detector != finder.digest:
        warnings.append(
            f"faces were found by another detector ({finder.digest[:12]}) than in training "
            f"({trained.detector[:12]}); face_model= takes that one"
        )
    settings = CropSettings(processor.num_frames, recipe, finder, all_faces=faces == "all", follow=mode == "follow")
    return settings, "; ".join(warnings)


__all__ = ["FACES", "FACE_MODES", "CropSettings", "choose_crop_settings"]
