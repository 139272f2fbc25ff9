"""What every projector and every prompt layout must hold."""

import copy

import pytest
import torch
from transformers import AutoModel, AutoModelForVideoClassification

from aullm_hf.model import AULLMForAUDetection, AULLMModel
from support.tiny import (
    LAYOUTS,
    PROJECTORS,
    SUBSETS,
    built_model,
    clips,
    labels,
    tiny_config,
    tiny_llm,
    tiny_model,
)

# Each projector, and each place of the visual token with the published one.
VARIANTS = [{"projector": projector} for projector in PROJECTORS]
VARIANTS += [{"prompt_template": layout} for layout in LAYOUTS]
VARIANTS += [
    {"projector_activation": "sigmoid"},
    {"token_norm": True},
    {"motion": "flow"},
    {"motion": "both", "image_size": 40},
    {"lora": None},
    {"lora": None, "head_reads": "token"},
    {"num_frames": 9, "image_size": 40},
    *SUBSETS.values(),
    {"projector": "prompt", "mge": True},
    {"mge": True, "graph": True, "nodes": "chunk", "num_frames": 9, "image_size": 40},
    {"graph": True, "prompt_template": "Evidence: {content} Relations: {instruction} Active:"},
    {"intensity": True},
    {"intensity": True, **SUBSETS["mge+graph+ccr"]},
]
every_variant = pytest.mark.parametrize("fields", VARIANTS, ids=[str(v)[1:40] for v in VARIANTS])


@every_variant
def test_save_and_load_give_the_same_logits(fields, tmp_path):
    model = tiny_model(**fields)
    x = clips(config=model.config)
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(x).logits
        for loader in (AULLMForAUDetection, AutoModel, AutoModelForVideoClassification):
            loaded = loader.from_pretrained(tmp_path)
            assert torch.equal(loaded(x).logits, expected)
        body = AULLMModel.from_pretrained(tmp_path)
        assert torch.equal(body(x).last_hidden_state, model.model(x).last_hidden_state)
    assert set(loaded.trained_parameters()) == set(model.trained_parameters())
    state = loaded.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


@every_variant
def test_a_batch_equals_its_rows(fields):
    model = tiny_model(**fields)
    x = clips(6, config=model.config)
    with torch.no_grad():
        batch = model(x).logits
        rows = torch.cat([model(row[None]).logits for row in x])
        shuffled = model(x[[3, 0, 5, 1, 4, 2]]).logits
    torch.testing.assert_close(batch, rows, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(batch[[3, 0, 5, 1, 4, 2]], shuffled, atol=1e-5, rtol=1e-5)


@every_variant
def test_evaluation_is_deterministic_and_training_is_not(fields):
    model = tiny_model(**{"vision_dropout": 0.3, "projector_dropout": 0.3, **fields})
    x = clips(config=model.config)
    with torch.no_grad():
        assert torch.equal(model(x).logits, model(x).logits)
        model.train()
        assert not torch.equal(model(x).logits, model(x).logits)


@every_variant
def test_everything_trained_gets_a_gradient_and_moves(fields):
    model = tiny_model(randomized=False, **fields).train()
    x, y = clips(config=model.config), labels()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.trained_parameters().values(), lr=0.5)
    for step in range(2):
        optimizer.zero_grad()
        model(x, labels=y, intensities=3 * y if model.config.intensity else None).loss.backward()
        for name, parameter in model.trained_parameters().items():
            if name.endswith("log_alpha"):
                continue  # the filter's gain cancels
            assert parameter.grad is not None, name
            starts_at_zero = "mge" in name and not name.endswith("mge.scale")  # what the block adds is scaled by zero
            if ("lora_A" in name or starts_at_zero) and step == 0:
                assert parameter.grad.abs().max() == 0  # while B is zero
            else:
                assert parameter.grad.abs().max() > 0, name
        optimizer.step()
    trained_names = set(model.trained_parameters())
    for name, tensor in model.state_dict().items():
        if name.endswith("log_alpha") or "norm" in name:
            continue  # running means move without being trained
        assert torch.equal(tensor, before[name]) != (name in trained_names), name


@every_variant
def test_tuple_and_dictionary_agree_and_extras_come_only_on_request(fields):
    model = tiny_model(**fields)
    x = clips(config=model.config)
    with torch.no_grad():
        out = model(x, labels=labels())
        optional = {"loss_parts": model.config.graph, "intensity": model.config.intensity}
        assert set(out) == {"loss", "logits"} | {name for name, there in optional.items() if there}
        as_tuple = model(x, labels=labels(), return_dict=False)
        assert torch.equal(as_tuple[0], out.loss) and torch.equal(as_tuple[1], out.logits)
        full = model(x, output_evidence=True)
    config, evidence = model.config, full.evidence
    assert evidence.channel_attention.shape == (5, config.num_frames - 2, config.backbone_channels[1])
    assert evidence.mid_map.shape == (5, *config.mid_shape)
    if config.projector == "prompt":
        assert evidence.tokens is None
    else:
        assert evidence.tokens.shape == (5, len(config.token_slots), config.text_config.hidden_size)
    cells = config.mid_shape[1:]
    weights, shares, heard = evidence.branch_weights, evidence.branch_shares, evidence.relation_strengths
    assert (weights is not None) == (shares is not None) == config.mge
    if config.mge:
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
        assert weights.shape == (5, 4) and shares.shape == (5, 4, *cells)
    for given in (heard, evidence.au_attention, evidence.aux_logits, evidence.evidence_logits):
        assert (given is not None) == config.graph
    if config.graph:
        assert evidence.au_attention.shape == (5, 3, *cells)
        assert evidence.aux_logits.shape == evidence.evidence_logits.shape == (5, 3)
        torch.testing.assert_close(evidence.au_attention.flatten(2).sum(dim=2), torch.ones(5, 3))
        torch.testing.assert_close(heard.sum(dim=(2, 3)), torch.ones(5, 3))
    extras = set(type(full).__dataclass_fields__) - {"loss", "logits"}
    assert extras == set(config.keys_to_ignore_at_inference)


