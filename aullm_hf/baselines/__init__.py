"""The published comparisons, a small file each: networks and classical methods under AU-LLM's own runner."""

from .configuration_baseline import BaselineConfig
from .modeling_baseline import ARCHITECTURES, BaselineForAUDetection
from .views import BaselineVideoProcessor

__all__ = ["ARCHITECTURES", "BaselineConfig", "BaselineForAUDetection", "BaselineVideoProcessor"]
