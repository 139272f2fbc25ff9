"""Each baseline's layers and sizes are its source's, counted here by hand; and what every one of them must hold."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoProcessor, ResNetConfig, ResNetModel

from aullm_hf.baselines import ARCHITECTURES, BaselineConfig, BaselineForAUDetection, BaselineVideoProcessor
from aullm_hf.model.losses import asymmetric_loss
from support.tiny_baselines import seen, targets, tiny_baseline

NETWORKS = [name for name in ARCHITECTURES if not name.endswith("svm")]


def conv(inputs, outputs, *kernel):
    return outputs * (inputs * int(np.prod(kernel)) + 1)


def basic_resnet(blocks, channels):
    """Weights of a ResNet of basic blocks without its head, added up from the paper's description (no biases)."""
    total = channels * 64 * 49 + 2 * 64
    inputs = 64
    for width, count in zip((64, 128, 256, 512), blocks, strict=True):
        for _ in range(count):
            total += inputs * width * 9 + width * width * 9 + 2 * 2 * width
            if inputs != width:  # the shortcut's projection
                total += inputs * width + 2 * width
            inputs = width
    return total


HEAD_512 = 512 * 8 + 8
COUNTS = {
    "led-sssnet": 3 + conv(1, 32, 1, 5, 5) + 2 * 32 + conv(32, 64, 2, 3, 3) + 2 * 64
    + (64 * 2 * 9 * 9 + 1) * 256 + 256 * 8 + 8,
    "sssnet-flow": conv(3, 32, 5, 5) + 2 * 32 + conv(32, 64, 3, 3) + 2 * 64 + (64 * 9 * 9 + 1) * 256 + 256 * 8 + 8,
    "resnet18": basic_resnet((2, 2, 2, 2), 3) + HEAD_512,
    "resnet34": basic_resnet((3, 4, 6, 3), 3) + HEAD_512,
    "led-resnet18": 3 + basic_resnet((2, 2, 2, 2), 5) + HEAD_512,
    "sca": basic_resnet((2, 2, 2, 2), 3) + 2 + HEAD_512,
    "fitnet": basic_resnet((2, 2, 2, 2), 3) + conv(128, 128, 1, 1) + HEAD_512,
    **dict.fromkeys(("sp", "at", "dvasp"), basic_resnet((2, 2, 2, 2), 3) + HEAD_512),
    "flow-svm": 3 * 64 * 8 + 8,
    "lbp-top-svm": 3 * 64 * 59 * 8 + 8,
}  # fmt: skip


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_parameters_are_those_of_the_source(name):
    with torch.device("meta"):
        model = BaselineForAUDetection(BaselineConfig(architecture=name))
    assert sum(one.numel() for one in model.parameters()) == COUNTS[name]


def kinds(module):
    return [type(one).__name__.rstrip("23d") for one in module]


def test_the_sssnets_pool_before_batch_norm_and_drop_half():
    """SPEC section 1's backbone without squeeze-and-excitation, and its 2-D form on three channels of flow."""
    order = ["Conv", "ReLU", "MaxPool", "BatchNorm", "Dropout"]
    for name, kernels in (("led-sssnet", [(1, 5, 5), (2, 3, 3)]), ("sssnet-flow", [(5, 5), (3, 3)])):
        network = BaselineForAUDetection(BaselineConfig(architecture=name)).model
        assert kinds(network.backbone) == order * 2
        assert [one.kernel_size for one in network.backbone if "Conv" in type(one).__name__] == kernels
        assert {one.p for one in network.modules() if "Dropout" in type(one).__name__} == {0.5}
        assert network.high.out_features == 256
    assert BaselineForAUDetection(BaselineConfig(architecture="led-sssnet")).model.high.in_features == 10_368


@pytest.mark.parametrize(("name", "depths"), [("resnet18", [2, 2, 2, 2]), ("resnet34", [3, 4, 6, 3])])
def test_a_resnet_gives_what_transformers_gives_with_the_same_weights(name, depths):
    model = BaselineForAUDetection(BaselineConfig(architecture=name)).eval()
    model.reset_trained(3)
    theirs = ResNetModel(ResNetConfig(layer_type="basic", depths=depths, hidden_sizes=[64, 128, 256, 512])).eval()
    theirs.load_state_dict(model.model.backbone.state_dict())
    pixels = seen(model, 2)
    onset, middle = pixels[:, 0], pixels[:, 1]
    with torch.no_grad():
        pictures = model.model.scale(torch.cat([onset, middle, middle - onset], dim=1))
        expected = model.classifier(theirs(pictures).pooler_output.flatten(1))
        assert torch.allclose(model(pixels).logits, expected, atol=1e-5)