@every_variant
def test_only_the_modules_a_projector_uses_are_built(fields):
    model = tiny_model(**fields)
    assert (model.model.high is None) == (model.config.projector == "mid")
    assert model.classifier.in_features == model.config.head_input
    with torch.no_grad():
        x_att, _ = model.model.backbone(
            torch.rand(1, model.config.motion_channels, model.config.num_frames - 1, *[model.config.image_size] * 2)
        )
    assert x_att.shape[1:] == model.config.attended_shape
    assert model.model.backbone.pool2(x_att).shape[1:] == model.config.mid_shape


def test_the_published_sizes():
    config = tiny_config(image_size=64, backbone_channels=[32, 64], high_dim=256, se_reduction=16)
    with torch.device("meta"):
        config.prompt_segments = [[1], "visual"]
        model = AULLMForAUDetection(config)
    body = model.model
    assert body.high.linear.weight.shape == (256, 10368)
    d = config.text_config.hidden_size
    assert body.projector.layers[0].weight.shape == ((10368 + 256 + d) // 2, 10368 + 256)
    assert body.backbone.attention.squeeze.weight.shape == (4, 64)
    assert config.projector_input == 10624


# -------------------------------------------------------------------- fresh models


def test_a_fresh_adapter_changes_nothing_and_stays_float32():
    plain, adapted = (tiny_model(randomized=False, **f) for f in ({"lora": None}, {}))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            assert parameter.abs().max() == 0
        if "lora_A" in name:
            assert 0.01 < parameter.std() < 0.2
    x = clips()
    with torch.no_grad():
        assert torch.equal(plain(x).logits, adapted(x).logits)  # the seed gives both the same start
    half = AULLMForAUDetection.from_base_llm(tiny_config(), tiny_llm(), dtype="bfloat16")
    assert {p.dtype for n, p in half.named_parameters() if "lora_" in n} == {torch.float32}
    assert {p.dtype for n, p in half.named_parameters() if ".llm." in n and "lora_" not in n} == {torch.bfloat16}
    assert half.config.llm_dtype == "bfloat16"


def test_the_seed_alone_decides_what_a_fresh_model_is():
    torch.manual_seed(1)
    first = built_model(randomized=False, seed=3)
    torch.manual_seed(2)
    second = built_model(randomized=False, seed=3)
    other = built_model(randomized=False, seed=4)
    third = built_model(randomized=True, seed=5).train()
    third(clips()), third.reset_trained(3)  # also after use: batch norm's statistics have moved
    a, b, c, d = (model.state_dict() for model in (first, second, third, other))
    assert all(torch.equal(a[name], b[name]) and torch.equal(a[name], c[name]) for name in a)
    assert any(not torch.equal(a[name], d[name]) for name in first.trained_parameters())
    before = torch.get_rng_state()
    first.reset_trained(9)
    assert torch.equal(torch.get_rng_state(), before), "no global seed is reset"


def test_the_frozen_llm_is_the_base_llm():
    base = AutoModel.from_pretrained(tiny_llm())
    model = tiny_model(randomized=False)
    own = {n.replace(".base_layer", ""): p for n, p in model.model.llm.named_parameters() if "lora_" not in n}
    for name, parameter in base.named_parameters():
        assert torch.equal(own[name], parameter), name
        assert not own[name].requires_grad


def test_compiling_does_not_change_the_logits():
    model = tiny_model(layers=1)  # every layer is the same code, and is compiled again
    x = clips()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x).logits, model(x).logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(compiled(x).logits, model(x).logits, atol=1e-5, rtol=1e-5)
    torch._dynamo.reset()


@pytest.mark.slow
def test_the_inductor_does_not_change_the_logits():
    model = tiny_model()
    x = clips()
    compiled = torch.compile(model)
    torch.testing.assert_close(compiled(x).logits, model(x).logits, atol=1e-5, rtol=1e-4)
    torch._dynamo.reset()


def test_bfloat16_autocast_stays_close_and_gives_a_float32_loss():
    model = tiny_model()
    x, y = clips(), labels()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(x, labels=y)
    assert out.loss.dtype == torch.float32
    torch.testing.assert_close(out.logits.float(), model(x).logits, atol=0.1, rtol=0.1)
    out.loss.backward()


# -------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            torch.rand(2, 5, 1, 32, 32),
            r"pixel_values is \(2, 5, 1, 32, 32\); expected a tensor \(clips, 6, 1, 32, 32\)",
        ),
        (torch.rand(6, 1, 32, 32), "expected a tensor"),
        (torch.rand(0, 6, 1, 32, 32), "holds no clip"),
        ([[1]], "pixel_values is list"),
        (torch.zeros(2, 6, 1, 32, 32, dtype=torch.uint8), "dtype torch.uint8; expected floating point"),
    ],
)
def test_wrong_input_is_named(x, message):
    with pytest.raises(ValueError, match=message):
        tiny_model()(x)


def test_wrong_labels_are_named():
    with pytest.raises(ValueError, match=r"labels has shape \(5, 2\).*\(5, 3\).*AU1, AU4, AU12"):
        tiny_model()(clips(), labels=torch.zeros(5, 2))


def test_wrong_target_modules_name_the_right_ones():
    config = tiny_config(lora={"r": 2, "target_modules": ["c_attn"]})
    with pytest.raises(ValueError, match=r"c_attn.*which this LLM has not; it has .*q_proj"):
        AULLMForAUDetection.from_base_llm(config, tiny_llm())
