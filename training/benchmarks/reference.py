"""The published loop's shape, written from its description, to measure this package against. Plain and competent:

- LED's matrix is filled by a double loop; the 3D-CNN's layers stand in the paper's order (ReLU before pooling).
- The prompt is embedded and run once per clip: (B, P + 1) tokens, whatever they share.
- The LLM is a causal LM with its head: logits over the whole vocabulary at every position, which nobody reads, and
  `output_hidden_states=True`, of which the last layer's last position is used. Its cache is left on, as by default.
- A step's optimizer is torch.optim.Adam as it comes, with L2 (the package's is the same, fused).
- A clip's frames are chosen in Python when its turn comes (a torch Dataset, collated one by one).
- Every fold is a training of its own: the LLM is loaded, adapters and vision are built again, transformers' Trainer
  runs, and the whole state_dict is saved by torch.save.

The same as the package's: adapters (peft, same settings, float32), F_high, projector, head, loss, dtype, data, and the
modules of AULLM++ where they are asked for. With the same weights the logits are the same; a test says so.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, PreTrainedModel, Trainer, TrainingArguments

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.model.adapters import freeze_llm, inject_lora
from aullm_hf.model.backbone import HighLevelHead, SqueezeExcitation
from aullm_hf.model.led import TemporalFilter
from aullm_hf.model.losses import configured_loss
from aullm_hf.model.projectors import PROJECTORS
from aullm_hf.training.clips import Clips


class LoopedFilter(TemporalFilter):
    """LED with its matrix filled element by element, as the formula is read."""

    def weights(self) -> torch.Tensor:
        alpha = self.log_alpha.double().exp()
        r1, r2 = self.logit_r1.double().sigmoid(), self.logit_r2.double().sigmoid()
        rows = []
        for i in range(self.num_frames):
            row = []
            for j in range(self.num_frames):
                if j < i:
                    row.append(torch.zeros_like(alpha))
                elif j == i:
                    row.append(alpha * (r1 - r2))
                else:
                    slow, fast = (1 - r1) ** (j - i) * r1 ** min(1, i), (1 - r2) ** (j - i) * r2 ** min(1, i)
                    row.append(alpha * (slow - fast))
            rows.append(torch.stack(row))
        return torch.stack(rows)


class PlainBackbone(nn.Module):
    """The 3D-CNN, layer by layer as described; names as the package's, so that weights can be handed over."""

    def __init__(self, config: AULLMConfig):
        super().__init__()
        low, mid = config.backbone_channels
        self.conv1 = nn.Conv3d(1, low, kernel_size=(1, 5, 5))
        self.pool1 = nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 3, 3))
        self.norm1 = nn.BatchNorm3d(low)
        self.drop1 = nn.Dropout3d(config.vision_dropout)
        self.conv2 = nn.Conv3d(low, mid, kernel_size=(2, 3, 3))
        self.norm2 = nn.BatchNorm3d(mid)
        self.attention = SqueezeExcitation(mid, config.se_reduction)
        self.pool2 = nn.MaxPool3d(kernel_size=(2, 2, 2))

    def forward(self, motion: torch.Tensor) -> torch.Tensor:
        low = self.drop1(self.norm1(self.pool1(self.conv1(motion).relu())))  # (B, 32, 5, 20, 20)
        mid = self.norm2(self.conv2(low).relu())  # (B, 64, 4, 18, 18)
        return self.pool2(self.attention(mid)[0])  # (B, 64, 2, 9, 9)


