"""AU-LLM (arXiv 2507.21778) and AULLM++ (arXiv 2603.08387), our reconstruction from its abstract and drawing.

frames -> temporal filter, or optical flow (ours) -> 3D-CNN -> projector -> one token in the prompt of a frozen,
LoRA-tuned LLM -> its last state -> one linear layer -> a logit per AU. AULLM++ looks at the 3D-CNN's map at several
granularities (evidence.py), adds a graph of AUs with a token of its own (graph.py), and in training asks what would be
predicted of a flipped AU (counterfactual.py). Loading is in checkpointing.py. Unlike AU-LLM's code, the loss follows
the paper's formula, and the text is read once for the whole batch (prompting.py).
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import init
from transformers import AutoModel, PreTrainedModel
from transformers.utils import ModelOutput, can_return_tuple

from .adapters import freeze_llm, inject_lora, reset_lora
from .arguments import check_pixel_values
from .backbone import HighLevelHead, MotionBackbone
from .checkpointing import CheckpointMixin, frozen_keys, seeded_start
from .configuration_aullm import AULLMConfig
from .counterfactual import Flips, consistency_loss, draw_flips, flip_loss
from .detector import AUDetectorMixin
from .dropout import share_noise
from .evidence import EvidenceOutput, MultiGranularityEvidence
from .explaining import ExplainMixin
from .flow import OpticalFlow
from .graph import CellNodes, ChunkNodes, RelationGraph, RelationLayer, prior_mask
from .head import Classifier, head_features
from .intensity import IntensityHead, check_intensities, expected_level, intensity_loss
from .led import TemporalFilter
from .projectors import PROJECTORS, PromptTokens
from .prompting import Prompt

_INITIALISE_THEMSELVES = (TemporalFilter, OpticalFlow, PromptTokens, MultiGranularityEvidence, RelationGraph,
                          RelationLayer, CellNodes, ChunkNodes, IntensityHead)  # fmt: skip


@dataclass
class AULLMModelOutput(ModelOutput):
    """What the classifier reads: the LLM's last state (B, d), or as `head_reads` and the projector say (head.py)."""

    last_hidden_state: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    evidence: EvidenceOutput | None = None


