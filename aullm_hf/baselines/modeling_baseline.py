"""One model class for every baseline: the configuration's architecture, and a linear head.

The forward signature, loss and probabilities are AULLMForAUDetection's, so that runner, checkpoints and scoring are
the same. Checkpoints load where this package is installed.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import init
from transformers import AutoConfig, AutoModel, PreTrainedModel, ResNetModel
from transformers.models.auto.video_processing_auto import AutoVideoProcessor
from transformers.utils import can_return_tuple

from ..model.checkpointing import seeded_start, share_weights
from ..model.detector import AUDetectorMixin
from ..model.led import TemporalFilter
from ..model.locating import check_location, hub_arguments
from ..model.modeling_aullm import AUDetectionOutput
from .at import AT
from .configuration_baseline import BaselineConfig
from .dvasp import DVASP
from .fitnet import Fitnet
from .flow_svm import FlowSVM
from .lbp_top_svm import LBPTOPSVM
from .led_resnet18 import LEDResNet18
from .led_sssnet import LEDSSSNet
from .linear_svm import LinearSVM
from .resnet import ResNet18, ResNet34, pooled
from .sca import SCA
from .sp import SP
from .sssnet import SSSNet
from .views import BaselineVideoProcessor

# In the order of the table: the name that a recipe gives as `model_kind`, and what it builds.
ARCHITECTURES: dict[str, type[nn.Module]] = {
    "lbp-top-svm": LBPTOPSVM,
    "flow-svm": FlowSVM,
    "resnet18": ResNet18,
    "resnet34": ResNet34,
    "fitnet": Fitnet,
    "sp": SP,
    "at": AT,
    "sca": SCA,
    "dvasp": DVASP,
    "sssnet-flow": SSSNet,
    "led-resnet18": LEDResNet18,
    "led-sssnet": LEDSSSNet,
}


class BaselineForAUDetection(AUDetectorMixin, PreTrainedModel):
    """A clip in, in the baseline's own view of it (`self.view`), a logit per AU out (`config.aus` names them)."""

    config_class = BaselineConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ("video",)
    # The loss is a mean over clips: the Trainer has to divide it by the accumulation steps itself.
    accepts_loss_kwargs = False

    def __init__(self, config: BaselineConfig):
        if config.architecture not in ARCHITECTURES:
            raise ValueError(
                f"BaselineConfig.architecture is {config.architecture!r}; allowed: "
                f"{', '.join(map(repr, ARCHITECTURES))}."
            )
        super().__init__(config)
        self.model = ARCHITECTURES[config.architecture](config)
        self.classifier = nn.Linear(self.model.width, config.num_labels)
        self.teachers: tuple[nn.Module, ...] = ()  # in a tuple, so that they are no part of the model or its files
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As every PreTrainedModel, from safetensors alone: nothing is unpickled, whatever else lies there."""
        path = pretrained_model_name_or_path
        if path is not None:
            check_location("pretrained_model_name_or_path", path, **hub_arguments(kwargs))
        return super().from_pretrained(path, *args, **{**kwargs, "use_safetensors": True})

    def save_pretrained(self, save_directory: Any, is_main_process: bool = True, **kwargs: Any) -> None:
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        if is_main_process:
            share_weights(save_directory)

    @property
    def view(self) -> str:
        """What of a clip `pixel_values` holds: see `views`."""
        return self.model.view

    @property
    def teacher_names(self) -> tuple[str, ...]:
        """The architectures that are trained before this one, for it to imitate."""
        return getattr(self.model, "teachers", ())

    @property
    def is_fitted(self) -> bool:
        """Whether a solver fits it (`fit`), in place of gradient steps."""
        return isinstance(self.model, LinearSVM)

    @can_return_tuple
    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> AUDetectionOutput:
        """pixel_values (B, ..) as BaselineVideoProcessor makes them and, to train, labels (B, n_AU) of 0 and 1."""
        if labels is not None and self.teachers:
            maps = self.model.maps(pixel_values)
            logits = self.classifier(pooled(maps))
            parts = {
                "asymmetric": self.loss(logits, labels),
                "imitation": self.imitation_weight * self._imitation(pixel_values, maps),
            }
            parts, loss = {name: part.detach() for name, part in parts.items()}, sum(parts.values())
        else:
            logits = self.classifier(self.model(pixel_values))  # (B, n_AU)
            parts, loss = None, None if labels is None else self.loss(logits, labels)
        return AUDetectionOutput(loss=loss, logits=logits, loss_parts=parts)

    # ---------------------------------------------------------------- teachers

    @property
    def imitation_weight(self) -> float:
        chosen = self.config.distill_weight
        return self.model.weight if chosen is None else chosen

    def learn_from(self, teachers: Sequence["BaselineForAUDetection"]) -> None:
        """Imitate these from now on. They stay as they are, and are no part of what is trained, moved or saved."""
        self.teachers = tuple(teacher.model.eval().requires_grad_(False) for teacher in teachers)

    def _imitation(self, pixel_values: torch.Tensor, maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.no_grad():
            taught = [teacher.to(pixel_values.device).maps(pixel_values) for teacher in self.teachers]
        return self.model.imitation(maps, taught)

    # ---------------------------------------------------------------- a fresh start, or a fit

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, TemporalFilter):
            module.reset_parameters()
        elif isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            if module.bias is not None:
                bound = 1 / math.sqrt(module.weight[0].numel())
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            if module.affine:
                init.ones_(module.weight)
                init.zeros_(module.bias)
            init.zeros_(module.running_mean)
            init.ones_(module.running_var)
            init.zeros_(module.num_batches_tracked)
        elif isinstance(module, LinearSVM):
            init.zeros_(module.mean)
            init.ones_(module.deviation)

    def reset_trained(self, seed: int) -> None:
        """A fresh start, without teachers, determined by `seed` alone."""
        self.teachers = ()
        with seeded_start(self, seed):
            for module in self.modules():
                self._init_weights(module)
            for module in self.modules():
                if isinstance(module, ResNetModel):  # starts as transformers starts it
                    for convolution in (one for one in module.modules() if isinstance(one, nn.Conv2d)):
                        init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")

    @torch.no_grad()
    def fit(self, pixel_values: torch.Tensor, labels: np.ndarray) -> None:
        """Fit a classical baseline to all training clips at once; labels (N, n_AU)."""
        weights, biases = self.model.fit(pixel_values, labels, self.config.svm_c)
        self.classifier.weight.copy_(weights)
        self.classifier.bias.copy_(biases)


AutoConfig.register("aullm-baseline", BaselineConfig, exist_ok=True)
AutoModel.register(BaselineConfig, BaselineForAUDetection, exist_ok=True)
AutoVideoProcessor.register(BaselineConfig, BaselineVideoProcessor, exist_ok=True)

__all__ = ["ARCHITECTURES", "BaselineForAUDetection"]
