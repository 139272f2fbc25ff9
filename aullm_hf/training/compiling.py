"""`torch_compile`: the 3D-CNN and the LLM (of a baseline the whole network) compiled in place, once for all folds.

What is compiled is how these modules are called, so no parameter changes its name, and a fresh start of the weights is
still the same module: the first step of the first fold waits for the compiler, the other folds do not. Another size of
the batch, as an epoch's last, is another compilation; so is prediction.
"""

from torch import nn

from ..model import AULLMForAUDetection


def compiled_parts(model: nn.Module) -> list[nn.Module]:
    """The modules that are worth a compilation: nothing in them depends on a tensor's values."""
    return [model.model.backbone, model.model.llm] if isinstance(model, AULLMForAUDetection) else [model.model]


def compile_parts(model: nn.Module, training) -> None:
    """As `training` (TrainingArguments) asks; nothing without `torch_compile`."""
    if training.torch_compile:
        from torch._inductor import config  # takes a while, which runs without it are spared

        config.fallback_random = True  # dropout's noise is what it is without a compiler
        for part in compiled_parts(model):
            part.compile(backend=training.torch_compile_backend, mode=training.torch_compile_mode)
