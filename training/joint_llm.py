"""Several folds' batches through the one frozen LLM at once, each under its own adapters.

Every fold keeps an ordinary model and an ordinary Trainer. Its forward pass is left where it calls the LLM, its loss
where it is about to be propagated back; there the folds meet (`lockstep.py`), and one pass answers for all:

    forward    embeddings of k folds, (k n, L, d) -> the LLM -> each fold its states, as a leaf of its own graph
    backward   d loss / d states of k folds -> the LLM -> each fold the gradients of its embeddings and adapters

A frozen layer is applied once to all rows; an adapter's update is a batched matrix product, with A (k, r, d) and
B (k, d', r). The adapters' dropout is drawn by each fold's own module, from its own stream, in its own shape. What a
fold packs into a sequence is what it would pack alone; shorter sequences are padded at their ends, where causality
keeps everybody from looking. The gradients are put under the fold's loss, so that its one backward pass, accumulation,
loss scaling, clipping and optimizer go on as ever.
"""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lockstep import Lockstep
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from run_config import ConfigError, RunConfig
from run_model import is_baseline
from torch import nn
from torch.nn import functional
from transformers import TrainerCallback

from aullm_hf.model import AULLMForAUDetection
from aullm_hf.model.checkpointing import ADAPTER
from aullm_hf.model.reading_llm import read_llm


@dataclass
class Reading:
    """What a fold hands to the LLM, and which rows of it, counted through, it will look at."""

    embeds: torch.Tensor  # (s, l, d)
    rows: torch.Tensor  # (clips)
    mask: torch.Tensor | None = None  # (s, 1, l, l) additive, the same for each sequence; None: causal
    positions: torch.Tensor | None = None  # (s, l), the same for each sequence; None: counted from 0


@dataclass
class Gradient:
    """What a fold's loss says of the states that it was handed, times its scale."""

    of_hidden: torch.Tensor  # (clips, d)


class JointLLM:
    """`count` copies of a model around its one frozen LLM, `models`, whose training passes go through it together."""

    def __init__(self, model: AULLMForAUDetection, count: int, device: torch.device):
        _check(model)
        self.models = [beside(model, model.base_model.llm) for _ in range(count)]
        self.lockstep = Lockstep(count, self._hold, device)
        self.places = [Place(index, model, self.lockstep) for index, model in enumerate(self.models)]
        self.crowd = _Crowd(self.lockstep)
        self.llm = beside(model.base_model.llm, model.base_model.llm).to(device).train()
        for name, layer in list(self.llm.named_modules()):
            if isinstance(layer, LoraLayer):
                layers = [model.base_model.llm.get_submodule(name) for model in self.models]
                self.llm.set_submodule(name, _JointLora(name, layer.base_layer, layers, self.crowd))
        self._graph: dict[int, tuple[torch.Tensor, list[torch.Tensor]]] = {}  # states, what they depend on

    def run(self, work: Callable[[int], None]) -> None:
        """`work(i)` with model i, for all of them, in step."""
        self.lockstep.run(work)

    def _hold(self, requests: dict[int, Reading | Gradient]) -> dict[int, Any]:
        # A fold that has just begun reads, while the others have a pass to finish: theirs comes first.
        gradients = {member: request for member, request in requests.items() if isinstance(request, Gradient)}
        return self._backward(gradients) if gradients else self._forward(requests)

    def _forward(self, readings: dict[int, Reading]) -> dict[int, torch.Tensor]:
        """The LLM's states (clips, d) of every fold."""
        crowd = self.crowd
        crowd.gather({member: reading.embeds.shape[:2] for member, reading in readings.items()})
        leaves = {member: reading.embeds.detach().requires_grad_() for member, reading in readings.items()}
        embeds = torch.cat([crowd.pad(leaf) for leaf in leaves.values()])  # (k n, L, d)
        rows = [crowd.rows(member, reading.rows) for member, reading in readings.items()]
        attention = _attention(list(readings.values()), crowd)
        states = read_llm(self.llm, embeds, torch.cat(rows), use_cache=False, **attention).split([*map(len, rows)])
        self._graph = {
            m: (own, [leaves[m], *self.places[m].adapters]) for m, own in zip(readings, states, strict=True)
        }
        return {member: own.detach().requires_grad_() for member, (own, _) in self._graph.items()}

    def _backward(self, gradients: dict[int, Gradient]) -> dict[int, list[torch.Tensor | None]]:
        """Gradients of every fold's embeddings, then of its adapters' weights (None: it played no part)."""
        graph, self._graph = self._graph, {}
        found = iter(
            torch.autograd.grad(
                outputs=[graph[member][0] for member in gradients],
                inputs=[tensor for member in gradients for tensor in graph[member][1]],
                grad_outputs=[gradient.of_hidden for gradient in gradients.values()],
                allow_unused=True,
            )
        )
        return {member: list(itertools.islice(found, len(graph[member][1]))) for member in gradients}


