"""Faults injected into a training: what breaks, in which fold, at which step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from transformers import Trainer

from aullm_hf.training import trainer as fold_trainer


@contextmanager
def at_step(fold: str, step: int, fault: Callable, *, times: int = 1) -> Iterator[list]:
    """`fault(trainer, inputs, loss)` replaces the loss at a fold's step (from 1); yields the inputs of those steps."""
    original, hit = Trainer.compute_loss, []

    def compute_loss(self, model, inputs, return_outputs=False, **named):
        loss, outputs = original(self, model, inputs, return_outputs=True, **named)
        here = self.args.run_name.rpartition("-")[2] == fold and self.state.global_step + 1 == step
        if here and len(hit) < times:
            hit.append(inputs)
            loss = fault(self, inputs, loss)
        return (loss, outputs) if return_outputs else loss

    with patch.object(fold_trainer.Trainer, "compute_loss", compute_loss):
        yield hit


def nan_loss(_trainer, _inputs, loss):
    return loss * float("nan")


def infinite_weights(trainer, _inputs, loss):
    """A finite loss whose gradients leave infinite weights."""
    weight = trainer.model.classifier.weight
    handle = weight.register_hook(lambda gradient: gradient * float("inf"))
    trainer.release = handle  # kept alive with the trainer
    return loss


def raising(error: BaseException) -> Callable:
    def fault(*_):
        raise error

    return fault


@contextmanager
def small_memory(fold: str, holds: int) -> Iterator[None]:
    """The device takes at most `holds` clips of this fold at once."""
    original = Trainer.compute_loss

    def compute_loss(self, model, inputs, *args, **named):
        if self.args.run_name.rpartition("-")[2] == fold and len(inputs["labels"]) > holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(self, model, inputs, *args, **named)

    with patch.object(fold_trainer.Trainer, "compute_loss", compute_loss):
        yield
