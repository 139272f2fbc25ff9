"""The learning rate and the weight decay of every trained parameter.

With one rate for all, as published, LED's three scalars move by less than a hundredth in a whole run; recipes that
want them to learn set a rate per group.
"""

import torch
from torch import nn

GROUPS = ("led", "vision", "projector", "graph", "lora", "head", "rest")


def group_of(name: str) -> str:
    """The group of a parameter, from its name."""
    if "lora_" in name:
        return "lora"
    parts = {
        "model.led.": "led",
        "model.flow.": "led",
        "model.backbone.": "vision",
        "model.high.": "vision",
        "model.mge.": "vision",
        "model.projector.": "projector",
        "model.graph.": "graph",
        "classifier.": "head",
        "intensity.": "head",
    }
    return next((group for prefix, group in parts.items() if name.startswith(prefix)), "rest")


def parameter_groups(parameters: dict[str, nn.Parameter], settings) -> list[dict]:
    """The optimizer's groups: parameters, `lr`, `weight_decay` and the group's name."""
    groups: dict[tuple[str, bool], dict] = {}
    for name, parameter in parameters.items():
        group = group_of(name)
        decays = settings.adam_with_l2 or parameter.ndim >= 2  # published: everything decays, norms and biases too
        rate = getattr(settings, f"{group}_learning_rate", None)
        entry = {
            "params": [],
            "name": group if decays else f"{group}, no decay",
            "lr": settings.learning_rate if rate is None else rate,
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        groups.setdefault((group, decays), entry)["params"].append(parameter)
    return list(groups.values())


def adam_with_l2(parameters: dict[str, nn.Parameter], settings) -> torch.optim.Adam:
    """The published recipe's optimizer; fused, as the Trainer's default is: one pass over the weights, no loop."""
    betas = (settings.adam_beta1, settings.adam_beta2)
    groups = parameter_groups(parameters, settings)
    return torch.optim.Adam(groups, lr=settings.learning_rate, betas=betas, eps=settings.adam_epsilon, fused=True)
