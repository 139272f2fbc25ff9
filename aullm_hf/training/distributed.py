"""Who else is at work: the processes of torchrun or `accelerate launch`, as one training or several side by side."""

import os
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

import torch

# What torchrun and `accelerate launch` tell a process about the others.
_RANK_VARIABLES = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_NAME",
    "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS",
    "TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE", "NODE_RANK",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that were started with it."""

    rank: int
    local_rank: int
    count: int


def place_of(environ: MutableMapping[str, str] = os.environ) -> Place:
    return Place(
        rank=int(environ.get("RANK", 0)),
        local_rank=int(environ.get("LOCAL_RANK", 0)),
        count=int(environ.get("WORLD_SIZE", 1)),
    )


def leave_group(environ: MutableMapping[str, str] = os.environ) -> Place:
    """`--fold_parallel`: forget the others, so that the Trainer sees one process with one device.

    Must run before any TrainingArguments or PartialState exists: they read these variables once and for all.
    """
    place = place_of(environ)
    for name in _RANK_VARIABLES:
        environ.pop(name, None)
    if place.count > 1:
        visible = [one for one in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        if visible or torch.cuda.device_count():
            devices = visible or [str(index) for index in range(torch.cuda.device_count())]
            environ["CUDA_VISIBLE_DEVICES"] = devices[place.local_rank % len(devices)]
    return place


def requested_processes(command: Sequence[str]) -> int:
    """The number of processes that a launcher's command line asks for, or 1."""
    for index, word in enumerate(command):
        name, equals, value = word.partition("=")
        if name in ("--num_processes", "--num-processes", "--nproc_per_node", "--nproc-per-node"):
            value = value if equals else (command[index + 1] if index + 1 < len(command) else "")
            return int(value) if value.isdigit() else 1
    return 1


def warn_if_alone(place: Place) -> None:
    """`accelerate launch --cpu --num_processes 2` starts one process and says nothing about it."""
    wanted = max(requested_processes(words) for words in _parent_commands())
    if place.count < wanted:
        print(
            f"Warning: {wanted} processes were asked for and {place.count} runs. On CPUs start them with `torchrun "
            f"--nproc_per_node {wanted} training/train.py ..`: this version of `accelerate launch --cpu` starts one."
        )


def _parent_commands() -> list[list[str]]:
    """The command lines of this process's parents; empty where the system does not show them."""
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
