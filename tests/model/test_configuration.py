"""The configuration as data: exact round trips, and an error for everything that is not allowed."""

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, PreTrainedConfig

from aullm_hf.baselines import BaselineConfig
from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from support.tiny import tiny_config

LORAS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"r": st.integers(1, 64), "target_modules": st.just(["q_proj", "v_proj"])},
        optional={"lora_alpha": st.integers(1, 64), "lora_dropout": st.floats(0, 0.9), "use_rslora": st.booleans()},
    ),
)


@st.composite
def valid_fields(draw):
    aus = draw(st.lists(st.integers(1, 64), min_size=1, max_size=12, unique=True))
    projector = draw(st.sampled_from(["efp", "high", "mid", "linear", "prompt"]))
    slot = "{prompt}" if projector == "prompt" else "{visual}"
    r1, r2 = draw(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=2, unique=True))
    return {
        "aus": aus,
        "calibration": {f"AU{au}": [draw(st.floats(0.01, 9)), draw(st.floats(-9, 9))] for au in aus},
        "thresholds": {f"AU{au}": draw(st.floats(0, 1)) for au in aus},
        "num_frames": draw(st.integers(4, 20)),
        "image_size": draw(st.integers(16, 128)),
        "led_r1": r1,
        "led_r2": r2,
        "backbone_channels": draw(st.lists(st.integers(4, 64), min_size=2, max_size=2)),
        "se_reduction": draw(st.integers(1, 4)),
        "projector": projector,
        "projector_hidden": draw(st.one_of(st.none(), st.integers(1, 999))),
        "prompt_template": draw(st.text(alphabet="ab :é", max_size=9))
        + slot
        + draw(st.text(alphabet="ab", max_size=9)),
        "lora": draw(LORAS),
        "llm_dtype": draw(st.sampled_from([None, "float32", "bfloat16"])),
        "loss_gamma_neg": draw(st.one_of(st.just(0.0), st.floats(1, 9))),
        "clips_per_sequence": draw(st.one_of(st.none(), st.integers(1, 99))),
    }


@settings(max_examples=50, deadline=None)
@given(fields=valid_fields())
def test_json_round_trip_is_exact(fields, tmp_path_factory):
    folder = tmp_path_factory.mktemp("config")
    config = AULLMConfig(**fields)
    config.save_pretrained(folder)
    for loaded in (AULLMConfig.from_pretrained(folder), AutoConfig.from_pretrained(folder)):
        assert loaded.to_json_string() == config.to_json_string()
        assert {**loaded.to_dict(), "_name_or_path": ""} == config.to_dict()
    assert loaded.aus == fields["aus"]
    assert loaded.thresholds == fields["thresholds"] and loaded.lora == fields["lora"]


