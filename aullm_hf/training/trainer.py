"""The Trainer of one fold: seeded order and draws, a learning rate per group, checkpoints that are whole or unused."""

import math
import zlib
from pathlib import Path

import torch
from accelerate.utils import TorchDynamoPlugin
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.trainer_callback import ProgressCallback

from ..arguments import first_few
from .batches import Batches
from .checkpoints import (
    OPTIMIZER,
    drop_checkpoints,
    load_state,
    random_state,
    save_state,
    seal,
    set_random_state,
    without_code,
)
from .nonfinite import LossWatch, NotFinite, nonfinite_weights
from .optimizer import adam_with_l2, parameter_groups
from .sampling import ClipSampler, DrawDataset, balanced_weights
from .settings import ConfigError
from .signals import StopOnRequest

SCHEDULER, SCALER = "scheduler.safetensors", "scaler.safetensors"
RANDOM = "random_{}.safetensors"  # of the process with this index


class FoldTrainer(Trainer):
    """Trains on `rows` of the clips.

    Everything random follows from (seed, name, step), so a training that was killed goes on with the same numbers.

    Args:
        model: the network, its weights fresh.
        args: the training section of the recipe, for this training.
        batches: makes batches of rows.
        rows: the clips to train on.
        name: with the seed, what the draws follow from.
        callbacks: further callbacks, such as a progress bar.
    """

    def __init__(self, model, args, batches: Batches, rows, name: str, callbacks: list[TrainerCallback]):
        weights = balanced_weights(batches.clips.labels[list(rows)]) if args.clip_sampling == "balanced" else None
        self.clip_sampler = ClipSampler(rows, seed=args.seed, fold=name, weights=weights)
        own = [
            _SeedEveryStep(args.seed, name, args.process_index),
            _ShuffleEveryEpoch(self.clip_sampler),
            StopOnRequest(),
        ]
        super().__init__(
            model=model,
            args=args,
            data_collator=batches,
            train_dataset=DrawDataset(len(rows)),
            callbacks=[*own, *callbacks],
        )
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ConfigError("FSDP and DeepSpeed are not supported: launch without them (data-parallel is).")
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.loss_parts = LossParts()
        self.watch = LossWatch()

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        parts = outputs.get("loss_parts")
        self.loss_parts.add(parts)
        self.watch.update(self.state.global_step, loss, parts or {})
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        if "loss" in logs:
            self.check_loss()
            logs = logs | self.loss_parts.take()
        super().log(logs, *args, **kwargs)

    def _build_accelerator_args(self, **given) -> dict:
        """Without the Trainer's `torch.compile` of the whole model: compiling.py compiles parts of it."""
        return super()._build_accelerator_args(**given) | {"dynamo_plugin": TorchDynamoPlugin(backend="no")}

    def floating_point_ops(self, inputs) -> int:
        """Not counted: the Trainer would take pixels for tokens, and go through all weights in every step."""
        return 0

    # ---- non-finite values

    def check_loss(self) -> None:
        """Stop if the loss of a step was nan or infinite. Every process calls this."""
        if (bad := self.watch.first_nonfinite(self.accelerator.gather)) is None:
            return
        step, terms = bad
        loss, *parts = (f"{name} {value:g}" for name, value in terms.items())
        clips, shown_parts = self.clips_of_step(step), f" ({', '.join(parts)})" if parts else ""
        raise NotFinite(
            f"{loss} at step {step + 1}{shown_parts}, of the clips {', '.join(clips)}",
            step=step + 1,
            clips=clips,
            terms=terms,
        )

    def check_weights(self) -> None:
        """Stop rather than save weights that are nan or infinite. Every process calls this."""
        self.check_loss()
        bad = nonfinite_weights(self.accelerator.unwrap_model(self.model, keep_torch_compile=False))
        counts = self.accelerator.gather(torch.tensor([len(bad)], device=self.args.device)).tolist()
        if any(counts):
            names = first_few(bad, 3) or "in another process"
            step = self.state.global_step
            raise NotFinite(
                f"weights are nan or infinite after step {step} ({names})",
                step=step,
                clips=self.clips_of_step(step - 1),
            )

    def clips_of_step(self, step: int) -> list[str]:
        """Names of the clips of a step (from 0), of all processes."""
        devices = self.args.per_device_train_batch_size * max(self.args.world_size, 1)
        batches = math.ceil(len(self.clip_sampler) / devices)
        steps = math.ceil(batches / self.args.gradient_accumulation_steps)
        size = devices * self.args.gradient_accumulation_steps
        epoch, place = divmod(step, steps)
        names = self.data_collator.clips.table["clip_id"]
        drawn = self.clip_sampler.order(epoch)[place * size : (place + 1) * size]
        return [names[row] for row in drawn.tolist()]

    def _get_train_sampler(self, train_dataset=None) -> Sampler:
        return self.clip_sampler

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            trained = self.model.trained_parameters()
            if self.args.adam_with_l2:
                self.optimizer = adam_with_l2(trained, self.args)
            else:
                kind, settings = self.get_optimizer_cls_and_kwargs(self.args, self.model)
                self.optimizer = kind(parameter_groups(trained, self.args), **settings)
        return self.optimizer

    # ---- checkpoints: safetensors and JSON in place of the Trainer's pickles

    def _save(self, output_dir=None, state_dict=None) -> None:
        """The weights alone, without the code beside them and the arguments that the Trainer would pickle."""
        if self.args.should_save:
            model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
            with without_code(model):
                model.save_pretrained(output_dir or self.args.output_dir, state_dict=state_dict)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.args.should_save:
            save_state(self.optimizer.state_dict(), Path(output_dir) / OPTIMIZER)
            save_state(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.optimizer.load_state_dict(load_state(Path(checkpoint) / OPTIMIZER))
            self.lr_scheduler.load_state_dict(load_state(Path(checkpoint) / SCHEDULER))

    def _save_scaler(self, output_dir: str) -> None:
        if self.args.should_save and self._scaler is not None:
            save_state(self._scaler.state_dict(), Path(output_dir) / SCALER)

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and self._scaler is not None and (Path(checkpoint) / SCALER).is_file():
            self._scaler.load_state_dict(load_state(Path(checkpoint) / SCALER))

    @property
    def _scaler(self):
        """The gradient scaler of fp16; None without."""
        return getattr(self.accelerator, "scaler", None)

    def _save_rng_state(self, output_dir: str) -> None:
        """One file per process."""
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_state(random_state(), Path(output_dir) / RANDOM.format(self.args.process_index))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Not restored for another number of processes: every step has a seed of its own."""
        if checkpoint is not None and (path := Path(checkpoint) / RANDOM.format(self.args.process_index)).is_file():
            set_random_state(load_state(path))

    def _save_checkpoint(self, model, trial) -> None:
        self.check_weights()
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # every process writes a part of it
        if self.args.should_save:
            checkpoint = self._checkpoint_folder()
            seal(checkpoint)
            drop_checkpoints(checkpoint.parent, but=checkpoint)

    def _checkpoint_folder(self) -> Path:
        return Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"


class LossParts:
    """Means of the loss's terms since they were last taken; summed on their device, fetched only to be logged.

    In a data-parallel run they are those of the first process.
    """

    def __init__(self):
        self.sums: dict[str, torch.Tensor] = {}
        self.passes = 0

    def add(self, parts: dict[str, torch.Tensor] | None) -> None:
        for name, part in (parts or {}).items():
            self.sums[name] = self.sums.get(name, 0.0) + part
        self.passes += bool(parts)

    def take(self) -> dict[str, float]:
        means = {f"loss_{name}": round(float(total) / self.passes, 6) for name, total in self.sums.items()}
        self.sums, self.passes = {}, 0
        return means


class _SeedEveryStep(TrainerCallback):
    """Dropout's noise follows from the step, not from what was drawn before it."""

    def __init__(self, *key):
        self.key = key

    def on_step_begin(self, args, state, control, **kwargs):
        torch.manual_seed(zlib.crc32(repr((*self.key, state.global_step)).encode()))


class _ShuffleEveryEpoch(TrainerCallback):
    """Accelerate sets a sampler's epoch through some of its wrappers and not through others."""

    def __init__(self, sampler: ClipSampler):
        self.sampler = sampler

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.sampler.set_epoch(int((state.epoch or 0) + 1e-6))
