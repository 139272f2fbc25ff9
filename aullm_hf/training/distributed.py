"""The processes that torchrun or `accelerate launch` started: one training together, or several side by side."""

import os
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

import torch

# The variables by which torchrun and `accelerate launch` tell a process about the others.
_RANK_VARIABLES = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_NAME",
    "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS",
    "TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE", "NODE_RANK",
)  # fmt: skip


@dataclass(frozen=True)
class ProcessRank:
    """The rank of a process among those that were started with it."""

    rank: int
    local_rank: int
    world_size: int


def process_rank(environ: MutableMapping[str, str] = os.environ) -> ProcessRank:
    return ProcessRank(
        rank=int(environ.get("RANK", 0)),
        local_rank=int(environ.get("LOCAL_RANK", 0)),
        world_size=int(environ.get("WORLD_SIZE", 1)),
    )


def leave_group(environ: MutableMapping[str, str] = os.environ) -> ProcessRank:
    """`--fold_parallel`: remove the variables of the group, so that the Trainer sees one process with one device.

    Must run before any TrainingArguments or PartialState exists: they read these variables once.
    """
    process = process_rank(environ)
    for name in _RANK_VARIABLES:
        environ.pop(name, None)
    if process.world_size > 1:
        visible = [one for one in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        if visible or torch.cuda.device_count():
            devices = visible or [str(index) for index in range(torch.cuda.device_count())]
            environ["CUDA_VISIBLE_DEVICES"] = devices[process.local_rank % len(devices)]
    return process


def requested_processes(command: Sequence[str]) -> int:
    """The number of processes that a launcher's command line asks for, or 1."""
    for index, word in enumerate(command):
        name, equals, value = word.partition("=")
        if name in ("--num_processes", "--num-processes", "--nproc_per_node", "--nproc-per-node"):
            value = value if equals else (command[index + 1] if index + 1 < len(command) else "")
            return int(value) if value.isdigit() else 1
    return 1


def warn_if_alone(process: ProcessRank) -> None:
    """`accelerate launch --cpu --num_processes 2` starts a single process without a warning."""
    requested = max(requested_processes(words) for words in _parent_commands())
    if process.world_size < requested:
        print(
            f"Warning: {requested} processes were asked for and {process.world_size} runs. On CPUs start them with "
            f"`torchrun --nproc_per_node {requested} training/train.py ..`: this version of `accelerate launch --cpu` "
            "starts one."
        )


def _parent_commands() -> list[list[str]]:
    """The command lines of this process's parents; empty where the system has no /proc."""
    lines, pid = [[]], os.getppid()
    for _ in range(3):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                lines.append(stream.read().decode(errors="replace").split("\0"))
            with open(f"/proc/{pid}/stat") as stream:
                pid = int(stream.read().rpartition(")")[2].split()[1])
        except OSError:
            break
    return lines


def broadcast_from_first(number: int) -> int:
    """The first process's number, in every process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return number
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    shared = torch.tensor([number], dtype=torch.int64, device=device)
    torch.distributed.broadcast(shared, src=0)
    return int(shared.item())
