"""The shared pass against reading every clip alone, word by word."""

import copy
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft.tuners.lora import LoraLayer
from transformers import AutoModel, AutoTokenizer

from aullm_hf.model.prompting import Prompt, cheapest_packing, compile_prompt, tree_mask
from aullm_hf.tiny_llm import build_tiny_llm
from support import processes
from support.tiny import CHECKPOINTING, FAMILIES, LAYOUTS, clips, labels, tiny_config, tiny_llm, tiny_model


def read_alone(model, slots: dict[str, torch.Tensor], clip: int) -> torch.Tensor:
    """One clip through the LLM, its sequence put together by hand: no mask, no cache, no packing."""
    llm = model.model.llm
    pieces = []
    for segment in model.config.prompt_segments:
        if isinstance(segment, list):
            pieces.append(llm.get_input_embeddings()(torch.tensor(segment)))
        elif segment == "prompt":
            pieces.append(slots[segment])
        else:
            pieces.append(slots[segment][clip][None])
    return llm(inputs_embeds=torch.cat(pieces)[None], use_cache=False).last_hidden_state[0, -1]


def lora_gradients(model) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if "lora_" in name}


def set_packing(model, k):
    model.model.prompt.clips_per_sequence = k


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_lora_gradients_equal_the_naive_pass(family, layout, attention):
    model = tiny_model(family, prompt_template=layout, attn_implementation=attention)
    token = torch.randn(7, model.config.text_config.hidden_size) * 0.3
    naive = torch.stack([read_alone(model, {"visual": token}, clip) for clip in range(7)])
    weight = torch.randn_like(naive)
    (naive * weight).sum().backward()
    expected = lora_gradients(model)
    assert all(gradient.abs().max() > 0 for gradient in expected.values())
    for k in (None, 1, 3, 7):
        set_packing(model, k)
        model.zero_grad()
        shared = model.model.prompt(model.model.llm, {"visual": token}, 7).last_hidden_state
        torch.testing.assert_close(shared, naive, atol=1e-5, rtol=1e-5)
        (shared * weight).sum().backward()
        for name, gradient in lora_gradients(model).items():
            size = expected[name].abs().max().clamp(min=1)  # the sum over 7 x 64 numbers is not of size 1
            assert (gradient - expected[name]).abs().max() < 1e-5 * size, f"{name} at k = {k}"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_kept_prefix_equals_the_naive_pass_and_follows_the_weights(family):
    model = tiny_model(family)
    set_packing(model, 4)
    token = torch.randn(6, model.config.text_config.hidden_size) * 0.3

    def check():
        with torch.no_grad():
            naive = torch.stack([read_alone(model, {"visual": token}, clip) for clip in range(6)])
            shared = model.model.prompt(model.model.llm, {"visual": token}, 6).last_hidden_state
        torch.testing.assert_close(shared, naive, atol=1e-5, rtol=1e-5)
        return model.model.prompt._cached

    first = check()
    assert first is not None and check() is first, "the prefix is computed once for the same weights"
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if "lora_B" in n).add_(0.3)  # as an optimizer writes
    second = check()
    assert second is not first
    model.load_state_dict({k: v + 0.01 for k, v in model.state_dict().items() if "lora_A" in k}, strict=False)
    assert check() is not second
    assert copy.deepcopy(model).model.prompt._cached is None


def test_the_prefix_is_not_kept_where_it_is_trained():
    model = tiny_model().train()
    set_packing(model, 3)
    with torch.no_grad():
        model(clips(3))
    assert model.model.prompt._cached is None
    model.eval()
    model(clips(3))  # with gradient
    assert model.model.prompt._cached is None


@pytest.mark.parametrize("window", [3, 8, 40])
def test_sliding_windows_shorter_than_the_prompt_too(window):
    """A mask of our own would silently replace the window, so packing must stand back; a wide window may pack."""
    template = "Face:{visual} units:"  # 5 tokens, the slot, 7 tokens
    model = tiny_model("gemma3", prompt_template=template)
    path = tiny_llm("gemma3", sliding_window=window)
    model.model.llm = AutoModel.from_pretrained(path).eval()
    token = torch.randn(6, 64) * 0.5
    with torch.no_grad():
        naive = torch.stack([read_alone(model, {"visual": token}, clip) for clip in range(6)])
        for k in (None, 1, 4):
            set_packing(model, k)
            shared = model.model.prompt(model.model.llm, {"visual": token}, 6).last_hidden_state
            torch.testing.assert_close(shared, naive, atol=1e-5, rtol=1e-5)