def test_a_resnet_starts_as_transformers_starts_it():
    """Kaiming's normal by what goes out, for every convolution."""
    model = BaselineForAUDetection(BaselineConfig(architecture="resnet18"))
    model.reset_trained(0)
    for one in (module for module in model.modules() if isinstance(module, nn.Conv2d)):
        expected = (2 / (one.out_channels * np.prod(one.kernel_size))) ** 0.5
        assert one.weight.std().item() == pytest.approx(expected, rel=0.1)


# -------------------------------------------------------------------- what all of them hold


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_checkpoint_gives_the_same_logits_again(name, tmp_path):
    model = tiny_baseline(name)
    model.config.thresholds["AU4"], model.config.calibration["AU4"] = 0.3, [2.0, -1.0]
    model.save_pretrained(tmp_path)
    BaselineVideoProcessor.for_config(model.config, view=model.view, value_range="byte").save_pretrained(tmp_path)
    again, processor = AutoModel.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is BaselineForAUDetection and not again.training
    assert isinstance(processor, BaselineVideoProcessor)
    assert (processor.view, processor.value_range) == (model.view, "byte")
    pixels = seen(model)
    with torch.no_grad():
        logits = model(pixels).logits
        assert torch.equal(again(pixels).logits, logits)
        assert torch.equal(again.probabilities(logits)[:, 1], (2 * logits[:, 1] - 1).sigmoid())
    assert again.config.thresholds["AU4"] == 0.3 and again.config.labels == ["AU1", "AU4", "AU12"]
    assert not list(tmp_path.glob("*.py"))  # it needs the package; no code travels
    again.reset_trained(0)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_batch_equals_its_rows_and_outputs_equal_as_tuple(name):
    model = tiny_baseline(name)
    pixels = seen(model)
    with torch.no_grad():
        logits = model(pixels).logits
        rows = torch.cat([model(pixels[i : i + 1]).logits for i in range(len(pixels))])
        assert torch.allclose(logits, rows, atol=1e-5) and logits.shape == (5, 3)
        loss, as_tuple = model(pixels, targets(), return_dict=False)
        assert torch.equal(as_tuple, logits) and torch.equal(loss, model(pixels, targets()).loss)


def test_the_loss_is_the_asymmetric_one_with_the_configurations_settings():
    model = tiny_baseline("led-sssnet", loss_gamma_neg=2.0, loss_margin=0.1)
    output = model(seen(model), targets())
    expected = asymmetric_loss(output.logits, targets(), gamma_neg=2.0, margin=0.1)
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_learns(name):
    model = tiny_baseline(name, dropout=0.0).train()
    if model.teacher_names:
        model.learn_from([tiny_baseline(teacher) for teacher in model.teacher_names])
    trained = {key: one for key, one in model.named_parameters() if one.requires_grad}
    before = {key: one.detach().clone() for key, one in trained.items()}
    optimizer = torch.optim.Adam(trained.values(), lr=1e-2)
    pixels = seen(model, 6)
    for _ in range(2):
        optimizer.zero_grad()
        model(pixels, targets(6)).loss.backward()
        optimizer.step()
    still = {key for key, one in trained.items() if torch.equal(one, before[key])}
    assert still <= {"model.led.log_alpha"}  # it cancels in the filter's normalisation


@pytest.mark.parametrize("name", NETWORKS)
def test_a_fresh_start_follows_from_the_seed_alone(name):
    model = tiny_baseline(name, seed=1)
    first = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(99)
    state = torch.get_rng_state()
    model.reset_trained(2)
    assert torch.equal(torch.get_rng_state(), state)
    assert any(not torch.equal(value, first[key]) for key, value in model.state_dict().items())
    model.reset_trained(1)
    assert all(torch.equal(value, first[key]) for key, value in model.state_dict().items())


# -------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dropout": 1.0}, r"BaselineConfig\.dropout is 1\.0; allowed: a number from 0 to 0\.999"),
        ({"svm_c": 0}, r"BaselineConfig\.svm_c is 0; allowed"),
        ({"resnet_widths": [4, 8]}, r"BaselineConfig\.resnet_widths is \[4, 8\]; allowed: 4 whole numbers"),
        ({"thresholds": {"AU1": 0.5}}, r"BaselineConfig\.thresholds is .*; allowed: a dictionary with the keys"),
        ({"aus": [1, 1]}, r"BaselineConfig\.id2label .* each AU once"),
    ],
)
def test_a_wrong_field_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        BaselineConfig(**fields)


def test_an_unknown_architecture_lists_those_there_are():
    with pytest.raises(ValueError, match=r"architecture is 'vgg'; allowed: 'lbp-top-svm', .*'led-sssnet'"):
        BaselineForAUDetection(BaselineConfig(architecture="vgg"))


def test_the_configuration_survives_json(tmp_path):
    config = BaselineConfig(architecture="sp", aus=[2, 7], distill_weight=5.0, backbone_channels=(4, 8))
    config.save_pretrained(tmp_path)
    assert BaselineConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()