class ReferenceDetector(nn.Module):
    """From clips to one logit per AU, the way the published loop goes."""

    def __init__(self, config: AULLMConfig, llm: PreTrainedModel):
        """`llm`: a causal LM that has its adapters."""
        super().__init__()
        self.config, self.llm = config, llm
        self.led = LoopedFilter(config)
        self.backbone = PlainBackbone(config)
        self.drop = nn.Dropout3d(config.vision_dropout)
        self.high = HighLevelHead(config) if config.uses_high else None
        self.projector = PROJECTORS[config.projector](config)
        self.classifier = nn.Linear(config.head_input, config.num_labels)

    @classmethod
    def like(cls, detector: AULLMForAUDetection, causal: PreTrainedModel) -> "ReferenceDetector":
        """With the detector's weights; `causal` is the causal LM whose body the detector stands around."""
        reference = cls(detector.config, causal)
        own = {name: value for name, value in detector.state_dict().items() if ".llm." not in name}
        own = {name.removeprefix("model."): value for name, value in own.items() if "text_ids" not in name}
        missing, unknown = reference.load_state_dict(own, strict=False)
        if unknown or any(not name.startswith("llm.") for name in missing):
            raise ValueError(f"the reference and the detector differ in {[*missing, *unknown]}")
        return reference.to(detector.device)

    def encode_frames(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, T, 1, H, W) -> one token per clip (B, d)."""
        motion = self.led(pixel_values)[:, 1:].transpose(1, 2)
        f_mid = self.drop(self.backbone(motion))
        f_high = self.high(f_mid) if self.high is not None else None
        levels = [f_mid.flatten(1)] * self.config.uses_mid + [f_high] * self.config.uses_high
        return self.projector(torch.cat(levels, dim=1))

    def run_llm(self, token: torch.Tensor) -> torch.Tensor:
        """The LLM's last state of every clip (B, d)."""
        table, pieces = self.llm.get_input_embeddings(), []
        for segment in self.config.prompt_segments:
            if segment == "visual":
                pieces.append(token[:, None].to(table.weight.dtype))
            else:
                text = torch.tensor(segment, device=token.device).expand(len(token), -1)
                pieces.append(table(text))
        out = self.llm(inputs_embeds=torch.cat(pieces, dim=1), output_hidden_states=True)
        return out.hidden_states[-1][:, -1]

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.classifier(self.run_llm(self.encode_frames(pixel_values)).float())
        if labels is None:
            return {"logits": logits}
        return {"loss": configured_loss(self.config, logits, labels), "logits": logits}


class ClipItems(Dataset):
    """One clip at a time, its frames chosen and scaled when it is asked for."""

    def __init__(self, clips: Clips, rows: Sequence[int], num_frames: int, *, train: bool, scale: float = 1 / 255):
        self.clips, self.rows, self.num_frames, self.train, self.scale = clips, list(rows), num_frames, train, scale

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        row = self.rows[index]
        start, end = self.clips.starts[row], self.clips.starts[row + 1]
        last = end - start - 1
        if self.train and last > self.num_frames:
            last = np.random.randint(self.num_frames, last)
        chosen = np.round(np.linspace(0, last, self.num_frames)).astype(int)
        frames = [torch.from_numpy(self.clips.frames[start + at]).float() * self.scale for at in chosen]
        return {"pixel_values": torch.stack(frames)[:, None], "labels": torch.from_numpy(self.clips.labels[row])}


def load_causal(base: Path | str, config: AULLMConfig) -> PreTrainedModel:
    """The LLM from its folder, with fresh adapters, frozen but for them."""
    llm = AutoModelForCausalLM.from_pretrained(base, dtype=config.llm_dtype)
    inject_lora(llm, config.lora)
    freeze_llm(llm)
    return llm


def train_fold(
    config: AULLMConfig,
    base: Path,
    clips: Clips,
    train_rows: Sequence[int],
    test_rows: Sequence[int],
    training: TrainingArguments,
    folder: Path,
) -> np.ndarray:
    """One fold of the loop: a new model, trained by transformers' Trainer and saved; the test clips' logits."""
    model = ReferenceDetector(config, load_causal(base, config))
    for module in model.modules():
        if isinstance(module, TemporalFilter):
            module.reset_parameters()
    trainer = Trainer(
        model=model, args=training, train_dataset=ClipItems(clips, train_rows, config.num_frames, train=True)
    )
    trainer.train()
    model.eval()
    loader = trainer.get_eval_dataloader(ClipItems(clips, test_rows, config.num_frames, train=False))
    with torch.no_grad():
        logits = [model(batch["pixel_values"])["logits"] for batch in loader]
    torch.save(model.state_dict(), folder / "model.pt")
    return torch.cat(logits).cpu().numpy()