class Place(TrainerCallback):
    """A fold's place at the joint pass: where its model reads the LLM, and where its loss leaves the model.

    As a callback of its Trainer it learns of the loss scaling of float16.
    """

    def __init__(self, index: int, model: AULLMForAUDetection, lockstep: Lockstep):
        self.index, self.lockstep = index, lockstep
        self.adapters = [parameter for parameter in model.base_model.llm.parameters() if parameter.requires_grad]
        self.scaler: torch.amp.GradScaler | None = None
        self._open: tuple[torch.Tensor, torch.Tensor] | None = None  # embeddings, states
        model.base_model.prompt.read = self._read
        model.register_forward_hook(self._finish)

    def on_train_begin(self, args, state, control, optimizer=None, **kwargs):
        self.scaler = optimizer.scaler

    def _read(self, llm: nn.Module, inputs_embeds: torch.Tensor, rows: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """In the place of `read_llm`."""
        if not torch.is_grad_enabled():
            return read_llm(llm, inputs_embeds, rows, **inputs)
        reading = Reading(inputs_embeds, rows, inputs.get("attention_mask"), inputs.get("position_ids"))
        states = self.lockstep.meet(self.index, reading)
        self._open = inputs_embeds, states
        return states

    def _finish(self, model: nn.Module, args: tuple, output: Any) -> Any:
        """The model's output, with a loss that knows the gradients of everything behind the LLM."""
        if self._open is None:
            return output
        (embeds, states), self._open = self._open, None
        scale = 1.0 if self.scaler is None else self.scaler.get_scale()
        (of_hidden,) = torch.autograd.grad(output.loss * scale, states, retain_graph=True)
        gradients = self.lockstep.meet(self.index, Gradient(of_hidden))
        output.loss = _WithGradients.apply(output.loss, scale, gradients, embeds, *self.adapters)
        return output


class _WithGradients(torch.autograd.Function):
    """A loss as it is. Going back, it also hands each of `tensors` its gradient, which is known already, scaled."""

    @staticmethod
    def forward(ctx, loss, scale, gradients, *tensors):
        ctx.scale, ctx.gradients = scale, gradients
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx, outer):
        factor = outer / ctx.scale
        return outer, None, None, *(None if known is None else known * factor for known in ctx.gradients)


# -------------------------------------------------------------------- the shared pass


class _Crowd:
    """Who takes part in a joint pass, with how many sequences of which length."""

    def __init__(self, lockstep: Lockstep):
        self.lockstep = lockstep
        self.shapes: dict[int, tuple[int, int]] = {}  # member: (s, l)
        self.sequences = self.length = 0  # n and L, the largest

    def gather(self, shapes: dict[int, tuple[int, int]]) -> None:
        self.shapes = shapes
        self.sequences, self.length = (max(sizes) for sizes in zip(*shapes.values(), strict=True))

    def pad(self, own: torch.Tensor) -> torch.Tensor:
        """A fold's (s, l, ..) -> (n, L, ..)."""
        spare = self.sequences - own.shape[0], self.length - own.shape[1]
        return functional.pad(own, (0, 0, 0, spare[1], 0, spare[0])) if any(spare) else own

    def rows(self, member: int, own: torch.Tensor) -> torch.Tensor:
        """Places in a fold's (s, l) -> places in (k n, L), counted through."""
        length = self.shapes[member][1]
        sequence = list(self.shapes).index(member) * self.sequences + own // length
        return sequence * self.length + own % length

    def split(self, rows: torch.Tensor) -> dict[int, torch.Tensor]:
        """(k n, L, ..) -> each fold's (s, l, ..)."""
        folds = rows.unflatten(0, (len(self.shapes), self.sequences))
        return {
            member: fold[:sequences, :length]
            for fold, (member, (sequences, length)) in zip(folds, self.shapes.items(), strict=True)
        }


