"""Many GPUs, as the guide says: accelerate reads the configuration files, a sharded LLM trains as a whole one."""

import json
import re
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from safetensors.torch import load_file, save_file
from sharded_step import average_gradients, shard_llm
from torch import distributed

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.tiny_llm import build_tiny_llm
from support.tiny_run import ROOT

FILES = ROOT / "hub_configs" / "accelerate"
KINDS = {
    "multi_gpu.yaml": DistributedType.MULTI_GPU,
    "multi_node.yaml": DistributedType.MULTI_GPU,
    "zero3.yaml": DistributedType.DEEPSPEED,
}


def test_every_file_is_known():
    assert {path.name for path in FILES.iterdir()} == {*KINDS, "zero3.json"}


@pytest.mark.parametrize("name", KINDS)
def test_accelerate_reads_the_file(name):
    """Its parser refuses unknown keys."""
    config = load_config_from_file(str(FILES / name))
    assert config.distributed_type == KINDS[name]
    assert config.num_processes % config.num_machines == 0
    assert (config.num_machines > 1) == (config.main_process_ip is not None)


def test_zero3_is_stage_three_of_a_file_that_is_there():
    named = load_config_from_file(str(FILES / "zero3.yaml")).deepspeed_config["deepspeed_config_file"]
    assert HfDeepSpeedConfig(json.loads((ROOT / named).read_text())).is_zero3()


def test_commands_of_the_guide_name_files_that_are_there():
    guide = (ROOT / "docs" / "guides" / "scaling.md").read_text(encoding="utf-8")
    names = set(re.findall(r"hub_configs/[\w/.-]+\.(?:yaml|json)", guide))
    assert {f"hub_configs/accelerate/{name}" for name in KINDS} <= names
    assert [name for name in names if not (ROOT / name).is_file()] == []


def _model(base: Path) -> AULLMForAUDetection:
    sizes = {"image_size": 32, "backbone_channels": [4, 8], "se_reduction": 4, "high_dim": 8}
    model = AULLMForAUDetection.from_base_llm(AULLMConfig(projector_hidden=16, **sizes), str(base)).eval()
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(6, 6, 1, 32, 32, generator=generator), (torch.rand(6, 8, generator=generator) < 0.4).float()


def _gradients(model: AULLMForAUDetection) -> dict[str, torch.Tensor]:
    actual = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: g.full_tensor() if hasattr(g, "full_tensor") else g for name, g in actual.items()}


def _one_of_two(rank: int, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = _model(folder / "base")
    shard_llm(model)
    sizes = [p.to_local().numel() for p in model.model.llm.layers.parameters()]
    assert sum(sizes) < 0.6 * sum(p.numel() for p in model.model.llm.layers.parameters())
    pixels, labels = (half.chunk(2)[rank] for half in _batch())
    model(pixels, labels=labels).loss.backward()
    average_gradients(model)
    actual = {name: gradient.contiguous() for name, gradient in _gradients(model).items()}
    if rank == 0:
        save_file(actual, folder / "gradients.safetensors")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_a_shared_llm_has_the_gradients_of_a_whole_one(tmp_path):
    build_tiny_llm(tmp_path / "base")
    started = [get_context("fork").Process(target=_one_of_two, args=(rank, tmp_path)) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    model = _model(tmp_path / "base")
    pixels, labels = _batch()
    model(pixels, labels=labels).loss.backward()  # a mean over clips, in halves of the same size
    wanted, actual = _gradients(model), load_file(tmp_path / "gradients.safetensors")
    assert set(actual) == set(wanted)
    assert any("lora_A" in name for name in actual) and any("backbone" in name for name in actual)
    for name, gradient in wanted.items():
        torch.testing.assert_close(actual[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
