"""The model room. Importing it registers AULLMConfig, the models and the processor with transformers' Auto classes."""

from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification
from transformers.models.auto.video_processing_auto import AutoVideoProcessor

from .configuration_aullm import AULLMConfig
from .modeling_aullm import AULLMForAUDetection, AULLMModel
from .processing_aullm import AULLMVideoProcessor

AutoConfig.register("aullm", AULLMConfig, exist_ok=True)
AutoModel.register(AULLMConfig, AULLMForAUDetection, exist_ok=True)
AutoModelForVideoClassification.register(AULLMConfig, AULLMForAUDetection, exist_ok=True)

# So that checkpoints carry the code that loads them.
AULLMConfig.register_for_auto_class()
AULLMForAUDetection.register_for_auto_class("AutoModelForVideoClassification")
AULLMVideoProcessor.register_for_auto_class("AutoVideoProcessor")
AutoVideoProcessor.register(AULLMConfig, AULLMVideoProcessor, exist_ok=True)

__all__ = ["AULLMConfig", "AULLMForAUDetection", "AULLMModel", "AULLMVideoProcessor"]
