"""What a checkpoint holds, how it comes back, and what it says when it cannot."""

import json
import shutil

import accelerate
import pytest
import torch
from packaging.version import Version
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from aullm_hf.model import AULLMForAUDetection
from aullm_hf.model.base_llm import pinned_revision
from aullm_hf.model.checkpointing import trained_keys
from aullm_hf.model.config_rules import STATE_DICT_LAYOUT
from aullm_hf.tiny_llm import build_tiny_llm
from support.tiny import FAMILIES, clips, tiny_config, tiny_llm, tiny_model


@pytest.fixture
def saved(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "fold")
    return model, tmp_path / "fold"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_holds_what_was_trained_and_nothing_of_the_llm(family, tmp_path):
    model = tiny_model(family)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    base = load_file(f"{tiny_llm(family)}/model.safetensors")
    expected = set(model.trained_parameters()) | {n for n, _ in model.named_buffers() if n in model.state_dict()}
    assert set(weights) == expected == trained_keys(model)
    base_values = {tuple(t.flatten()[:8].tolist()) for t in base.values() if t.numel() > 8 and t.std() > 0}
    assert not any(tuple(t.flatten()[:8].float().tolist()) in base_values for t in weights.values())
    size = sum(t.numel() * t.element_size() for t in weights.values())
    header = 250 * len(weights)
    assert size <= (tmp_path / "model.safetensors").stat().st_size <= size + header


def test_the_number_of_trained_tensors_survives_every_way_of_loading(saved, tmp_path):
    model, path = saved
    # 2 layers x (q, v) x (A, B) adapters, 3 filter scalars, 2 convolutions + 2 norms + SE + high + projector + head
    assert len(model.trained_parameters()) == 2 * 2 * 2 + 3 + 2 * 2 + 2 * 2 + 4 + 2 + 4 + 2
    for loaded in (
        AULLMForAUDetection.from_pretrained(path),
        AULLMForAUDetection.from_pretrained(path, dtype="bfloat16"),
    ):
        assert set(loaded.trained_parameters()) == set(model.trained_parameters())
    model.merge_and_export(tmp_path / "merged")
    merged = AULLMForAUDetection.from_pretrained(tmp_path / "merged")
    assert set(merged.trained_parameters()) == {n for n in model.trained_parameters() if "lora_" not in n}


LAYOUT_1 = """
classifier.bias classifier.weight model.backbone.attention.excite.bias model.backbone.attention.excite.weight
model.backbone.attention.squeeze.bias model.backbone.attention.squeeze.weight model.backbone.conv1.bias
model.backbone.conv1.weight model.backbone.conv2.bias model.backbone.conv2.weight model.backbone.norm1.bias
model.backbone.norm1.num_batches_tracked model.backbone.norm1.running_mean model.backbone.norm1.running_var
model.backbone.norm1.weight model.backbone.norm2.bias model.backbone.norm2.num_batches_tracked
model.backbone.norm2.running_mean model.backbone.norm2.running_var model.backbone.norm2.weight model.high.linear.bias
model.high.linear.weight model.led.log_alpha model.led.logit_r1 model.led.logit_r2
model.llm.layers.0.self_attn.q_proj.lora_A.default.weight model.llm.layers.0.self_attn.q_proj.lora_B.default.weight
model.llm.layers.0.self_attn.v_proj.lora_A.default.weight model.llm.layers.0.self_attn.v_proj.lora_B.default.weight
model.llm.layers.1.self_attn.q_proj.lora_A.default.weight model.llm.layers.1.self_attn.q_proj.lora_B.default.weight
model.llm.layers.1.self_attn.v_proj.lora_A.default.weight model.llm.layers.1.self_attn.v_proj.lora_B.default.weight
model.projector.layers.0.bias model.projector.layers.0.weight model.projector.layers.3.bias
model.projector.layers.3.weight model.prompt.text_ids
"""


def test_the_names_of_the_weights_are_those_of_the_layout(saved):
    """They are kept: whoever changes one raises STATE_DICT_LAYOUT, and loads the older layout or refuses it."""
    assert STATE_DICT_LAYOUT == saved[0].config.state_dict_layout == 1
    assert set(load_file(saved[1] / "model.safetensors")) == set(LAYOUT_1.split())


def test_a_checkpoint_of_another_layout_is_refused(saved):
    config = json.loads((saved[1] / "config.json").read_text())
    (saved[1] / "config.json").write_text(json.dumps(config | {"state_dict_layout": 2}))
    with pytest.raises(ValueError, match=r"state_dict_layout is 2; allowed: 1, .*the version that wrote it"):
        AULLMForAUDetection.from_pretrained(saved[1])


