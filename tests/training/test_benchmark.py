"""The benchmark compares two ways to do the same maths, counts what they do, and says what it measured."""

import json

import benchmark
import pytest
import torch
from benchmarks import flops
from benchmarks import pair as benchmark_pair
from benchmarks.files import saving_and_loading
from benchmarks.flops import llm_flops, matrix_rate
from benchmarks.pair import build_pair, packed_tokens, parts_of_batch, prompt_tokens
from benchmarks.reference import ClipItems
from benchmarks.shapes import LAYOUTS
from benchmarks.step import package_step, random_clips, reference_step
from benchmarks.tables import markdown_table
from benchmarks.timing import STEP_PARTS, StepClock
from torch.utils.flop_counter import FlopCounterMode

from aullm_hf.model.processing_aullm import AULLMVideoProcessor


@pytest.fixture(scope="module")
def pair():
    return _with_adapters(build_pair("tiny", "float32", 16, "text first"))


def _with_adapters(pair):
    """Fresh adapters change nothing: give them something to say."""
    torch.manual_seed(0)
    for name, parameter in pair.package.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return pair


def _clip_pixels(pair, clips: int) -> torch.Tensor:
    config = pair.package.config
    torch.manual_seed(1)
    return torch.rand(clips, config.num_frames, 1, config.image_size, config.image_size)


# -------------------------------------------------------------------- the same maths


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("projector", ["efp", "linear"])
def test_reference_and_package_have_the_same_logits_and_gradients(layout, projector):
    pair = _with_adapters(build_pair("tiny", "float32", 5, layout, projector))
    pair.train(False)
    pixels, labels = _clip_pixels(pair, 7), (torch.rand(7, 8) < 0.3).float()
    results = {}
    for name, model in (("reference", pair.reference), ("package", pair.package)):
        out = model(pixels, labels=labels)
        out["loss"].backward()
        adapters = [p.grad.clone() for n, p in pair.package.named_parameters() if "lora_" in n]
        vision = [p.grad.clone() for n, p in model.named_parameters() if n.endswith(("conv1.weight", "logit_r1"))]
        results[name] = [out["logits"].detach(), *adapters, *vision]
        model.zero_grad()
        pair.package.zero_grad()
    assert results["reference"][0].std(dim=0).min() > 1e-4, "clips must differ, or nothing is compared"
    for one, other in zip(*results.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6 + 1e-4 * float(other.abs().max()))


def test_a_clip_looks_the_same_to_both():
    clips = random_clips(3, 32, 8, frames=11)
    items = ClipItems(clips, range(3), 6, train=False)
    pixels = torch.stack([items[row]["pixel_values"] for row in range(3)])
    frames = [clips.frames[start:end] for start, end in zip(clips.starts, clips.starts[1:], strict=False)]
    wanted = AULLMVideoProcessor(size=32)(frames)["pixel_values"]
    torch.testing.assert_close(pixels, wanted)


def test_a_batch_in_parts_has_the_gradients_of_the_whole(pair, monkeypatch):
    """In evaluation, where batch norm does not look at the batch."""
    monkeypatch.setattr(benchmark_pair.psutil, "virtual_memory", lambda: type("Free", (), {"available": 2**20}))
    parts = parts_of_batch(pair, 32, train=True)
    assert parts > 1
    clips = random_clips(6, 32, 8, frames=3)  # shorter than what is sampled, so nothing is drawn
    grads = {}
    for count in (1, 3):
        pair.train(False)
        clock = StepClock()
        step = reference_step(pair, clips, clock, count)
        monkeypatch.setattr(torch.optim.Adam, "step", lambda self: None)
        monkeypatch.setattr(torch.optim.Adam, "zero_grad", lambda self: None)
        pair.reference.zero_grad()
        step()
        clock.close()
        grads[count] = {n: p.grad.clone() for n, p in pair.reference.named_parameters() if p.grad is not None}
    pair.reference.zero_grad()
    for name, gradient in grads[1].items():
        torch.testing.assert_close(grads[3][name], gradient, rtol=1e-3, atol=1e-6)


