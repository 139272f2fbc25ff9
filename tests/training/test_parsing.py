"""One YAML is one run: sections, overrides, and errors that name what was meant."""

import dataclasses
import re

import pytest
import yaml

from aullm_hf.training import settings
from aullm_hf.training.parsing import load_run_config
from aullm_hf.training.recipes import read_yaml
from aullm_hf.training.settings import ConfigError
from support.tiny_run import ROOT, tiny_yaml, train


@pytest.fixture
def config(tmp_path):
    return tiny_yaml(tmp_path)


def _written(tmp_path, content):
    path = tmp_path / "run.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_the_command_line_overrides_by_field_name(config):
    words = "--num_train_epochs 7 --projector mid --aus 4 12 --seeds 1 2".split()
    run = load_run_config(config, [*words, "--lora", "{r: 1}"])
    assert run.training.num_train_epochs == 7 and run.model.projector == "mid"
    assert run.data.aus == ["4", "12"] and run.model.lora == {"r": 1} and run.seeds == [1, 2]
    assert run.name == "tiny" and str(run.folder) == "runs/tiny"


def test_what_a_run_wrote_of_its_settings_is_read_again(config, tmp_path):
    """`--lora null` is one of them: no adapters."""
    run = load_run_config(config, ["--lora", "null", "--head_reads", "token"])
    again = load_run_config(_written(tmp_path, run.plain))
    assert again.model == run.model and again.model.lora is None and again.plain == run.plain


def test_numbers_without_a_dot_are_numbers(tmp_path):
    """YAML reads 1e-3 as text."""
    path = _written(tmp_path, "model: {llm_name_or_path: tiny:qwen2}\ntraining: {learning_rate: 1e-3, bf16: false}\n")
    run = load_run_config(path)
    assert run.training.learning_rate == 1e-3 and run.training.bf16 is False


def test_field_names_are_unique_over_the_sections():
    names = settings.field_names()
    assert sorted(names) == sorted(set(names))