def test_what_it_was_trained_on_travels_with_it(tmp_path):
    fields = {"training_data": "synthetic-casme2 v2 (easy), SYNTHETIC faces", "clips_cropped": True}
    tiny_model(**fields).save_pretrained(tmp_path)
    loaded = AULLMForAUDetection.from_pretrained(tmp_path).config
    assert {name: getattr(loaded, name) for name in fields} == fields


def test_loading_reports_nothing_missing(saved, caplog):
    _, info = AULLMForAUDetection.from_pretrained(saved[1], output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert "newly initialized" not in caplog.text and "MISSING" not in caplog.text and "UNEXPECTED" not in caplog.text


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16, "float16"])
def test_dtype_is_the_frozen_llms(saved, dtype):
    model, path = saved
    loaded = AULLMForAUDetection.from_pretrained(path, dtype=dtype)
    wanted = torch.float16 if dtype == "float16" else torch.bfloat16
    assert loaded.model.llm.embed_tokens.weight.dtype == wanted
    assert {p.dtype for p in loaded.trained_parameters().values()} == {torch.float32}
    with torch.no_grad():
        torch.testing.assert_close(loaded(clips()).logits, model(clips()).logits, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("device_map", ["auto", "cpu", {"": "cpu"}])
def test_device_map(saved, device_map):
    model, path = saved
    loaded = AULLMForAUDetection.from_pretrained(path, device_map=device_map)
    with torch.no_grad():
        assert torch.equal(loaded(clips()).logits, model(clips()).logits)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_implementation_reaches_the_llm(saved, attention):
    loaded = AULLMForAUDetection.from_pretrained(saved[1], attn_implementation=attention)
    assert loaded.model.llm.config._attn_implementation == attention


def test_another_place_of_the_same_llm(saved, tmp_path):
    model, path = saved
    moved = tmp_path / "moved"
    shutil.copytree(tiny_llm(), moved)
    config = json.loads((path / "config.json").read_text())
    config["llm_name_or_path"] = "someone/somewhere-else"
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(OSError, match=r"someone/somewhere-else.*llm_name_or_path="):
        AULLMForAUDetection.from_pretrained(path)
    loaded = AULLMForAUDetection.from_pretrained(path, llm_name_or_path=str(moved))
    with torch.no_grad():
        assert torch.equal(loaded(clips()).logits, model(clips()).logits)


def test_an_llm_of_another_shape_is_refused_by_name(saved):
    with pytest.raises(ValueError, match=r"made for another LLM.*hidden_size is 32 there and 64 here"):
        AULLMForAUDetection.from_pretrained(saved[1], llm_name_or_path=tiny_llm(hidden_size=32))


def test_an_llm_of_another_family_is_refused_by_name(saved):
    with pytest.raises(ValueError, match=r"made for another LLM.*model_type is 'llama' there and 'qwen2' here"):
        AULLMForAUDetection.from_pretrained(saved[1], llm_name_or_path=tiny_llm("llama"))


def test_an_llm_of_the_same_shape_with_other_weights_is_refused(saved):
    other = tiny_llm(seed=1)
    with pytest.raises(ValueError, match="fingerprint"):
        AULLMForAUDetection.from_pretrained(saved[1], llm_name_or_path=other)
    AULLMForAUDetection.from_pretrained(saved[1], llm_name_or_path=other, llm_fingerprint=None)


def rewrite(path, change):
    weights = load_file(path / "model.safetensors")
    change(weights)
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})


def test_a_missing_weight_is_named(saved):
    rewrite(saved[1], lambda weights: weights.pop("classifier.bias"))
    with pytest.raises(OSError, match=r"lacks 1 trained tensors: classifier\.bias"):
        AULLMForAUDetection.from_pretrained(saved[1])


def test_a_weight_without_a_place_is_named(saved):
    rewrite(saved[1], lambda weights: weights.update({"model.extra": torch.zeros(2)}))
    with pytest.raises(OSError, match=r"no place for: model\.extra"):
        AULLMForAUDetection.from_pretrained(saved[1])


def test_a_weight_of_another_shape_is_named_with_both(saved):
    rewrite(saved[1], lambda weights: weights.update({"classifier.bias": torch.zeros(7)}))
    with pytest.raises(OSError, match=r"classifier\.bias of shape \(7,\).*\(3,\)"):
        AULLMForAUDetection.from_pretrained(saved[1])