# -------------------------------------------------------------------- counting


def count_flops(run) -> int:
    """Operations of the matrix products and convolutions of `run`, backward passes included."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_formula_agrees_with_torchs_counter(layout, backward):
    """With attention written as products, so that no term is hidden from it."""
    pair, token = build_pair("tiny", "float32", 16, layout), torch.zeros(12, 64, requires_grad=True)
    pair.causal.set_attn_implementation("eager")
    text, body = pair.package.config.text_config, pair.package.model

    def run(name: str) -> None:
        if name == "reference":
            state = pair.reference.run_llm(token)
        else:
            state = body.prompt(body.llm, {"visual": token}, 12).last_hidden_state
        if backward:
            state.sum().backward()

    shared = {"rank": 16, "backward": backward}
    assert count_flops(lambda: run("reference")) == llm_flops(text, 12, 17, head=True, **shared)
    sequences, length, _ = packed_tokens(pair.package, 12, cached=False)
    assert (sequences, length) == ((1, 28) if layout == "text first" else (12, 17))
    assert count_flops(lambda: run("package")) == llm_flops(text, sequences, length, **shared)


def test_the_formula_agrees_where_the_prompt_is_kept(pair):
    pair.train(False)
    body, text = pair.package.model, pair.package.config.text_config
    token = torch.randn(12, 64)
    seen = []
    body.llm.set_attn_implementation("eager")  # products that the counter sees
    with torch.no_grad():
        for _ in range(2):
            seen.append(count_flops(lambda: body.prompt(body.llm, {"visual": token}, 12)))
    body.llm.set_attn_implementation("sdpa")
    sequences, length, cached = packed_tokens(pair.package, 12, cached=True)
    assert seen[1] == llm_flops(text, sequences, length, cached=cached, rank=16)
    assert seen[0] > seen[1] and (sequences, length, cached) == (1, 12, 16)


def test_the_rate_is_the_median_of_products(monkeypatch):
    spans = iter([(0, 90), (100, 102), (200, 203), (300, 304), (400, 405), (500, 506)])  # the first warms up
    ticks = (tick for span in spans for tick in span)
    monkeypatch.setattr(flops.time, "perf_counter", lambda: float(next(ticks)))
    assert matrix_rate(torch.float32, size=8) == 2 * 8**3 / 4.0


# -------------------------------------------------------------------- the tables


def test_the_clock_s_parts_are_the_step(pair, monkeypatch):
    import time

    monkeypatch.setattr(time, "perf_counter", time.process_time)  # whatever else the machine does meanwhile
    clips, clock = random_clips(2, 32, 8, frames=8), StepClock()
    pair.train(True)
    step = package_step(pair.package, clips, clock)
    clock.start()
    begun = time.perf_counter()
    step()
    spent = time.perf_counter() - begun
    clock.close()
    assert all(clock.seconds[part] > 0 for part in STEP_PARTS)
    assert sum(clock.seconds.values()) == pytest.approx(spent, rel=0.05, abs=0.005)
    marked = dict(clock.seconds)
    step_without = package_step(pair.package, clips, other := StepClock())
    other.close()
    step_without()
    assert clock.seconds == marked, "a closed clock listens no more"


def tables_of(part: str, out, capsys, *options: str) -> dict[str, list[dict]]:
    """What a part wrote, which is what it printed."""
    small = ["--batch", "6", "--repeats", "1", "--threads", "1", "--device", "cpu", "--out", str(out)]
    assert benchmark.main([part, *small, *options]) == 0
    assert (out / f"{part}.md").read_text().strip() in capsys.readouterr().out
    return json.loads((out / f"{part}.json").read_text())


def test_the_rows_of_the_llms_pass(tmp_path, capsys):
    tables = tables_of("llm", tmp_path, capsys, "--headless")
    passes = tables["the LLM's pass"]
    assert [row["phase"] for row in passes] == ["forward", "training", "inference"]
    for row in passes:
        assert row["tokens reference"] == 6 * 17
        assert row["tokens package"] == (6 if row["phase"] == "inference" else 16 + 6)
        assert row["ratio"] == pytest.approx(row["s reference"] / row["s package"])
        assert row["ratio headless"] > 0
        assert row["reference taken in parts"] == 1 and 0 < row["rate package"]
    assert tables["the machine"][0]["measured TFLOP/s"] > 0


def test_the_rows_of_a_step(tmp_path, capsys):
    tables = tables_of("step", tmp_path, capsys, "--projector", "efp", "linear")
    assert [row["projector"] for row in tables["the whole training step"]] == ["efp", "linear"]
    for whole in tables["the whole training step"]:
        parts = [row for row in tables["its parts"] if row["projector"] == whole["projector"]]
        assert [row["part"] for row in parts] == list(STEP_PARTS)
        assert sum(row["s package"] for row in parts) == pytest.approx(whole["s package"])


def test_the_rows_of_inference(tmp_path, capsys, monkeypatch):
    for name, value in {"SIDE": 32, "FRAMES": 8}.items():
        monkeypatch.setattr(f"benchmarks.inference.{name}", value)
    monkeypatch.setattr("benchmarks.llm.matrix_rate", lambda *_: 1e12)  # a second of products: of the LLM's own test
    tables = tables_of("inference", tmp_path, capsys)
    (llm,), (folders,) = tables["inference, the LLM's pass"], tables["inference, from folders"]
    assert llm["phase"] == "inference" and llm["tokens package"] == 6
    assert folders["ratio"] == pytest.approx(folders["clips/s package"] / folders["clips/s reference"])


@pytest.mark.parametrize("part", benchmark.PARTS)
def test_every_part_has_its_help(part, capsys):
    with pytest.raises(SystemExit, match="0"):
        benchmark.main([part, "--help"])
    shown = capsys.readouterr().out
    assert "--repeats" in shown and "--out" in shown and f"benchmark.py {part}" in shown


def test_loading_allocates_once_and_a_checkpoint_is_its_trained_tensors():
    rows, promised = saving_and_loading("tiny", "float32")
    assert promised["peak_over_weights"] < 1.15
    assert 1 <= promised["checkpoint_over_trained"] < 1.01
    by_what = {row["what"]: row for row in rows}
    sizes = by_what["a fold's checkpoint, MB"]
    assert sizes["reference"] > sizes["package"] > 0
    assert by_what["fold into memory, s"]["package"] == promised["seconds_llm_in_memory"]


def test_rows_of_other_columns_are_no_table():
    assert markdown_table([{"a": 1, "b": 0.5}]) == "| a | b |\n|---|---|\n| 1 | 0.5 |"


def test_tokens_of_a_clip_do_not_hang_on_the_layout():
    with torch.device("meta"):
        counts = {prompt_tokens(build_pair("tiny", "float32", 4, layout, device="meta").package) for layout in LAYOUTS}
    assert counts == {5}


@pytest.mark.slow
def test_spotting_is_measured_beside_simple_methods(tmp_path, capsys):
    few = ("--difficulties", "standard", "--recordings", "1", "--tuning", "1", "--controls", "1", "--seconds", "10")
    assert benchmark.main(["spotting", *few, "--out", str(tmp_path)]) == 0
    tables = json.loads((tmp_path / "spotting.json").read_text())
    assert [row["method"].split(" (")[0] for row in tables["spotting"]] == [
        "spot_expressions", "flow magnitude", "frame difference",
    ]  # fmt: skip
    assert [row["control"] for row in tables["controls"]] == ["neutral", "still", "backwards"]
    assert float(tables["controls"][1]["false alarms per minute"]) == 0