class _JointLora(nn.Module):
    """peft's LoRA layer for the rows of several folds: one frozen layer, each fold's own update."""

    def __init__(self, name: str, base_layer: nn.Module, layers: list[LoraLinear], crowd: _Crowd):
        super().__init__()
        self.base_layer = base_layer
        self.name, self.layers, self.crowd = name, tuple(layers), crowd

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(k n, L, d) -> (k n, L, d')."""
        crowd = self.crowd
        k, rows = len(crowd.shapes), crowd.sequences * crowd.length
        if x.shape[:-1] != (k * crowd.sequences, crowd.length):
            raise ConfigError(
                f"--folds_per_step: {self.name} of this LLM is given {tuple(x.shape)}, not all tokens of all "
                "sequences, so that they cannot be told apart by fold. Leave the layer out of lora.target_modules, or "
                "the option."
            )
        result = self.base_layer(x)
        layers = {member: self.layers[member] for member in crowd.shapes}
        down = torch.stack([layer.lora_A[ADAPTER].weight for layer in layers.values()])  # (k, r, d)
        up = torch.stack([layer.lora_B[ADAPTER].weight for layer in layers.values()])  # (k, d', r)
        noisy = self._drop(x.to(down.dtype), layers).reshape(k, rows, -1)
        update = torch.bmm(torch.bmm(noisy, down.mT), up.mT)  # (k, n L, d')
        return (result + update.view(result.shape) * self.layers[0].scaling[ADAPTER]).to(result.dtype)

    def _drop(self, x: torch.Tensor, layers: dict[int, LoraLinear]) -> torch.Tensor:
        if isinstance(self.layers[0].lora_dropout[ADAPTER], nn.Identity):
            return x
        crowd, noisy = self.crowd, []
        for member, own in crowd.split(x).items():
            with crowd.lockstep.noise_of(member, x.device):
                noisy.append(crowd.pad(layers[member].lora_dropout[ADAPTER](own.contiguous())))
        return torch.cat(noisy)


def _attention(readings: list[Reading], crowd: _Crowd) -> dict[str, torch.Tensor]:
    """Mask (k n, 1, L, L) and positions (k n, L); neither where every fold's are the LLM's own."""
    if all(reading.mask is None for reading in readings):
        return {}  # padding stands at the end, where causality hides it
    masks, positions, length = [], [], crowd.length
    some = next(reading.mask for reading in readings if reading.mask is not None)
    closed = torch.finfo(some.dtype).min
    for reading in readings:
        own = reading.embeds.shape[1]
        mask = torch.full((length, length), closed, dtype=some.dtype, device=some.device)
        mask.fill_diagonal_(0)  # padding sees itself
        if reading.mask is None:
            mask[:own, :own].triu_(1)
        else:
            mask[:own, :own] = reading.mask[0, 0]
        position = torch.arange(length, device=some.device)
        if reading.positions is not None:
            position[:own] = reading.positions[0]
        masks.append(mask.expand(crowd.sequences, 1, -1, -1))
        positions.append(position.expand(crowd.sequences, -1))
    return {"attention_mask": torch.cat(masks), "position_ids": torch.cat(positions)}


def beside(module: nn.Module, llm: nn.Module) -> nn.Module:
    """A copy of the model, or of its LLM, around the same frozen tensors; what is trained it has for itself."""
    frozen = {id(tensor): tensor for tensor in (*llm.parameters(), *llm.buffers()) if not tensor.requires_grad}
    return copy.deepcopy(module, frozen)


# -------------------------------------------------------------------- what cannot be joined


def refuse_what_cannot_be_joined(config: RunConfig, launch) -> None:
    """A ConfigError for a launch with `--folds_per_step` whose folds cannot go through the LLM together."""
    training, asked = config.training, f"--folds_per_step {launch.folds_per_step}"
    if is_baseline(config.model):
        raise ConfigError(
            f"{asked}, but {config.model.model_kind} has no LLM that folds could share: leave the option out, or "
            "start several processes with --fold_parallel."
        )
    if training.world_size > 1:
        raise ConfigError(
            f"{asked} in {training.world_size} processes that train one fold together: add --fold_parallel, and each "
            f"process takes {launch.folds_per_step} folds of its own."
        )
    if training.n_gpu > 1:
        raise ConfigError(
            f"{asked} in one process that sees {training.n_gpu} GPUs: start one for each (accelerate launch "
            f"--num_processes {training.n_gpu} .. --fold_parallel), or show it one (CUDA_VISIBLE_DEVICES=0)."
        )
    for name in ("activation_checkpointing", "torch_compile"):  # both want a pass that is all theirs
        if getattr(training, name):
            raise ConfigError(f"{asked} does not go with {name}: {getattr(training, name)!r}. Leave out either.")
    if trackers := sorted(set(training.report_to) - {"tensorboard", "none"}):
        raise ConfigError(
            f"{asked} does not go with report_to: {trackers[0]}, which follows one training at a time in a process. "
            "Use tensorboard, or leave the option out."
        )


def _check(model: AULLMForAUDetection) -> None:
    """An LLM whose rows do not depend on what is beside them."""
    llm = model.base_model.llm
    for name, module in llm.named_modules():
        if isinstance(module, LoraLayer) and type(module) is not LoraLinear:
            raise ConfigError(
                f"--folds_per_step joins LoRA on linear layers; {name} has it on a "
                f"{type(module.base_layer).__name__}. Take that out of lora.target_modules, or leave the option out."
            )
        drops = [value for key, value in vars(module).items() if key == "p" or "dropout" in key]
        if not name.endswith(f"lora_dropout.{ADAPTER}") and any(isinstance(p, float) and p > 0 for p in drops):
            raise ConfigError(
                f"--folds_per_step cannot draw the dropout inside the LLM ({name}) for each fold as it would be drawn "
                "alone. Leave the option out."
            )
