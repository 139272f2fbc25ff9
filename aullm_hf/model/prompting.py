"""One mechanism for every prompt: a template compiles to segments, and one LLM pass reads them for the whole batch.

The text before the first per-clip slot is the same for every clip. With P tokens of it and S tokens per clip from the
slot on, k clips are packed into one sequence [prefix | clip 1 | .. | clip k] under a tree mask: every clip sees the
prefix and itself, at the positions it would have alone. The maths is the naive pass's, the tokens are far fewer. At
inference the prefix's keys and values are cached from batch to batch as long as the weights stay the same.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache

from .adapters import lora_layers
from .config_rules import slots_of
from .configuration_aullm import SHARED_SLOTS, AULLMConfig
from .dropout import share_noise

# Attention under a dense mask runs at a fraction of the matrix rate of the linear layers: what one of its operations
# costs, in theirs. It decides only how many clips share a sequence.
ATTENTION_COST = 4.0


def compile_prompt(template: str, tokenizer: Any) -> list[list[int] | str]:
    """Template -> token ids and slot names, in order.

    Segments are tokenised apart. A beginning-of-sequence token, where the tokenizer would put one, stands once, first.
    Blanks before a slot are dropped (a word piece carries its blank in front, so a trailing one would be a token of
    its own); blanks after a slot belong to the text that follows.
    """
    segments: list[list[int] | str] = []
    rest = template
    for slot in slots_of(template):
        text, rest = rest.split(f"{{{slot}}}", 1)
        segments += [text.rstrip(), slot]
    segments.append(rest)

    compiled: list[list[int] | str] = []
    for index, segment in enumerate(segments):
        if index % 2 == 1:  # text and slots take turns
            compiled.append(segment)
        elif segment:
            ids = tokenizer(segment, add_special_tokens=False)["input_ids"]
            if not ids and segment.strip():
                raise ValueError(
                    f"The tokenizer {tokenizer.name_or_path!r} makes no token of the prompt's text {segment!r}: its "
                    "vocabulary is empty or its files are missing. Put the LLM's tokenizer beside it."
                )
            compiled += [list(ids)] if ids else []
    bos = tokenizer.bos_token_id
    if bos is not None and tokenizer("a")["input_ids"][0] == bos:
        if isinstance(compiled[0], list):
            compiled[0] = [bos, *compiled[0]]
        else:
            compiled.insert(0, [bos])
    return compiled


@dataclass
class PromptOutput:
    """The LLM's last state for each clip, and on request those of every layer."""

    last_hidden_state: torch.Tensor  # (B, d)
    hidden_states: tuple[torch.Tensor, ...] | None = None  # each (B, P + S, d)
    attentions: tuple[torch.Tensor, ...] | None = None  # each (B, heads, P + S, P + S)


@dataclass
class _CachedPrefix:
    """The prefix's keys and values, and the state of the weights they were computed with."""

    weights: tuple
    layers: list[tuple[torch.Tensor, torch.Tensor]]  # a layer: keys and values, (1, heads, P, head_dim)