def test_the_window_matters():
    """The test above can fail: with and without the window the states differ."""
    wide, narrow = (AutoModel.from_pretrained(tiny_llm("gemma3", sliding_window=w)).eval() for w in (40, 3))
    ids = torch.arange(13)[None]
    assert (wide(ids).last_hidden_state[0, -1] - narrow(ids).last_hidden_state[0, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_activation_checkpointing_changes_nothing(attention):
    plain, saving = (tiny_model(attn_implementation=attention) for _ in range(2))
    getattr(saving, f"{CHECKPOINTING}_enable")()
    for model in (plain, saving):
        model.train()
        model(clips(), labels=labels()).loss.backward()
    assert getattr(saving.model.llm, f"is_{CHECKPOINTING}")
    for name, gradient in lora_gradients(plain).items():
        torch.testing.assert_close(lora_gradients(saving)[name], gradient, atol=1e-6, rtol=1e-5)


def test_asking_for_states_and_attentions_gives_them_clip_by_clip():
    model = tiny_model(attn_implementation="eager")
    with torch.no_grad():
        out = model(clips(4), output_hidden_states=True, output_attentions=True)
        length = sum(1 if isinstance(s, str) else len(s) for s in model.config.prompt_segments)
        assert [state.shape for state in out.hidden_states] == [(4, length, 64)] * 3
        assert [weights.shape for weights in out.attentions] == [(4, 4, length, length)] * 2
        torch.testing.assert_close(model(clips(4)).logits, out.logits, atol=1e-5, rtol=1e-5)


def test_a_template_without_clip_slots_is_read_once():
    model = tiny_model(projector="prompt")
    lengths = []
    model.model.llm.layers[0].register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[:2]))
    model(clips(5))
    assert lengths == [(1, sum(8 if isinstance(s, str) else len(s) for s in model.config.prompt_segments))]


def test_text_before_the_slot_is_read_once_a_sequence():
    model = tiny_model(clips_per_sequence=5).train()
    shapes = []
    model.model.llm.layers[0].register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape[:2]))
    model(clips(5))
    prefix = len(model.config.prompt_segments[0])
    assert shapes == [(1, prefix + 5)]
    model.eval()
    with torch.no_grad():
        model(clips(5)), model(clips(5))
    assert shapes[1:] == [(1, prefix), (1, 5), (1, 5)]  # the prefix once, then clips only


def test_no_language_model_head():
    model = tiny_model()
    assert not hasattr(model.model.llm, "lm_head")
    vocabulary = model.config.text_config.vocab_size
    assert [n for n, p in model.named_parameters() if vocabulary in p.shape] == ["model.llm.embed_tokens.weight"]


# -------------------------------------------------------------------- compiling

words = st.text(alphabet="abc :.", max_size=12)


@settings(max_examples=60, deadline=None)
@given(before=words, between=words, after=words, family=st.sampled_from(["qwen2", "llama"]))
def test_compiling_keeps_the_text_and_puts_one_beginning_first(before, between, after, family):
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm(family))
    segments = compile_prompt(f"{before}{{content}}{between}{{instruction}}{after}", tokenizer)
    assert [s for s in segments if isinstance(s, str)] == ["content", "instruction"]
    ids = [token for s in segments if isinstance(s, list) for token in s]
    bos = tokenizer.bos_token_id
    assert ids.count(bos) == (family == "llama")
    if family == "llama":
        assert segments[0][0] == bos
    text = tokenizer.decode([token for token in ids if token != bos])
    assert text == before.rstrip() + between.rstrip() + after  # blanks before a slot go, others stay


def test_an_uncompiled_template_says_how_to_compile_it():
    with pytest.raises(ValueError, match="from_base_llm"):
        Prompt(tiny_config())


# -------------------------------------------------------------------- mask and cost


def test_tree_mask_lets_a_clip_see_the_prefix_and_itself():
    sees = tree_mask(2, 2, 2, torch.float32, torch.device("cpu")) == 0
    assert sees.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 1, 1],
    ]


@given(clips=st.integers(1, 300), prefix=st.integers(0, 60), per_clip=st.integers(1, 20), ratio=st.floats(1, 1e5))
def test_packing_is_the_best_of_all(clips, prefix, per_clip, ratio):
    def work(k):
        length = prefix + k * per_clip
        return -(-clips // k) * (length * ratio + length**2)

    best = cheapest_packing(clips, prefix, per_clip, ratio, 1.0)
    assert work(best) <= min(work(k) for k in range(1, clips + 1)) * (1 + 1e-9)
    if prefix == 0:
        assert best == 1


# -------------------------------------------------------------------- token norm, threads, processes


def test_token_norm_gives_the_token_the_size_of_the_text():
    model = tiny_model(token_norm=True)
    prompt, llm = model.model.prompt, model.model.llm
    _, tail = prompt.embed(llm, {"visual": torch.randn(3, 64) * 100})
    text = llm.get_input_embeddings()(prompt.text_ids).norm(dim=-1).mean()
    torch.testing.assert_close(tail[:, 0].norm(dim=-1), text.expand(3))


def test_threads_share_one_model():
    model = tiny_model(clips_per_sequence=4)
    batches = [clips(4, seed=i) for i in range(8)]
    with torch.no_grad():
        expected = [model(batch).logits for batch in batches]
    model.model.prompt._cached = None
    found = [None] * 8

    def run(i):
        with torch.no_grad():
            found[i] = model(batches[i]).logits

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-6)