def test_defaults_are_the_published_model():
    config = AULLMConfig()
    assert config.aus == [1, 2, 4, 7, 12, 14, 15, 17]
    assert config.labels[0] == "AU1" and config.num_labels == 8 and config.label2id["AU17"] == 7
    assert config.problem_type == "multi_label_classification"
    assert config.mid_shape == (64, 2, 9, 9) and config.mid_features == 10368
    assert config.text_config.hidden_size == 1536 and config.text_config.model_type == "qwen2"
    assert config.lora == {"r": 16, "lora_alpha": 32, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"]}
    assert set(config.thresholds.values()) == {0.5} and config.calibration["AU4"] == [1.0, 0.0]


def test_defaults_are_not_shared_between_configurations():
    first = AULLMConfig()
    first.lora["r"] = 1
    first.thresholds["AU1"] = 0.1
    assert AULLMConfig().lora["r"] == 16 and AULLMConfig().thresholds["AU1"] == 0.5


INVALID = [
    ("aus", [], "a list of AU numbers"),
    ("aus", [1, 1], "each AU once"),
    ("aus", ["AU1"], "whole number"),
    ("id2label", {}, "a dictionary of AU names"),
    ("id2label", ["AU1"], "a dictionary of AU names"),
    ("label2id", {"AU1": 2}, "the inverse of id2label"),
    ("aus", 5, "a list of AU numbers"),
    ("text_config", "qwen2", "a dictionary or configuration"),
    ("led_alpha", 10**400, "above 0"),
    ("backbone_channels", 32, "2 whole numbers"),
    ("llm_name_or_path", " ", "text, or None"),
    ("lora", {"r": 4, "target_modules": ["q_proj"], "use_rslora": "yes"}, "True or False"),
    ("lora", {"r": 4, "target_modules": ["q_proj"], "rank_pattern": [1]}, "a dictionary from layer names"),
    ("lora", {"r": 4, "target_modules": ["q_proj"], "layers_to_transform": "all"}, "a layer's number"),
    ("calibration", {f"AU{a}": [1.0, float("inf")] for a in (1, 4, 12)}, "finite and a above 0"),
    ("id2label", {0: "brow"}, "a dictionary of AU names"),
    ("id2label", {0: "AU1", 2: "AU2"}, "without gaps"),
    ("problem_type", "regression", "multi_label_classification"),
    ("calibration", {"AU1": [1.0, 0.0]}, "the keys"),
    ("calibration", {f"AU{a}": [0.0, 0.0] for a in (1, 4, 12)}, "above 0"),
    ("calibration", {f"AU{a}": [1.0] for a in (1, 4, 12)}, "two numbers"),
    ("thresholds", {"AU1": 0.5}, "the keys"),
    ("thresholds", {f"AU{a}": 1.5 for a in (1, 4, 12)}, "from 0 to 1"),
    ("thresholds", {f"AU{a}": float("nan") for a in (1, 4, 12)}, "from 0 to 1"),
    ("num_frames", 3, "from 4"),
    ("num_frames", 6.0, "whole number"),
    ("num_frames", True, "whole number"),
    ("image_size", "64", "whole number"),
    ("image_size", 8, "from 16"),
    ("led_alpha", 0.0, "above 0"),
    ("led_r1", 1.0, "strictly between 0 and 1"),
    ("led_r2", 0.4, "anything but led_r1"),
    ("backbone_channels", [32], "2 whole numbers"),
    ("backbone_channels", [32, 0], "from 1"),
    ("se_reduction", 99, "from 1 to 8"),
    ("high_dim", 0, "from 1"),
    ("vision_dropout", 1.0, "from 0 to 0.999"),
    ("projector", "mlp", "'efp', 'high', 'mid', 'linear', 'prompt'"),
    ("projector_hidden", 0, "from 1"),
    ("projector_dropout", -0.1, "from 0"),
    ("projector_activation", "tanh", "'none', 'relu', 'sigmoid', 'gelu'"),
    ("token_norm", "yes", "True or False"),
    ("num_prompt_tokens", 0, "from 1"),
    ("llm_name_or_path", 7, "text, or None"),
    ("llm_dtype", "int8", "'float32', 'bfloat16', 'float16'"),
    ("lora", "r16", "a dictionary"),
    ("lora", {"r": 0, "target_modules": ["q_proj"]}, "from 1"),
    ("lora", {"r": 4}, "names of linear layers"),
    ("lora", {"r": 4, "target_modules": ["q_proj"], "bias": "all"}, "keys r, lora_alpha"),
    ("lora", {"r": 4, "target_modules": ["q_proj"], "lora_dropout": 1.0}, "from 0"),
    ("save_base_weights", 1, "True or False"),
    ("prompt_template", "", "text, or None"),
    ("prompt_template", "no slot", r"the slot \{visual\} and no other"),
    ("prompt_template", "{visual}{content}", r"the slot \{visual\} and no other"),
    ("prompt_template", "{prompt}", r"the slot \{visual\} and no other"),
    ("prompt_template", "a } b {visual}", "braces in pairs"),
    ("prompt_segments", ["content"], "the slots of the template"),
    ("prompt_segments", [[1, 2]], "the slots of the template"),
    ("prompt_segments", [[], "visual"], "at least one"),
    ("prompt_segments", [[10**7], "visual"], "below the vocabulary"),
    ("clips_per_sequence", 0, "of at least 1|from 1"),
    ("loss_gamma_pos", -1.0, "0 or at least 1"),
    ("loss_gamma_neg", 0.5, "0 or at least 1"),
    ("loss_margin", 1.0, "from 0 to 0.99"),
    ("loss_focus_gradient", None, "True or False"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), INVALID, ids=[f"{n}={v}"[:40] for n, v, _ in INVALID])
def test_every_invalid_value_names_field_value_and_what_is_allowed(name, value, allowed):
    field = "id2label" if allowed in ("each AU once",) else name
    with pytest.raises(ValueError, match=rf"AULLMConfig\.{field}.* is [\s\S]*allowed: .*({allowed})"):
        tiny_config(**{"aus": [1, 4, 12], **({} if name != "id2label" else {"aus": None}), name: value})


def test_contradicting_labels_are_refused():
    with pytest.raises(ValueError, match="differ"):
        AULLMConfig(aus=[1, 2], id2label={0: "AU4"})


def test_token_norm_needs_text_to_take_the_norm_from():
    with pytest.raises(ValueError, match=r"token_norm.*without text"):
        tiny_config(token_norm=True, prompt_template="{visual}")


ASSIGNED = [row for row in INVALID if row[0] != "aus"]  # which is an argument, not a field


@pytest.mark.parametrize(("name", "value", "allowed"), ASSIGNED, ids=[f"{n}={v}"[:40] for n, v, _ in ASSIGNED])
def test_a_wrong_assignment_is_refused_at_once_or_when_the_model_is_made(name, value, allowed):
    config = tiny_config(prompt_segments=[[1], "visual"])
    with pytest.raises(ValueError, match=rf"AULLMConfig\.{name}.* is [\s\S]*allowed: .*({allowed})"):
        setattr(config, name, value)
        AULLMForAUDetection(config)


def test_a_wrong_assignment_leaves_the_field_as_it_was():
    config = AULLMConfig()
    for name, value in (("projector", 5), ("num_frames", 6.0), ("led_r1", 1.0), ("lora", {"r": 0})):
        before = getattr(config, name)
        with pytest.raises(ValueError, match=rf"^AULLMConfig\.{name}.* is .*; allowed: "):
            setattr(config, name, value)
        assert getattr(config, name) == before
    config.led_alpha = 1  # a whole number is a number, also from JSON
    assert AULLMConfig.from_dict({"led_alpha": 1}).led_alpha == 1


def test_what_is_changed_inside_a_list_or_dictionary_is_seen_when_the_model_is_made():
    config = tiny_config(prompt_segments=[[1], "visual"])
    config.thresholds["AU4"] = 2.0
    with pytest.raises(ValueError, match=r"AULLMConfig\.thresholds is .*a number from 0 to 1"):
        AULLMForAUDetection(config)


@pytest.mark.parametrize("config", [AULLMConfig, BaselineConfig])
def test_every_field_is_typed_and_documented_in_a_line(config):
    for one in fields(config):
        if one.name not in PreTrainedConfig.__dataclass_fields__:
            assert not isinstance(one.type, str), f"the type of {one.name} is text, which is not checked"
            assert 10 < len(one.metadata["help"]) < 80 and f"{one.name}: {one.metadata['help']}" in config.__doc__


def test_misspelled_fields_are_refused_with_the_right_name():
    with pytest.raises(ValueError, match=r"no field 'projecter'\. Did you mean 'projector'"):
        AULLMConfig(projecter="mid")


def test_what_is_overridden_at_loading_is_checked(tmp_path):
    tiny_config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"thresholds .*from 0 to 1"):
        AULLMConfig.from_pretrained(tmp_path, thresholds={"AU1": 3.0})
    with pytest.raises(ValueError, match=r"aus .*no AUs at loading"):
        AULLMConfig.from_pretrained(tmp_path, aus=[1, 4, 6])
    tiny_config(
        prompt_segments=[[1], "visual"], prompt_source="a{visual}", prompt_template="a{visual}"
    ).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"prompt_template is 'b\{visual\}'.*compiled from"):
        AULLMConfig.from_pretrained(tmp_path, prompt_template="b{visual}")


def test_sets_tuples_and_the_callers_dictionaries_are_taken_as_copies(tmp_path):
    lora = {"r": 2, "target_modules": {"v_proj", "q_proj"}}
    thresholds = {"AU1": 0.2, "AU4": 0.3, "AU12": 0.4}
    config = tiny_config(lora=lora, thresholds=thresholds, calibration={f"AU{a}": (1.0, 0.0) for a in (1, 4, 12)})
    lora["r"], thresholds["AU1"] = 99, 0.9
    assert config.lora == {"r": 2, "target_modules": ["q_proj", "v_proj"]} and config.thresholds["AU1"] == 0.2
    config.save_pretrained(tmp_path)
    assert AULLMConfig.from_pretrained(tmp_path).to_json_string() == config.to_json_string()


def test_text_alone_is_a_template_for_learned_tokens():
    assert tiny_config(projector="prompt", prompt_template="Which units?").prompt_template == "Which units?{prompt}"


def test_labels_in_any_order_of_keys():
    assert AULLMConfig(aus=[2, 1], id2label={1: "AU1", 0: "AU2"}).aus == [2, 1]