@dataclass
class AUDetectionOutput(ModelOutput):
    """loss (with labels) and logits (B, n_AU); the rest on request.

    intensity (B, n_AU): expected levels, 0 (absent) to 5 (E), of a model with that output (`config.intensity`).
    loss_parts: where the loss has several terms, each as it enters the sum, without gradient.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    intensity: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    evidence: EvidenceOutput | None = None
    loss_parts: dict[str, torch.Tensor] | None = None


class AULLMPreTrainedModel(CheckpointMixin, PreTrainedModel):
    """What the body and the detector share: how they start, are loaded and saved."""

    config_class = AULLMConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ("video",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    # The loss is a mean over clips: the Trainer has to divide it by the accumulation steps itself.
    accepts_loss_kwargs = False

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, _INITIALISE_THEMSELVES):
            module.reset_parameters()
        elif isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d)):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            bound = 1 / math.sqrt(module.weight[0].numel())
            if module.bias is not None:
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm3d)):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            if isinstance(module, nn.BatchNorm3d):
                init.zeros_(module.running_mean)
                init.ones_(module.running_var)
                init.zeros_(module.num_batches_tracked)
        if isinstance(module, Classifier):
            module.silence_state()
        elif isinstance(module, AULLMModel):  # comes after the LLM's own initialisation, which would undo it
            reset_lora(module.llm)

    def reset_trained(self, seed: int) -> None:
        """Give everything that is trained a fresh start, determined by `seed` alone; the frozen LLM stays as it is."""
        body = self.base_model
        frozen = {id(module) for module in body.llm.modules()}
        optional = [body.mge] if body.mge is not None else []
        optional += [module for module in self.modules() if isinstance(module, IntensityHead)]
        optional = [module for part in optional for module in part.modules()]
        late = frozen | {id(module) for module in (body, *optional)}
        with seeded_start(self, seed):
            for module in self.modules():
                if id(module) not in late:
                    self._init_weights(module)
            reset_lora(body.llm)  # late, so that the rest starts alike with and without adapters
            for module in optional:  # last, so that all else does with and without MGE and intensities
                self._init_weights(module)

    def set_prior(self, edges: list[list]) -> None:
        """Other relations between the AUs than those the graph was made with."""
        graph = self.base_model.graph
        if graph is None:
            raise ValueError("This model has no relation graph (config.graph is False): there is no prior to set.")
        config = copy.deepcopy(self.config)
        config.prior_edges = edges
        config.validate()
        self.config.prior_edges = config.prior_edges
        if self.config.prior == "facs":
            self.config.prior = "given"
        graph.prior.copy_(prior_mask(config.prior_edges, config.aus))


class AULLMModel(AULLMPreTrainedModel):
    """The body: a clip in, the LLM's last state out.

    Args:
        config: the configuration, with a compiled prompt (`from_base_llm` compiles it).
        llm: the LLM; by default one with random weights.

    Example:
        >>> import torch
        >>> from aullm_hf import AULLMModel
        >>> body = AULLMModel.from_pretrained("CHECKPOINT_FOLDER")
        >>> body(torch.rand(2, 6, 1, 32, 32)).last_hidden_state.shape
        torch.Size([2, 64])
    """

    def __init__(self, config: AULLMConfig, llm: PreTrainedModel | None = None):
        super().__init__(config)
        config.validate()
        self.led = TemporalFilter(config) if config.motion != "flow" else None
        self.flow = OpticalFlow(config) if config.motion != "led" else None
        self.backbone = MotionBackbone(config)
        self.mge = MultiGranularityEvidence(config) if config.mge else None
        self.mid_drop = nn.Dropout3d(config.vision_dropout)
        self.high = HighLevelHead(config) if config.uses_high else None
        self.projector = PROJECTORS[config.projector](config)
        self.graph = RelationGraph(config) if config.graph else None
        self.prompt = Prompt(config)
        if llm is None:
            dtype = getattr(torch, config.llm_dtype) if config.llm_dtype else None
            llm = AutoModel.from_config(config.text_config, dtype=dtype)
        self.llm = llm
        if config.lora:
            inject_lora(self.llm, config.lora)
        self.post_init()
        freeze_llm(self.llm)
        if not config.save_base_weights:
            self._keys_to_ignore_on_save = frozen_keys(self, "llm.")

    def get_input_embeddings(self) -> nn.Module:
        return self.llm.get_input_embeddings()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        output_evidence: bool | None = None,
        flips: Flips | None = None,
    ) -> AULLMModelOutput:
        """pixel_values (B, T, 1, H, W), as the processor makes them; `flips` adds rows of clips with a flipped AU."""
        x_att, channel_attention = self.encode_frames(pixel_values)
        output = self.run_llm(
            x_att,
            flips=flips,
            output_hidden_states=_or(output_hidden_states, self.config.output_hidden_states),
            output_attentions=_or(output_attentions, self.config.output_attentions),
        )
        output.evidence.channel_attention = channel_attention
        if not output_evidence:
            return AULLMModelOutput(output.last_hidden_state, output.hidden_states, output.attentions)
        return output

    def encode_frames(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clips -> x_att (B, C, T-2, H", W"), the 3D-CNN's map, and its channel attention (B, T-2, C)."""
        check_pixel_values(self.config, pixel_values)
        led = [self.led(pixel_values)[:, 1:].transpose(1, 2)] if self.led is not None else []  # (B, 1, T-1, H, W)
        flow = [self.flow(pixel_values)] if self.flow is not None else []  # (B, 3, T-1, H, W)
        return self.backbone(torch.cat(led + flow, dim=1).to(self.backbone.conv1.weight.dtype))

    def run_llm(
        self,
        x_att: torch.Tensor,
        *,
        flips: Flips | None = None,
        prior: torch.Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> AULLMModelOutput:
        """x_att (B, C, T-2, H", W") -> the tokens -> the LLM's last state, with the evidence that arose on the way.

        Args:
            x_att: the 3D-CNN's map.
            flips: AUs to flip in the graph; a row of the last state for each follows those of the clips.
            prior: (B, n, n, relations) in place of the graph's.
        """
        evidence, owner, fused = EvidenceOutput(), None if flips is None else flips.rows(len(x_att)), x_att
        if self.mge is not None:
            fused, evidence.branch_weights, evidence.branch_shares = self.mge(x_att)
        evidence.mid_map = self.backbone.pool2(fused)  # F_mid (B, C, T', H', W')
        f_mid = self.mid_drop(evidence.mid_map)
        f_high = self.high(f_mid) if self.high is not None else None  # (B, 256)
        features = [f_mid.flatten(1)] * self.config.uses_mid + [f_high] * self.config.uses_high
        if isinstance(self.projector, PromptTokens):
            slots = {"prompt": self.projector()}  # (n, d)
        else:
            slots = {"visual": self.projector(torch.cat(features, dim=1))}  # (B, d)
        if self.graph is not None:
            share_noise(self.graph, owner)
            graph, content = self.graph(x_att, prior, flips), slots["visual"]
            if flips is not None:
                content = torch.cat([content, content.detach()[flips.owner]])
            slots = {"content": content, "instruction": graph.token}
            evidence.au_attention, evidence.relation_strengths = graph.attention, graph.strengths
            evidence.aux_logits, evidence.evidence_logits = graph.logits[: len(x_att)], graph.evidence_logits
        if "prompt" not in slots:
            evidence.tokens = torch.stack(list(slots.values()), dim=1)  # (B, slots, d)
        if self.config.head_reads == "token":
            return AULLMModelOutput(head_features(None, evidence.tokens), evidence=evidence)
        rows = x_att.shape[0] if owner is None else owner.shape[0]
        llm = self.prompt(self.llm, slots, rows, output_hidden_states, output_attentions, owner)
        last = llm.last_hidden_state.to(f_mid.device)  # (B, d)
        if "prompt" in slots:
            last = torch.cat([last.to(f_high.dtype), f_high], dim=1)
        elif self.config.head_reads == "both":
            last = head_features(last, evidence.tokens)
        return AULLMModelOutput(last, llm.hidden_states, llm.attentions, evidence)


class AULLMForAUDetection(AUDetectorMixin, ExplainMixin, AULLMPreTrainedModel):
    """The detector: a clip in, a logit per AU out (`config.aus` names them, in order).

    Args:
        config: the configuration, with a compiled prompt (`from_base_llm` compiles it).
        llm: the LLM; by default one with random weights.

    Example:
        >>> import torch
        >>> from aullm_hf import AULLMForAUDetection, AULLMVideoProcessor
        >>> model = AULLMForAUDetection.from_pretrained("CHECKPOINT_FOLDER")
        >>> processor = AULLMVideoProcessor.from_pretrained("CHECKPOINT_FOLDER")
        >>> with torch.no_grad():
        ...     logits = model(**processor("VIDEO.mp4")).logits
        >>> dict(zip(model.config.labels, model.probabilities(logits)[0].tolist()))  # doctest: +ELLIPSIS
        {'AU1': 0..., 'AU4': 0..., 'AU12': 0...}
    """

    def __init__(self, config: AULLMConfig, llm: PreTrainedModel | None = None):
        super().__init__(config)
        config.auto_map = {
            "AutoConfig": "configuration_aullm.AULLMConfig",
            "AutoModel": "modeling_aullm.AULLMForAUDetection",
            "AutoModelForVideoClassification": "modeling_aullm.AULLMForAUDetection",
        }
        config.custom_pipelines = {
            "au-detection": {"impl": "pipeline_aullm.AUDetectionPipeline", "pt": ["AutoModel"], "type": "video"}
        }
        self.model = AULLMModel(config, llm=llm)
        self.classifier = Classifier(config)
        self.intensity = IntensityHead(config) if config.intensity else None
        self.post_init()
        freeze_llm(self.model.llm)
        if not config.save_base_weights:
            self._keys_to_ignore_on_save = frozen_keys(self, "model.llm.")

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        intensities: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        output_evidence: bool | None = None,
    ) -> AUDetectionOutput:
        """A logit for each AU of each clip, and the loss where there are labels.

        Args:
            pixel_values: clips (B, T, 1, H, W), as AULLMVideoProcessor makes them.
            labels: (B, n_AU) of 0 and 1.
            intensities: (B, n_AU) from 0 (absent) to 5 (E), NaN where not known; for a model with that output.
            output_hidden_states: whether the states of the LLM's layers are returned too.
            output_attentions: whether its attentions are; only attn_implementation="eager" forms them.
            output_evidence: whether what the prediction rests on is returned too, as an EvidenceOutput.

        Example:
            >>> import torch
            >>> from aullm_hf import AULLMForAUDetection
            >>> model = AULLMForAUDetection.from_pretrained("CHECKPOINT_FOLDER")
            >>> clips, labels = torch.rand(2, 6, 1, 32, 32), torch.tensor([[1, 0, 0], [0, 0, 1]])
            >>> output = model(clips, labels=labels, output_evidence=True)
            >>> output.logits.shape, output.loss.ndim, output.evidence.tokens.shape
            (torch.Size([2, 3]), 0, torch.Size([2, 1, 64]))
        """
        check_intensities(self.config, intensities, labels, training=self.training)
        flips = None
        if labels is not None and self.training and self.config.ccr_weight:
            if output_evidence or output_hidden_states or output_attentions:
                raise ValueError(
                    "A training pass with CCR (ccr_weight above 0) returns loss, logits and loss_parts only. Ask for "
                    "evidence, hidden states or attentions in eval mode, or without labels."
                )
            flips = draw_flips(labels, self.config.ccr_fraction)
        body = self.model(
            pixel_values,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            output_evidence=output_evidence or (labels is not None and self.model.graph is not None),
            flips=flips,
            return_dict=True,
        )
        logits = self.classify(body.last_hidden_state)  # (B, n_AU), and in training the flipped clips' after them
        batch = pixel_values.shape[0]  # not its len(), which an exporter takes for a constant
        logits, flipped = logits[:batch], logits[batch:]
        levels = None if self.intensity is None else self.intensity(body.last_hidden_state[:batch])
        loss, parts = None, None
        if labels is not None:
            terms = self._loss_terms(logits, labels, body.evidence)
            if intensities is not None:
                terms["intensity"] = self.config.intensity_weight * intensity_loss(levels, intensities)
            if flips is not None:
                terms |= self._flip_terms(logits, flipped, labels, flips)
            loss, parts = _sum(terms)
        return AUDetectionOutput(
            loss=loss,
            logits=logits,
            intensity=None if levels is None else expected_level(levels),
            hidden_states=body.hidden_states,
            attentions=body.attentions,
            evidence=body.evidence if output_evidence else None,
            loss_parts=parts,
        )

    def classify(self, last_hidden: torch.Tensor) -> torch.Tensor:
        """The LLM's last states (B, d) -> logits (B, n_AU)."""
        return self.classifier(last_hidden.to(self.classifier.weight.dtype))

    def _loss_terms(
        self, logits: torch.Tensor, labels: torch.Tensor, evidence: EvidenceOutput | None
    ) -> dict[str, torch.Tensor]:
        """The loss, term by term, each with its weight."""
        terms = {"detection": self.loss(logits, labels)}
        if self.model.graph is not None:  # at weight 0 too, for DDP, which waits for every parameter's gradient
            nodes = self.loss(evidence.aux_logits, labels) + self.loss(evidence.evidence_logits, labels)
            terms["auxiliary"] = self.config.aux_weight * nodes
        return terms

    def _flip_terms(self, factual, flipped, labels: torch.Tensor, flips: Flips) -> dict[str, torch.Tensor]:
        weight, joined = self.config.ccr_weight, self.model.graph.joined()
        return {
            "flip": weight * flip_loss(factual, flipped, labels, flips, self.config.ccr_margin),
            "consistency": weight * consistency_loss(factual, flipped, flips, joined),
        }


def _sum(terms: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
    """The whole loss, and its terms where there are several."""
    loss = torch.stack(list(terms.values())).sum() if len(terms) > 1 else terms["detection"]
    return loss, {name: term.detach() for name, term in terms.items()} if len(terms) > 1 else None


def _or(asked: bool | None, otherwise: bool | None) -> bool:
    return bool(otherwise if asked is None else asked)


__all__ = ["AUDetectionOutput", "AULLMForAUDetection", "AULLMModel", "AULLMModelOutput", "AULLMPreTrainedModel",
           "EvidenceOutput"]  # fmt: skip