DDP = """
import os, torch, torch.distributed as dist
from support.tiny import tiny_model, clips, labels
rank = int(os.environ["RANK"])
torch.set_num_threads(1)
model = tiny_model(clips_per_sequence=2)  # eval mode: batch norm's statistics stand still
alone = tiny_model(clips_per_sequence=1)
meeting = "file://" + os.environ["MEETING"]
dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)  # after building: each has its own LLM
wrapped = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=False)
x, y = clips(8), labels(8)
wrapped(x[rank * 4 : rank * 4 + 4], labels=y[rank * 4 : rank * 4 + 4]).loss.backward()
if rank == 0:
    alone(x, labels=y).loss.backward()
    for (name, p), (_, q) in zip(model.named_parameters(), alone.named_parameters()):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None and name != "model.led.log_alpha":
            torch.testing.assert_close(p.grad, q.grad, atol=1e-5, rtol=1e-4, msg=name)
    print("EQUAL")
dist.barrier()
dist.destroy_process_group()
"""


def test_two_processes_equal_one(tmp_path):
    both = [
        processes.Started(processes.python, DDP, environment={"RANK": str(rank), "MEETING": str(tmp_path / "meeting")})
        for rank in (0, 1)
    ]
    done = [process.finish() for process in both]
    assert done[0].stdout.strip() == "EQUAL" and [one.returncode for one in done] == [0, 0], done[0].stderr[-2000:]


# -------------------------------------------------------------------- ways in which a kept prefix could go stale


@pytest.mark.parametrize("optimizer", ["fused", "foreach", "data", "scaling", "disabled"])
def test_no_write_leaves_a_stale_prefix(optimizer):
    """Fused optimizers and `.data` do not move a tensor's version; switching adapters writes nothing at all."""
    model = tiny_model(clips_per_sequence=4)
    x = clips(4)

    def with_and_without_keeping():
        model.eval()
        with torch.no_grad():
            kept = model(x).logits
        return kept, model(x).logits.detach()  # with gradient nothing is kept

    before = with_and_without_keeping()
    with torch.no_grad():
        model(x)  # kept again
    lora = [p for n, p in model.named_parameters() if "lora_" in n]
    if optimizer in ("fused", "foreach"):
        for parameter in lora:
            parameter.grad = torch.ones_like(parameter)
        torch.optim.AdamW(lora, lr=0.05, **{optimizer: True}).step()
    elif optimizer == "data":
        for parameter in lora:
            parameter.data.add_(0.05)
    else:
        for module in model.modules():
            if isinstance(module, LoraLayer):
                module.set_scale("default", 7.0) if optimizer == "scaling" else module.enable_adapters(False)
    kept, true = with_and_without_keeping()
    torch.testing.assert_close(kept, true, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(kept, before[0], atol=1e-3)


def test_a_model_loaded_in_inference_mode_runs(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    with torch.inference_mode():
        loaded = type(tiny_model()).from_pretrained(tmp_path)
        first = loaded(clips(6)).logits
        assert torch.equal(loaded(clips(6)).logits, first)


@pytest.mark.parametrize("template", ["{visual}{visual}", "One {visual} two {visual} three"])
def test_a_slot_may_stand_twice(template):
    model = tiny_model(prompt_template=template)
    token = torch.randn(3, 64) * 0.3
    with torch.no_grad():
        naive = torch.stack([read_alone(model, {"visual": token}, clip) for clip in range(3)])
        shared = model.model.prompt(model.model.llm, {"visual": token}, 3).last_hidden_state
    torch.testing.assert_close(shared, naive, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_several_slots_with_text_between_and_after(family):
    """The pass itself takes any number of slots, whatever a projector fills."""
    model = tiny_model(family)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm(family))
    model.config.prompt_segments = compile_prompt("Evidence: {content} relations: {instruction} units:", tokenizer)
    prompt, llm = Prompt(model.config), model.model.llm
    slots = {"content": torch.randn(5, 64) * 0.3, "instruction": torch.randn(5, 64) * 0.3}
    naive = torch.stack([read_alone(model, slots, clip) for clip in range(5)])
    for k in (None, 1, 2, 5):
        prompt.clips_per_sequence = k
        torch.testing.assert_close(prompt(llm, slots, 5).last_hidden_state, naive, atol=1e-5, rtol=1e-5)


def test_attentions_that_are_never_formed_are_refused():
    with pytest.raises(ValueError, match="attn_implementation='eager'"):
        tiny_model(attn_implementation="sdpa")(clips(), output_attentions=True)


def test_a_base_without_a_tokenizer_is_refused(tmp_path):
    base = build_tiny_llm(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).unlink()
    with pytest.raises((ValueError, OSError), match="tokenizer"):
        type(tiny_model()).from_base_llm(tiny_config(), str(base))
