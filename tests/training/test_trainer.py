"""One step of the Trainer: the same however it is divided, with the optimizer that the recipe names."""

import copy
import os
import socket

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from aullm_hf.training.batches import Batches
from aullm_hf.training.clips import clips_of
from aullm_hf.training.optimizer import group_of, parameter_groups
from aullm_hf.training.parsing import load_run_config
from aullm_hf.training.trainer import FoldTrainer
from support.tiny import tiny_model
from support.tiny_run import tiny_yaml


class _Keep(TrainerCallback):
    """What the optimizer is about to see."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def _still_norms(model):
    """Batch norm as in evaluation, whatever the Trainer asks for."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.eval()
            module.train = lambda mode=True: None
    return model


def _step(folder, batch, accumulate, out=None, steps=1):
    """Loss and gradients of a step over the same eight clips."""
    from aullm_hf.data import load_clips

    options = f"--per_device_train_batch_size {batch} --gradient_accumulation_steps {accumulate} --max_steps {steps}"
    options += " --logging_steps 1 --save_strategy no --max_grad_norm 0 --augment_shift 0 --augment_flip 0"
    config = load_run_config(tiny_yaml(folder), options.split())
    args = copy.copy(config.training)
    args.output_dir, args.disable_tqdm, args.dataloader_pin_memory = str(folder / "work"), True, False
    model = _still_norms(tiny_model(image_size=16, aus=[1, 4, 12], randomized=True))
    clips = clips_of(load_clips("synthetic", subjects=2, clips_per_subject=4, size=16), [1, 4, 12])
    from aullm_hf.model import AULLMVideoProcessor

    keep = _Keep()
    batches = Batches(clips, AULLMVideoProcessor(size=16), seed=1)
    trainer = FoldTrainer(model, args, batches, range(8), "sub01", [keep])
    trainer.train()
    loss = trainer.state.log_history[0]["loss"]
    if out is not None and args.process_index == 0:
        np.savez(out, loss=loss, **{name: value.numpy() for name, value in keep.gradients.items()})
    return loss, {name: value.numpy() for name, value in keep.gradients.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return _step(tmp_path_factory.mktemp("step"), 8, 1)


def _agree(one, other):
    assert one[0] == pytest.approx(other[0], abs=1e-5)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        scale = max(np.abs(gradient).max(), 1e-3)
        assert np.abs(gradient - other[1][name]).max() / scale < 1e-5, name


@pytest.mark.parametrize(("batch", "accumulate"), [(4, 2), (2, 4), (1, 8)])
def test_a_step_does_not_depend_on_the_accumulation(tmp_path, whole, batch, accumulate):
    _agree(whole, _step(tmp_path, batch, accumulate))


def _rank(rank, port, folder, batch, accumulate, out):
    from accelerate.state import AcceleratorState, GradientState, PartialState

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), ACCELERATE_USE_CPU="true")
    for state in (AcceleratorState, PartialState, GradientState):  # inherited from the process that was forked
        state._reset_state()
    _step(folder, batch, accumulate, out=out)
    assert torch.distributed.get_world_size() == 2
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(("batch", "accumulate"), [(4, 1), (2, 2)])
def test_a_step_does_not_depend_on_the_number_of_processes(tmp_path, whole, batch, accumulate):
    from multiprocessing import get_context

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = tmp_path / "step.npz"
    ranks = [
        get_context("fork").Process(target=_rank, args=(rank, port, tmp_path / str(rank), batch, accumulate, out))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0, 0]
    with np.load(out) as actual:
        gradients = {name.removeprefix("module."): actual[name] for name in actual.files if name != "loss"}
        _agree(whole, (float(actual["loss"]), gradients))


def test_every_parameter_is_in_one_group_with_its_rate(tmp_path):
    model = tiny_model()
    options = "--led_learning_rate 0.5 --lora_learning_rate 0.25".split()
    settings = load_run_config(tiny_yaml(tmp_path), options).training
    parameters = model.trained_parameters()
    groups = parameter_groups(parameters, settings)
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(map(id, parameters.values()))
    rates = {group["name"].split(",")[0]: group["lr"] for group in groups}
    assert rates == {"led": 0.5, "vision": 1e-3, "projector": 1e-3, "lora": 0.25, "head": 1e-3}
    for group in groups:
        assert group["weight_decay"] == 0 or all(p.ndim >= 2 for p in group["params"])
    assert group_of("model.graph.head") == "graph" and group_of("model.something.new") == "rest"


def test_the_published_optimizer_is_adam_with_l2_on_everything(tmp_path):
    """Against the formula by hand: the decay is part of the gradient, for norms, biases and LED too."""
    options = "--adam_with_l2 true --weight_decay 0.005 --learning_rate 3e-5 --lr_scheduler_type constant".split()
    args = copy.copy(load_run_config(tiny_yaml(tmp_path), [*options, "--max_grad_norm", "0"]).training)
    args.output_dir = str(tmp_path / "work")
    model = tiny_model(image_size=16)
    trainer = FoldTrainer(model, args, None, range(8), "sub01", [])
    trainer.create_optimizer_and_scheduler(num_training_steps=10)
    assert type(trainer.optimizer) is torch.optim.Adam
    parameters = model.trained_parameters()
    generator = torch.Generator().manual_seed(0)
    expected = {}
    for name, p in parameters.items():
        p.grad = torch.randn(p.shape, generator=generator) * 1e-2
        g = (p.grad + 0.005 * p).double()  # Adam's first step moves against g / (|g| + eps)
        expected[name] = (p.double() - 3e-5 * g / (g.abs() + 1e-8)).detach()
    trainer.optimizer.step()
    trainer.lr_scheduler.step()
    for name, p in parameters.items():
        assert torch.allclose(p.double(), expected[name], atol=1e-7), name
    assert {group["lr"] for group in trainer.optimizer.param_groups} == {3e-5}