def test_every_field_is_documented():
    for kind in settings.SECTIONS.values():
        for one in dataclasses.fields(kind):
            if kind is not settings.TrainSettings or one.name in settings.TrainSettings.__annotations__:
                assert one.metadata["help"], one.name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"projectr": "mid"}}, "section `model` has no field `projectr`. Did you mean `projector`?"),
        ({"trainin": {}}, "has a section `trainin`; allowed: model, data, protocol, training."),
        ({"data": {"learning_rate": 1}}, "no field `learning_rate`. It belongs to section `training`."),
        ({"training": {"seed": "one"}}, "training.seed is 'one'; expected: int."),
        ({"training": {"bf16": "perhaps"}}, "training.bf16 is 'perhaps'; expected: true or false."),
        ({"protocol": {"inner": "outer"}}, "protocol.inner is 'outer'; allowed: 'holdout', 'refit', 'none'."),
        ({"protocol": {"protocol": "cross_domain"}}, "cross_domain needs `source` and `target`"),
        ({"protocol": {"seeds": [1, 1]}}, r"seeds [1, 1] name a seed twice"),
        ({"protocol": {"protocol": "holdout", "seeds": [1, 2]}}, "tests other people with every seed"),
        ({"protocol": {"inner_fraction": 1.5}}, "inner_fraction is 1.5; allowed: more than 0, less than 1."),
        ({"training": {"augment_shift": -1}}, "augment_shift is -1; allowed: 0 or more pixels."),
        ({"training": {"optim": "adamw_hf"}}, "training.optim is 'adamw_hf'; allowed: 'adamw_torch'"),
        ({"training": {"eval_strategy": "steps", "logging_steps": 0}}, "section `training`: "),
        ({"data": {"aus": "foo"}}, "data.aus: there is no published AU list 'foo'; there are casme, casme2, "),
        ({"data": {"aus": [99]}}, "data.aus: '99' is not a FACS code; known are 1, 2, "),
        ({"data": {"aus": None}}, "data.aus is null; give a value, or leave the field out for its default."),
        ({"data": {"aus": []}}, "data.aus: the AU list is empty"),
        ({"data": {"aus": {"a": 1}}}, "data.aus is {'a': 1}; expected: a list."),
        ({"data": {"datasets": []}}, "data.datasets is empty; name at least one data set."),
        ({"data": {"datasets": ["samm", "samm"]}}, "data.datasets names 'samm' twice."),
        ({"data": {"difficulty": None}}, "data.difficulty is null; give a value"),
        ({"data": {"clips_per_subject": [3, 4]}}, "data.clips_per_subject is [3, 4]; expected: a single value."),
        ({"training": {"learning_rate": None}}, "training.learning_rate is null; give a value"),
        ({"model": {"llm_name_or_path": {"a": 1}}}, "model.llm_name_or_path is {'a': 1}; expected: a single value."),
        (
            "data:\n  subjects: 3\n  difficulty: hard\n  subjects: 4\n",
            "line 4: `subjects` is given already in line 2; keep one.",
        ),
        ("data: {subjects: 3}\nmodel: {}\ndata: {}\n", "line 3: `data` is given already in line 1"),
        ("[1, 2]", "must hold the sections model, data, protocol, training"),
        ("a: [", "is not YAML"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_errors_name_the_field_and_what_is_allowed(tmp_path, content, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_run_config(_written(tmp_path, content))


@pytest.mark.parametrize("aus", ["foo", "[99]", "null", "{a: 1}"])
def test_a_wrong_au_list_ends_in_one_line(tmp_path, capsys, aus):
    path = _written(tmp_path, f"model: {{llm_name_or_path: tiny:qwen2}}\ndata: {{aus: {aus}}}\n")
    assert train(path, tmp_path / "run") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"aullm train: {path}: data.aus")


@pytest.mark.parametrize("field", ["subjects: 0", "clips_seed: -1", "clips_per_subject: many"])
def test_clips_that_cannot_be_made_end_in_one_line(tmp_path, capsys, field):
    path = _written(tmp_path, f"model: {{llm_name_or_path: tiny:qwen2}}\ndata: {{{field}}}\n")
    for options in ([], ["--dry_run"]):
        assert train(path, tmp_path / "run", *options) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("aullm train: ") and "is not allowed" in line


def test_a_mapping_that_leads_to_itself_is_read(tmp_path):
    assert read_yaml(_written(tmp_path, "&a {lora: *a}"))["lora"]["lora"]


def test_structured_fields_are_yaml_on_the_command_line(config):
    with pytest.raises(ConfigError, match=r"--lora is '{r: 1', which is not YAML: "):
        load_run_config(config, ["--lora", "{r: 1"])


def test_unknown_options_suggest_the_nearest(config):
    with pytest.raises(ConfigError, match=r"does not know '--num_train_epoch'. Did you mean `num_train_epochs`?"):
        load_run_config(config, ["--num_train_epoch", "3"])
    with pytest.raises(
        ConfigError,
        match=r"There is no file .*quickstrt.yaml', .* Did you mean `quickstart`?",
    ):
        load_run_config(ROOT / "hub_configs" / "quickstrt.yaml")


def test_what_is_saved_is_the_run(config, tmp_path):
    """The plain values that run.json keeps give the same run again."""
    run = load_run_config(config, ["--led_learning_rate", "0.01"])
    again = load_run_config(_written(tmp_path, run.plain))
    assert again.plain["training"].pop("output_dir") and run.plain["training"].pop("output_dir")
    assert again.plain == run.plain and "root" not in run.identity["data"]


def test_the_model_section_holds_every_field_that_can_be_chosen():
    from aullm_hf.model import AULLMConfig

    chosen = {one.name for one in dataclasses.fields(settings.ModelSettings)}
    own = set(AULLMConfig.__annotations__)
    assert own - chosen == {*settings._NOT_CHOSEN, "model_type"} & own


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--subjects", "2", "--inner", "holdout"], "nobody can be held out"), (["--folds", "me"], "--folds names 'me'")],
)
def test_a_run_that_is_refused_does_not_hold_its_folder(tmp_path, capsys, config, words, told):
    """The next command, put right, would be told that the folder holds another run."""
    assert train(config, tmp_path / "run", *words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
