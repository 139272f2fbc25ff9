"""Training steps of a detector around an LLM that no single GPU holds: its layers are sharded over the devices.

    torchrun --nproc_per_node 8 training/sharded_step.py --llm Qwen/Qwen2.5-72B                    # torch's FSDP2
    torchrun --nproc_per_node 2 training/sharded_step.py --llm FOLDER --cpu                        # to try it
    accelerate launch --config_file hub_configs/accelerate/zero3.yaml training/sharded_step.py --llm Qwen/Qwen2.5-72B

A loop to start from, on clips of noise: train.py itself takes no sharded model, and seldom needs one, since the LLM is
frozen (`benchmark.py memory` says when). With FSDP the LLM alone is sharded; what stands around it is small and stays
whole on every device (FSDP takes no scalars such as LED's), and its gradients are averaged here. DeepSpeed's ZeRO-3
takes the whole model; it was not run here.
"""

import argparse
from collections.abc import Callable

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard

from aullm_hf.model import AULLMConfig, AULLMForAUDetection


def shard_llm(model: AULLMForAUDetection) -> None:
    """Shard the LLM's layers over all processes. The prompt uses the embedding by itself: it stays whole."""
    llm = model.model.llm
    for layer in llm.layers:
        fully_shard(layer)
    fully_shard(llm, ignored_params=set(llm.get_input_embeddings().parameters()))


def average_gradients(model: AULLMForAUDetection) -> None:
    """Over all processes, of what is not sharded: FSDP averages its own."""
    own = {id(parameter) for parameter in model.model.llm.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in own and parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= distributed.get_world_size()


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    backward: Callable[[torch.Tensor], None],
    pixels: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    """The loss of this device's clips, before the step."""
    loss = model(pixels, labels=labels)["loss"]
    backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llm", required=True, help="a Hub name or a folder")
    parser.add_argument("--projector", default="linear")
    parser.add_argument("--batch", type=int, default=8, help="clips per device and step")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--cpu", action="store_true")
    args = parser.parse_args(argv)

    accelerator = Accelerator(cpu=args.cpu)
    model = AULLMForAUDetection.from_base_llm(AULLMConfig(projector=args.projector), args.llm).train()
    config = model.config
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        optimizer = torch.optim.AdamW(model.trained_parameters().values(), lr=args.rate)
        model, optimizer = accelerator.prepare(model, optimizer)
        backward = accelerator.backward
    else:
        shard_llm(model)
        model.to(accelerator.device)
        optimizer = torch.optim.AdamW(model.trained_parameters().values(), lr=args.rate)

        def backward(loss: torch.Tensor) -> None:
            loss.backward()
            average_gradients(model)

    noise = torch.Generator().manual_seed(accelerator.process_index)
    shape = (args.batch, config.num_frames, 1, config.image_size, config.image_size)
    pixels = torch.rand(shape, generator=noise).to(accelerator.device)
    labels = (torch.rand(args.batch, config.num_labels, generator=noise) < 0.2).float().to(accelerator.device)
    for step in range(args.steps):
        loss = accelerator.reduce(train_step(model, optimizer, backward, pixels, labels), reduction="mean")
        accelerator.print(f"step {step}: loss {loss.item():.4f} on {accelerator.num_processes} devices")
    if accelerator.device.type == "cuda":
        accelerator.print(f"highest memory of a device: {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")
    accelerator.end_training()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
