"""Which part computes in which precision: the frozen LLM as it is kept, what is trained around it in float32."""

import copy

import pytest
import torch
import yaml

from aullm_hf.data import load_clips
from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.training.batches import Batches
from aullm_hf.training.clips import clips_of
from aullm_hf.training.parsing import load_run_config
from aullm_hf.training.trainer import FoldTrainer
from support.tiny import tiny_config, tiny_llm
from support.tiny_run import ROOT, tiny_yaml


def test_every_recipe_of_a_real_llm_keeps_it_in_bfloat16():
    actual = 0
    for path in sorted((ROOT / "hub_configs").glob("*.yaml")):
        model = yaml.safe_load(path.read_text())["model"]
        if not model.get("llm_name_or_path", "tiny:").startswith("tiny:"):
            assert model["llm_dtype"] == "bfloat16", path.name
            actual += 1
    assert actual > 20


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
def test_what_is_trained_is_float32_around_an_llm_in_bfloat16(tmp_path, autocast):
    options = f"--bf16 {str(autocast).lower()} --max_steps 2 --save_strategy no --logging_steps 1".split()
    args = copy.copy(load_run_config(tiny_yaml(tmp_path), options).training)
    args.output_dir, args.disable_tqdm, args.dataloader_pin_memory = str(tmp_path / "work"), True, False
    config = tiny_config(image_size=16)
    model = AULLMForAUDetection.from_base_llm(config, tiny_llm("qwen2"), dtype="bfloat16")
    before = copy.deepcopy(model.state_dict())
    seen: dict[str, torch.dtype] = {}

    def note(name):
        return lambda module, inputs, output: seen.__setitem__(name, output.dtype)

    body = model.model
    projection = body.llm.layers[0].self_attn.q_proj
    parts = {"projector": body.projector, "LLM": projection, "LoRA": projection.lora_A["default"]}
    for name, part in parts.items():
        part.register_forward_hook(note(name))
    clips = clips_of(load_clips("synthetic", subjects=2, clips_per_subject=4, size=16), config.aus)
    trainer = FoldTrainer(model, args, Batches(clips, AULLMVideoProcessor(size=16)), range(8), "a", [])
    trainer.train()

    rounded = torch.bfloat16 if autocast else torch.float32
    assert seen == {"projector": rounded, "LLM": torch.bfloat16, "LoRA": rounded}
    trained = model.trained_parameters()
    assert {one.dtype for one in trained.values()} == {torch.float32}
    states = trainer.optimizer.optimizer.state.values()
    assert {moment.dtype for state in states for moment in state.values()} == {torch.float32}
    for name, value in model.state_dict().items():
        if name.startswith("model.llm.") and name not in trained:
            assert value.dtype == torch.bfloat16 and torch.equal(value, before[name]), name
    assert all(torch.isfinite(torch.tensor(entry["loss"])) for entry in trainer.state.log_history if "loss" in entry)
