"""The configuration of a baseline: which architecture, its sizes, its labels, what it was calibrated to."""

import math
from typing import Any

from transformers import PreTrainedConfig

from ..model.configuration_aullm import CASME2_AUS, AULLMConfig, _check_bool, _check_number, _reject


class BaselineConfig(PreTrainedConfig):
    r"""Everything that makes a baseline. Fields that AULLMConfig has too mean the same here.

    Labels
        aus (argument only), id2label, calibration, thresholds: as AULLMConfig has them.
    Architecture
        architecture: a name of `modeling_baseline.ARCHITECTURES`. What a field below is of use to, its file says.
    Input
        image_size; num_frames and led_alpha, led_r1, led_r2 of those that read frames through the temporal filter.
    Sizes
        backbone_channels, high_dim, dropout of the SSSNets; resnet_widths, the channels of a ResNet's four stages.
    Training
        distill_weight: of a student's imitation of its teacher (None: as its source has it); svm_c: the penalty of
        the support vector machines; loss_gamma_pos, loss_gamma_neg, loss_margin, loss_focus_gradient.
    """

    model_type = "aullm-baseline"

    architecture: str = "led-sssnet"

    # Labels
    calibration: dict[str, list[float]] | None = None
    thresholds: dict[str, float] | None = None

    # Input
    num_frames: int = 6
    image_size: int = 64
    led_alpha: float = 10.0
    led_r1: float = 0.4
    led_r2: float = 0.05

    # Sizes
    backbone_channels: list[int] | tuple[int, ...] = (32, 64)
    high_dim: int = 256
    dropout: float = 0.5
    resnet_widths: list[int] | tuple[int, ...] = (64, 128, 256, 512)

    # Training
    distill_weight: float | None = None
    svm_c: float = 0.01
    loss_gamma_pos: float = 0.0
    loss_gamma_neg: float = 4.0
    loss_margin: float = 0.05
    loss_focus_gradient: bool = False

    def __post_init__(self, **kwargs):
        aus = kwargs.pop("aus", None)
        if self.id2label is None:
            self.id2label = {index: f"AU{au}" for index, au in enumerate(CASME2_AUS if aus is None else aus)}
        self.label2id = {label: int(index) for index, label in self.id2label.items()}
        self.problem_type = self.problem_type or "multi_label_classification"
        super().__post_init__(**kwargs)
        self.backbone_channels, self.resnet_widths = list(self.backbone_channels), list(self.resnet_widths)
        if self.calibration is None:
            self.calibration = {label: [1.0, 0.0] for label in self.labels}
        if self.thresholds is None:
            self.thresholds = dict.fromkeys(self.labels, 0.5)
        self.check()

    # The names of the AUs, and what a valid table of labels, calibration and thresholds is.
    aus = AULLMConfig.aus
    labels = AULLMConfig.labels
    _check_names = AULLMConfig._check_names
    _check_labels = AULLMConfig._check_labels

    def check(self) -> None:
        """Raise a ValueError that names field, value and what is allowed, for the first field that is wrong."""
        try:
            self._check_labels()
            self._check_sizes()
            self._check_training()
        except ValueError as error:
            raise ValueError(str(error).replace("AULLMConfig", "BaselineConfig", 1)) from None

    def _check_sizes(self) -> None:
        _check_number("num_frames", self.num_frames, int, 4, 1024)
        _check_number("image_size", self.image_size, int, 16, 1024)
        _check_number("led_alpha", self.led_alpha, float, 0, math.inf, open_ends=True)
        for name in ("led_r1", "led_r2"):
            _check_number(name, getattr(self, name), float, 0, 1, open_ends=True)
        for name, count in (("backbone_channels", 2), ("resnet_widths", 4)):
            widths: Any = getattr(self, name)
            if len(widths) != count:
                _reject(name, widths, f"{count} whole numbers")
            for index, width in enumerate(widths):
                _check_number(f"{name}[{index}]", width, int, 1, 1 << 16)
        _check_number("high_dim", self.high_dim, int, 1, 1 << 20)
        _check_number("dropout", self.dropout, float, 0, 0.999)

    def _check_training(self) -> None:
        if self.distill_weight is not None:
            _check_number("distill_weight", self.distill_weight, float, 0, math.inf)
        _check_number("svm_c", self.svm_c, float, 0, math.inf, open_ends=True)
        for name in ("loss_gamma_pos", "loss_gamma_neg"):
            _check_number(name, getattr(self, name), float, 0, math.inf)
        _check_number("loss_margin", self.loss_margin, float, 0, 0.99)
        _check_bool("loss_focus_gradient", self.loss_focus_gradient)


__all__ = ["BaselineConfig"]