def test_an_llm_that_lacks_a_weight_is_refused(saved, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_llm(), broken)
    rewrite(broken, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(OSError, match=r"lacks 1 of its weights: layers\.1\.mlp\.up_proj\.weight"):
        AULLMForAUDetection.from_pretrained(saved[1], llm_name_or_path=str(broken))


def test_unknown_arguments_are_refused(saved):
    with pytest.raises(TypeError, match="'load_in_5bit' is neither a field"):
        AULLMForAUDetection.from_pretrained(saved[1], load_in_5bit=True)


def test_a_model_without_a_base_says_what_to_pass(tmp_path):
    with pytest.raises(ValueError, match=r"base='\.\.\.'"):
        AULLMForAUDetection.from_base_llm(tiny_config())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_merged_export_stands_alone(family, dtype, tmp_path):
    base = build_tiny_llm(tmp_path / "base", family, dtype=dtype)
    model = AULLMForAUDetection.from_base_llm(tiny_config(), str(base)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
        expected = model(clips()).logits
        model.merge_and_export(tmp_path / "merged")
        assert torch.equal(model(clips()).logits, expected), "exporting leaves the model as it was"
        shutil.rmtree(base)
        merged = AULLMForAUDetection.from_pretrained(tmp_path / "merged")
        tolerance = 1e-5 if dtype == "float32" else 0.05
        torch.testing.assert_close(merged(clips()).logits, expected, atol=tolerance, rtol=tolerance)
    assert merged.config.lora is None and merged.config.save_base_weights
    assert not any("lora_" in name or "base_layer" in name for name in merged.state_dict())
    merged.save_pretrained(tmp_path / "again")
    assert set(load_file(tmp_path / "again" / "model.safetensors")) == set(merged.state_dict())


def test_sharded_and_untied_bases(tmp_path):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    source = tiny_llm()
    config = Qwen2Config.from_pretrained(source)
    config.tie_word_embeddings = False
    base = tmp_path / "base"
    shutil.copytree(source, base)
    (base / "model.safetensors").unlink()
    Qwen2ForCausalLM(config).save_pretrained(base, max_shard_size="100KB")
    assert (base / "model.safetensors.index.json").exists()
    model = AULLMForAUDetection.from_base_llm(tiny_config(), str(base))
    model.save_pretrained(tmp_path / "fold")
    loaded = AULLMForAUDetection.from_pretrained(tmp_path / "fold")
    with torch.no_grad():
        assert torch.equal(loaded(clips()).logits, model.eval()(clips()).logits)


def test_no_pickle_is_written(saved):
    assert not [p.name for p in saved[1].iterdir() if p.suffix in {".bin", ".pt", ".pth", ".pkl"}]


def test_training_a_loaded_model_leaves_its_file_alone_and_saving_over_it_is_safe(saved):
    """The tensors come from a memory-mapped file: writes must stay in memory, and saving must not pull it away."""
    _, path = saved
    before = (path / "model.safetensors").read_bytes()
    loaded = AULLMForAUDetection.from_pretrained(path)
    with torch.no_grad():
        for parameter in loaded.trained_parameters().values():
            parameter.add_(1.0)
        assert (path / "model.safetensors").read_bytes() == before
        expected = loaded(clips()).logits
        loaded.save_pretrained(path)
        assert torch.equal(loaded(clips()).logits, expected)
        assert torch.equal(AULLMForAUDetection.from_pretrained(path)(clips()).logits, expected)


def test_attention_implementation_through_the_auto_class(saved):
    loaded = AutoModel.from_pretrained(saved[1], attn_implementation="eager")
    assert loaded.model.llm.config._attn_implementation == "eager"
    assert loaded(clips(2), output_attentions=True).attentions[0].shape[0] == 2


def test_a_trained_model_keeps_its_prompt(saved):
    segments = saved[0].config.prompt_segments
    with pytest.raises(ValueError, match=r"prompt_segments.*not those the checkpoint"):
        AULLMForAUDetection.from_pretrained(saved[1], prompt_segments=[segments[0][::-1], "visual"])
    with pytest.raises(ValueError, match="compiled from"):
        AULLMForAUDetection.from_pretrained(saved[1], prompt_template="Other:{visual}")


def test_trained_at_half_precision_or_float16_and_loaded_at_another(tmp_path):
    model = AULLMForAUDetection.from_base_llm(tiny_config(), tiny_llm(), dtype="float16")
    model.bfloat16().save_pretrained(tmp_path)
    loaded = AULLMForAUDetection.from_pretrained(tmp_path, dtype="bfloat16")
    assert {p.dtype for p in loaded.trained_parameters().values()} == {torch.float32}


def test_the_older_name_of_dtype(saved):
    assert AULLMForAUDetection.from_pretrained(saved[1], torch_dtype="bfloat16").model.llm.dtype == torch.bfloat16


@pytest.mark.skipif(Version(accelerate.__version__) < Version("1.15"), reason="it refuses to put a whole model there")
def test_offloaded_to_disk(saved, tmp_path):
    loaded = AULLMForAUDetection.from_pretrained(
        saved[1], device_map={"": "disk"}, offload_folder=str(tmp_path / "offload")
    )
    with torch.no_grad():
        torch.testing.assert_close(loaded(clips()).logits, saved[0](clips()).logits, atol=1e-6, rtol=1e-6)


def test_a_fresh_start_after_a_merged_export(saved, tmp_path):
    saved[0].merge_and_export(tmp_path / "merged")
    merged = AULLMForAUDetection.from_pretrained(tmp_path / "merged")
    with torch.no_grad():
        for parameter in merged.trained_parameters().values():
            parameter.add_(0.5)
    merged.reset_trained(0)
    fresh = tiny_model(randomized=False)
    for name, parameter in merged.trained_parameters().items():
        assert torch.equal(parameter, fresh.state_dict()[name]), name


def test_overrides_beside_a_given_configuration(saved):
    config = AutoConfig.from_pretrained(saved[1])
    config.llm_name_or_path = "gone"
    loaded = AULLMForAUDetection.from_pretrained(saved[1], config=config, llm_name_or_path=tiny_llm())
    assert loaded.config.llm_name_or_path == tiny_llm()


def test_another_kind_of_model_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds a model of type 'qwen2', not an AU-LLM checkpoint"):
        AULLMForAUDetection.from_pretrained(tiny_llm())


def test_a_cut_file_is_named(saved):
    file = saved[1] / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(OSError, match=r"model\.safetensors is damaged"):
        AULLMForAUDetection.from_pretrained(saved[1])


def test_what_cannot_be_done_to_a_checkpoint_says_so(saved, tmp_path):
    with pytest.raises(ValueError, match="always one file"):
        saved[0].save_pretrained(tmp_path, max_shard_size="1KB")
    saved[0].merge_and_export(tmp_path / "merged")
    with pytest.raises(ValueError, match="quantise more than"):
        AULLMForAUDetection.from_pretrained(tmp_path / "merged", quantization_config={"load_in_4bit": True})


def test_every_target_module_must_match(tmp_path):
    config = tiny_config(lora={"r": 2, "target_modules": ["q_proj", "v_projj"]})
    with pytest.raises(ValueError, match="'v_projj', which matches no layer"):
        AULLMForAUDetection.from_base_llm(config, tiny_llm())


def test_the_commit_of_a_base_llm_is_pinned(tmp_path):
    """Also offline, from the cache; a folder has none."""
    commit = "0123456789abcdef" * 2 + "01234567"
    repository = tmp_path / "models--me--llm"
    (repository / "snapshots" / commit).mkdir(parents=True)
    shutil.copy(f"{tiny_llm()}/config.json", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    hub = {"cache_dir": tmp_path, "local_files_only": True}
    assert pinned_revision("me/llm", None, **hub) == pinned_revision("me/llm", "main", **hub) == commit
    assert pinned_revision("me/other", "v1", **hub) == "v1", "the loader that follows says what is missing"
    assert pinned_revision(str(repository / "snapshots" / commit), None) is None


def test_a_self_contained_checkpoint_with_more_or_less_than_it_should_is_named(saved, tmp_path):
    saved[0].merge_and_export(tmp_path / "merged")
    rewrite(tmp_path / "merged", lambda weights: weights.update({"model.extra": torch.zeros(2)}))
    with pytest.raises(OSError, match=r"no place for: model\.extra"):
        AULLMForAUDetection.from_pretrained(tmp_path / "merged")
    rewrite(tmp_path / "merged", lambda weights: (weights.pop("model.extra"), weights.pop("classifier.bias")))
    with pytest.raises(OSError, match=r"lacks classifier\.bias"):
        AULLMForAUDetection.from_pretrained(tmp_path / "merged")
