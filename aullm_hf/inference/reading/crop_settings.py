"""How clips are cropped: as the caller says, or as the model needs it; and in what that differs from training."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...data.faces import FaceFinder, FaceRecipe, local_face_model
from ...model import AULLMVideoProcessor

FACE_MODES = ("align", "follow", "none")
FACES = ("largest", "all")
MAX_CROP_RATIO = 1.3  # the longer to the shorter side: cameras' pictures are from 4:3 on, crops of faces are not
MIN_FACE_SHARE = 0.1  # of a crop's area


@dataclass(frozen=True)
class CropSettings:
    """How clips are cropped."""

    num_frames: int  # that the model samples from a clip
    recipe: FaceRecipe
    finder: FaceFinder | None = None  # face="none": looks whether crops are crops, where it is at hand
    all_faces: bool = False  # of a frame, not the largest only
    follow: bool = False  # move the crop with the face, smoothly, instead of one transform per clip
    keep_crops: bool = False  # frames of the recipe's own size are crops already

    def doubt(self, gray: np.ndarray) -> str:
        """Why a picture that was taken as the crop of a face is probably none; empty where nothing speaks against it.

        Pictures much longer than wide are none; where the face detector is at hand, so are those in which it finds no
        face, or a small one.
        """
        height, width = gray.shape
        if max(height, width) >= MAX_CROP_RATIO * min(height, width):
            return f"was taken as the crop of a face, but its frames have {width} x {height} pixels"
        if self.finder is None:
            return ""
        face = self.finder.find_rough(gray, self.recipe.min_score)
        if face is None:
            return "was taken as the crop of a face, but no face was found in it"
        share = face.box[2] * face.box[3] / gray.size
        return f"was taken as the crop of a face, which fills {share:.0%} of it" if share < MIN_FACE_SHARE else ""


def choose_crop_settings(
    processor: AULLMVideoProcessor, face: str | None, faces: str, face_model: str | Path | None
) -> tuple[CropSettings, str]:
    """The settings, and what a reader of the rows should know about them.

    What the caller does not say (face=None): clips are aligned as in training; for a model whose training clips came
    cropped they are aligned, too, unless they are known to be crops or the face detector is not at hand.
    """
    trained = FaceRecipe.from_dict(processor.face) if processor.face else None
    aligned = trained is not None and trained.face == "align"
    can_align = aligned or faces == "all" or face_model is not None or local_face_model() is not None
    mode = face or ("align" if can_align else "none")
    if faces == "all" and mode == "none":
        raise ValueError("faces='all' looks for faces, but face='none' takes clips as crops of one; give one of both")
    recipe = replace(trained or FaceRecipe(size=processor.size), face="none" if mode == "none" else "align")
    looks = mode != "none" or face_model is not None or local_face_model() is not None
    finder = FaceFinder(face_model) if looks else None
    warnings = []
    if mode == "none" and aligned:
        warnings.append("the model was trained on aligned faces, but clips were taken as they are (face='none')")
    elif mode == "none" and face is None:
        warnings.append(
            "the model was trained on crops of faces, and nothing says whether these clips are: they are taken as "
            "they are. face='none' (--no_face) says that they are crops; face='align' (--face align) cuts faces out"
        )
    elif mode != "none" and not aligned:
        warnings.append(
            f"the model was trained on clips that came cropped; faces were cut out here in another way (face='{mode}')"
        )
    elif mode == "follow":
        warnings.append(
            "the model was trained with one transform per clip, but the crop followed the face (face='follow')"
        )
    if mode != "none" and trained and trained.detector and trained.detector != finder.digest:
        warnings.append(
            f"faces were found by another detector ({finder.digest[:12]}) than in training "
            f"({trained.detector[:12]}); face_model= takes that one"
        )
    settings = CropSettings(
        processor.num_frames,
        recipe,
        finder,
        all_faces=faces == "all",
        follow=mode == "follow",
        keep_crops=face is None and mode == "align" and not aligned,
    )
    return settings, "; ".join(warnings)


__all__ = ["FACES", "FACE_MODES", "CropSettings", "choose_crop_settings"]
