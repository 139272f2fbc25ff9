"""`torch_compile`: the 3D-CNN and the LLM (of a baseline the whole network) compiled in place, once for all folds.

The modules stay the same objects with the same parameter names, also when their weights are reset: the first step of
the first fold waits for the compiler, the other folds do not. Another batch size, such as an epoch's last, is another
compilation; so is prediction.
"""

from torch import nn

from ..model import AULLMForAUDetection


def compiled_parts(model: nn.Module) -> list[nn.Module]:
    """The modules that are worth a compilation: their control flow does not depend on a tensor's values."""
    return [model.model.backbone, model.model.llm] if isinstance(model, AULLMForAUDetection) else [model.model]


def compile_parts(model: nn.Module, training) -> None:
    """Compile what `training` (TrainingArguments) asks for with `torch_compile`."""
    if training.torch_compile:
        from torch._inductor import config  # slow to import, and seldom needed

        config.fallback_random = True  # the same dropout noise as without a compiler
        for part in compiled_parts(model):
            part.compile(backend=training.torch_compile_backend, mode=training.torch_compile_mode)
