"""What a pass costs in floating-point operations, and how many of them this machine can do in a second.

`llm_flops` is a formula, `counted` is torch's own counter; a test holds the one against the other. The counter sees
attention only where it is written as matrix products (`eager`), so passes are timed by the formula's number.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedConfig

from benchmarks.timing import wait_for


def counted(run: Callable[[], object]) -> int:
    """Operations of the matrix products and convolutions of `run`, backward passes included."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def llm_flops(
    config: PreTrainedConfig,
    sequences: int,
    length: int,
    *,
    kept: int = 0,
    rank: int = 0,
    read: int | None = None,
    head: bool = False,
    backward: bool = False,
) -> int:
    """A pass of a Qwen2-shaped LLM over `sequences` of `length` tokens that also see `kept` tokens of a cache.

    `rank`: of the adapters on the query and value projections; `read`: how many rows pass through the last layer's
    MLP, where not all do; `head`: the language-model head, at every position. Backward goes through the frozen layers
    to their inputs and to the adapters, not to the frozen weights, nor through the head, of which nothing is asked.
    """
    tokens, layers, width = sequences * length, config.num_hidden_layers, config.hidden_size
    size = getattr(config, "head_dim", None) or width // config.num_attention_heads
    queries, keys = config.num_attention_heads * size, config.num_key_value_heads * size
    frozen = layers * (2 * width * queries + 2 * width * keys + 3 * width * config.intermediate_size)
    adapters = layers * rank * (width + queries + width + keys)
    pairs = sequences * length * (length + kept)
    attention = layers * 4 * queries * pairs
    spared = 0 if read is None else 3 * width * config.intermediate_size * (tokens - read)
    forward = 2 * ((frozen + adapters) * tokens - spared) + attention
    words = 2 * config.vocab_size * width * tokens if head else 0
    backwards = 2 * ((frozen + 2 * adapters) * tokens - spared) + 2 * attention
    return forward + words + (backwards if backward else 0)


def matrix_rate(dtype: torch.dtype, device: torch.device | str = "cpu", size: int | None = None) -> float:
    """Operations a second of a large square matrix product: the physical limit of every pass here."""
    size = size or (8192 if torch.device(device).type == "cuda" else 2048)
    left, right = torch.randn(2, size, size, device=device).to(dtype)
    seconds = []
    for _ in range(6):
        wait_for(device)
        begun = time.perf_counter()
        left @ right
        wait_for(device)
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / statistics.median(seconds[1:])
