"""What a pass costs in floating-point operations, and how many of them this machine can do in a second.

`llm_flops` is a formula that a test holds against torch's counter, which sees attention only in its `eager` form.
"""

import statistics
import time

import torch
from transformers import PreTrainedConfig

from benchmarks.timing import synchronize


def llm_flops(
    config: PreTrainedConfig,
    sequences: int,
    length: int,
    *,
    cached: int = 0,
    rank: int = 0,
    head: bool = False,
    backward: bool = False,
) -> int:
    """A pass of a Qwen2-shaped LLM.

    Backward goes through the frozen layers to their inputs and to the adapters, not to the frozen weights, nor through
    the head, of which nothing is asked.

    Args:
        sequences, length: the tokens that are run.
        cached: tokens of a cache that each sequence sees besides.
        rank: of the adapters on the query and value projections.
        head: whether the language-model head is run, at every position.
        backward: whether the backward pass is counted too.
    """
    tokens, layers, width = sequences * length, config.num_hidden_layers, config.hidden_size
    size = getattr(config, "head_dim", None) or width // config.num_attention_heads
    queries, keys = config.num_attention_heads * size, config.num_key_value_heads * size
    frozen = layers * (2 * width * queries + 2 * width * keys + 3 * width * config.intermediate_size)
    adapters = layers * rank * (width + queries + width + keys)
    pairs = sequences * length * (length + cached)
    attention = layers * 4 * queries * pairs
    forward = 2 * (frozen + adapters) * tokens + attention
    words = 2 * config.vocab_size * width * tokens if head else 0
    backwards = 2 * (frozen + 2 * adapters) * tokens + 2 * attention
    return forward + words + (backwards if backward else 0)


def matrix_rate(dtype: torch.dtype, device: torch.device | str = "cpu", size: int | None = None) -> float:
    """Operations a second of a large square matrix product: the physical limit of every pass here."""
    size = size or (8192 if torch.device(device).type == "cuda" else 2048)
    left, right = torch.randn(2, size, size, device=device).to(dtype)
    seconds = []
    for _ in range(6):
        synchronize(device)
        begun = time.perf_counter()
        left @ right
        synchronize(device)
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / statistics.median(seconds[1:])
