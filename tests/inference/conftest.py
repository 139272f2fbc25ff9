"""Shared by the tests of inference: one tiny detector for cropped clips, one for faces, a photograph of a face."""

from pathlib import Path

import numpy as np
import pytest

from aullm_hf.data.faces import FaceFinder, FaceRecipe
from aullm_hf.inference import AUDetector
from aullm_hf.model import AULLMVideoProcessor
from support.tiny import tiny_model


@pytest.fixture(scope="session")
def model():
    return tiny_model()


@pytest.fixture(scope="session")
def processor(model):
    """Of a model whose clips came cropped."""
    return AULLMVideoProcessor.for_config(model.config)


@pytest.fixture(scope="session")
def face_processor(model, face_model):
    """Of a model whose training clips were aligned."""
    recipe = FaceRecipe(size=model.config.image_size, detector=FaceFinder(face_model).digest)
    return AULLMVideoProcessor.for_config(model.config, face=recipe.to_dict())


@pytest.fixture(scope="session")
def make_detector(model, processor):
    """A detector for cropped clips, with options of its own."""
    return lambda **options: AUDetector(model, **{"processor": processor, "batch_size": 4, "face": "none", **options})


@pytest.fixture(scope="session")
def make_face_detector(model, face_processor, face_model):
    return lambda **options: AUDetector(
        model, **{"processor": face_processor, "face_model": face_model, "batch_size": 4, **options}
    )


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph with one face, (400, 512, 3) RGB."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[:400])


@pytest.fixture(scope="session")
def checkpoint(model, processor, tmp_path_factory) -> Path:
    """A checkpoint's folder whose clips come cropped."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def face_checkpoint(model, face_processor, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("face-checkpoint")
    model.save_pretrained(folder)
    face_processor.save_pretrained(folder)
    return folder