class Prompt(nn.Module):
    """The compiled prompt, and the pass of the LLM over it. Holds no weights, only the text's token ids."""

    def __init__(self, config: AULLMConfig):
        super().__init__()
        if config.prompt_segments is None:
            raise ValueError(
                f"The prompt template {config.prompt_template!r} is not compiled: the configuration holds no "
                "prompt_segments. Make the model with AULLMForAUDetection.from_base_llm, which compiles it with the "
                "LLM's tokenizer, or set config.prompt_segments = compile_prompt(template, tokenizer)."
            )
        self.segments = config.prompt_segments
        self.clips_per_sequence = config.clips_per_sequence
        self.token_norm = config.token_norm
        text = [token for segment in self.segments if isinstance(segment, list) for token in segment]
        self.register_buffer("text_ids", torch.tensor(text, dtype=torch.long))
        # Only text is worth caching: a shared slot's tokens are trained.
        self.prefix_is_text = not any(segment in SHARED_SLOTS for segment in self.segments if isinstance(segment, str))
        self._cached: _CachedPrefix | None = None
        self._paired = False  # whether the adapters' dropout was told to share its noise

    def train(self, mode: bool = True) -> "Prompt":
        self._cached = None  # the weights are about to change, or have: fused optimizers leave no other trace
        return super().train(mode)

    # ---------------------------------------------------------------- embeddings

    def embed(self, llm: nn.Module, slots: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The shared prefix (P, d) and what follows per clip (B, S, d), or None where the template has no clip slot.

        `slots` maps a per-clip slot to (B, d), a shared one to (n, d).
        """
        table = llm.get_input_embeddings()
        text = table(self.text_ids)  # (text tokens, d)
        if self.token_norm:
            norm = text.float().norm(dim=-1).mean().detach()
            slots = {name: nn.functional.normalize(token.float(), dim=-1) * norm for name, token in slots.items()}
        slots = {name: token.to(device=text.device, dtype=text.dtype) for name, token in slots.items()}
        prefix, tail, start = [], [], 0
        for segment in self.segments:
            if isinstance(segment, list):
                piece, start = text[start : start + len(segment)], start + len(segment)
            else:
                piece = slots[segment]
            if isinstance(segment, str) and segment not in SHARED_SLOTS:
                tail.append(piece[:, None])  # (B, 1, d)
            elif tail:
                tail.append(piece[None].expand(tail[0].shape[0], -1, -1))
            else:
                prefix.append(piece)
        shared = torch.cat(prefix) if prefix else text[:0]
        return shared, torch.cat(tail, dim=1) if tail else None

    # ---------------------------------------------------------------- the pass

    def forward(
        self,
        llm: nn.Module,
        slots: dict[str, torch.Tensor],
        batch_size: int,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        owner: torch.Tensor | None = None,
    ) -> PromptOutput:
        """`owner` (B), where given, says with which clip each clip shares the noise of the adapters' dropout."""
        if output_attentions and llm.config._attn_implementation != "eager":
            raise ValueError(
                f"output_attentions=True, but attn_implementation is {llm.config._attn_implementation!r}, which never "
                "forms them; only 'eager' does. Load with attn_implementation='eager'."
            )
        if torch.is_grad_enabled():
            self._cached = None
        prefix, tail = self.embed(llm, slots)
        wants_all = output_hidden_states or output_attentions
        if tail is None:  # every clip reads the same: once is enough
            k, embeds = 1, prefix[None]
        else:
            clips, per_clip = tail.shape[:2]
            k = 1 if wants_all else self._clips_per_sequence(llm, clips, len(prefix), per_clip)
            if owner is not None or self._paired:
                share_noise(llm, None if owner is None else token_owners(owner, len(prefix), per_clip, k))
                self._paired = owner is not None
            if k == 1:
                embeds = torch.cat([prefix[None].expand(clips, -1, -1), tail], dim=1)  # (B, P + S, d)
        if wants_all:
            wanted = _wanted(output_hidden_states, output_attentions)
            out = llm(inputs_embeds=embeds, use_cache=False, **wanted)
            last = out.last_hidden_state[:, -1].contiguous()
            return PromptOutput(last.expand(batch_size, -1), *_per_layer(out, batch_size))
        if k == 1:
            ends = torch.arange(1, embeds.shape[0] + 1, device=embeds.device) * embeds.shape[1] - 1
            return PromptOutput(_last_states(llm, embeds, ends, use_cache=False).expand(batch_size, -1))
        return PromptOutput(self._packed(llm, prefix, tail, k))

    def _packed(self, llm: nn.Module, prefix: torch.Tensor, tail: torch.Tensor, k: int) -> torch.Tensor:
        """Packed pass of (P, d) and (B, S, d): k clips per sequence -> (B, d)."""
        clips, per_clip, width = tail.shape
        sequences = -(-clips // k)
        if spare := sequences * k - clips:  # the last sequence is filled with clips that are not read
            tail = torch.cat([tail, tail.new_zeros(spare, per_clip, width)])
        packed = tail.reshape(sequences, k * per_clip, width)
        kept = not (self.training or llm.training or torch.is_grad_enabled() or torch.compiler.is_compiling())
        use_cache = self.prefix_is_text and kept  # a compiled graph keeps nothing, and is a single one for that
        cache = self._prefix_cache(llm, prefix, sequences) if use_cache else None
        if cache is None:
            packed = torch.cat([prefix[None].expand(sequences, -1, -1), packed], dim=1)
        position = torch.arange(per_clip, device=packed.device).repeat(k) + len(prefix)  # clips start where one would
        if cache is None:
            position = torch.cat([torch.arange(len(prefix), device=packed.device), position])
        mask = tree_mask(len(prefix), per_clip, k, _query_dtype(packed), packed.device)
        length = packed.shape[1]
        ends = torch.arange(clips, device=packed.device)
        ends = ends // k * length + (length - k * per_clip) + (ends % k + 1) * per_clip - 1  # where each clip ends
        return _last_states(
            llm,
            packed,
            ends,
            attention_mask=mask[None, None, -length:].expand(sequences, 1, -1, -1),
            position_ids=position[None].expand(sequences, -1),
            **_cache_arguments(llm, cache),
        )

    def _clips_per_sequence(self, llm: nn.Module, clips: int, prefix: int, per_clip: int) -> int:
        # Attention within chunks is a window too; ALiBi's biases take no mask of our own.
        limits = [getattr(llm.config, name, None) for name in ("sliding_window", "attention_chunk_size")]
        window = min([limit for limit in limits if limit], default=None)
        biased = llm.config.model_type in ("bloom", "mpt") or getattr(llm.config, "alibi", False)
        implementation = llm.config._attn_implementation or "eager"
        if self.clips_per_sequence == 1 or prefix == 0 or clips <= 1 or biased:
            return 1  # nothing is shared
        if (window is not None and prefix + per_clip > window) or implementation not in ("eager", "sdpa"):
            return 1  # a mask of our own would silently replace the window, and flash attention takes none
        if self.clips_per_sequence is not None:
            return min(self.clips_per_sequence, clips)
        return cheapest_packing(clips, prefix, per_clip, _linear_per_token(llm), _attention_per_pair(llm))

    # ---------------------------------------------------------------- the cached prefix

    def _prefix_cache(self, llm: nn.Module, prefix: torch.Tensor, sequences: int) -> DynamicCache:
        """A cache that holds the prefix for every sequence; computed once per state of the weights."""
        state = _state_of(llm, prefix)
        cached = self._cached  # read once: other threads may replace it
        if cached is None or cached.weights != state:
            fresh = DynamicCache()
            llm(inputs_embeds=prefix[None], **_cache_arguments(llm, fresh))
            cached = _CachedPrefix(state, [(layer.keys, layer.values) for layer in fresh.layers])
            self._cached = cached
        cache = DynamicCache()
        for index, (keys, values) in enumerate(cached.layers):
            cache.update(keys.expand(sequences, -1, -1, -1), values.expand(sequences, -1, -1, -1), index)
        return cache

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_cached": None}  # a copy of the model finds its own


def _last_states(llm: nn.Module, embeds: torch.Tensor, rows: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """The LLM's last states (n, d) of `rows` (n): positions in (sequences, length), flattened."""
    hidden = llm(inputs_embeds=embeds, **inputs).last_hidden_state
    return hidden.flatten(0, 1)[rows.to(hidden.device)]  # a copy: strided inputs of a bfloat16 layer are slow on CPUs


def _cache_arguments(llm: nn.Module, cache: DynamicCache | None) -> dict[str, Any]:
    """transformers 5.24 calls `cache` what was called `past_key_values`."""
    if cache is None:
        return {"use_cache": False}
    renamed = "cache" in inspect.signature(llm.forward).parameters
    return {"use_cache": True, "cache" if renamed else "past_key_values": cache}


def tree_mask(prefix: int, per_clip: int, clips: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Additive mask (P + kS, P + kS): causal, and no clip sees another."""
    clip_of = torch.arange(clips, device=device).repeat_interleave(per_clip)
    owner = torch.cat([torch.full((prefix,), -1, device=device), clip_of])  # -1: the shared prefix
    sees = (owner[None, :] == owner[:, None]) | (owner[None, :] == -1)
    sees &= torch.ones_like(sees).tril()
    return torch.zeros(sees.shape, dtype=dtype, device=device).masked_fill(~sees, torch.finfo(dtype).min)


def token_owners(owner: torch.Tensor, prefix: int, per_clip: int, clips: int) -> torch.Tensor:
    """For each token of packed sequences (sequences, P + kS), the number of the token whose noise it gets.

    A clip's tokens get those of the clip that `owner` (B) names, the prefix of every sequence that of the first.
    """
    length = prefix + clips * per_clip
    sequences = -(-len(owner) // clips)
    every = torch.arange(sequences * clips, device=owner.device)
    every[: len(owner)] = owner  # spare clips at the end stay their own
    first = every // clips * length + prefix + every % clips * per_clip  # (sequences k): where the owner begins
    own = (first[:, None] + torch.arange(per_clip, device=owner.device)).view(sequences, clips * per_clip)
    shared = torch.arange(prefix, device=owner.device).expand(sequences, -1)
    return torch.cat([shared, own], dim=1)


def cheapest_packing(clips: int, prefix: int, per_clip: int, linear: float, attention: float) -> int:
    """The number of clips per sequence, k, with the least work: linear layers once per token, attention per pair.

    k = 1 repeats the prefix for every clip; a larger k shares it among k, at an attention quadratic in k S.
    """

    def work(k: int) -> float:
        length = prefix + k * per_clip
        return -(-clips // k) * (length * linear + length**2 * attention)

    # Only the counts of sequences matter: of the k that need as many, the smallest fills them best.
    candidates = {-(-clips // sequences) for sequences in range(1, clips + 1)}
    return min(sorted(candidates), key=work)


def _linear_per_token(llm: nn.Module) -> float:
    embedding = llm.get_input_embeddings().weight.numel()
    return 2.0 * (sum(parameter.numel() for parameter in llm.parameters()) - embedding)


def _attention_per_pair(llm: nn.Module) -> float:
    config = llm.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 4.0 * config.num_hidden_layers * config.num_attention_heads * head_dim * ATTENTION_COST


def _state_of(llm: nn.Module, prefix: torch.Tensor) -> tuple:
    """Changes whenever a weight is replaced, moved or written, an adapter switched, or the pass's precision changes.

    Version counters miss some writes (fused optimizers, `.data`), so the adapters' norms stand beside them.
    """
    weights = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in llm.parameters())
    layers = lora_layers(llm).values()
    switches = tuple((layer.disable_adapters, *layer.active_adapters, *layer.scaling.values()) for layer in layers)
    adapters = [parameter.detach() for name, parameter in llm.named_parameters() if "lora_" in name]
    norms = torch.stack(torch._foreach_norm(adapters)).tolist() if adapters else []
    autocast = torch.is_autocast_enabled(prefix.device.type) and torch.get_autocast_dtype(prefix.device.type)
    return weights, switches, tuple(norms), autocast, llm.config._attn_implementation


def _query_dtype(embeds: torch.Tensor) -> torch.dtype:
    """The dtype attention will see: additive masks must have it."""
    device = embeds.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else embeds.dtype


def _wanted(hidden_states: bool, attentions: bool) -> dict[str, bool]:
    wanted = {"output_hidden_states": hidden_states, "output_attentions": attentions}
    return {name: True for name, asked in wanted.items() if asked}


def _per_layer(out: Any, batch_size: int) -> tuple[tuple[torch.Tensor, ...] | None, tuple[torch.Tensor, ...] | None]:
    def for_each_clip(layers):
        return None if layers is None else tuple(layer.expand(batch_size, *layer.shape[1:]) for layer in layers)

    return for_each_clip(getattr(out, "hidden_states", None)), for_each_clip(getattr(out, "attentions", None))


__all__ = ["Prompt", "PromptOutput", "cheapest_packing", "compile_prompt", "token_owners", "tree_mask"]
