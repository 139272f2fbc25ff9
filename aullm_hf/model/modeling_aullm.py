"""AU-LLM (arXiv 2507.21778) and AULLM++ (arXiv 2603.08387; its modules are our design under its names).

frames -> temporal filter, or optical flow (ours) -> 3D-CNN -> projector -> one token in the prompt of a frozen,
LoRA-tuned LLM -> its last state -> one linear layer -> a logit per AU. AULLM++ gates the 3D-CNN's map (evidence.py),
looks at it at several granularities (projectors.py), adds a graph of AUs with a token of its own (graph.py), and in
training asks what would be predicted without the evidence (counterfactual.py). Loading is in checkpointing.py. Unlike
AU-LLM's code, the loss follows the paper's formula, and the text is read once for the whole batch (prompting.py).
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
from .counterfactual import evidence_loss, intervene, invariance_loss
from .detector import AUDetectorMixin
from .dropout import PairedDropout3d, share_noise
from .evidence import EvidenceCells, EvidenceGate, EvidenceOutput
from .explaining import ExplainMixin
from .flow import OpticalFlow
from .graph import RelationGraph, RelationLayer, prior_mask
from .head import Classifier, head_features
from .led import TemporalFilter
from .projectors import PROJECTORS, MultiGranularityProjector, PromptTokens
from .prompting import Prompt

_INITIALISE_THEMSELVES = (TemporalFilter, OpticalFlow, PromptTokens, EvidenceGate, EvidenceCells, RelationGraph,
                          RelationLayer)  # fmt: skip


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

    loss_parts: where the loss has several terms, each as it enters the sum, without gradient.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
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
        elif isinstance(module, (nn.Linear, nn.Conv3d)):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            bound = 1 / math.sqrt(module.weight[0].numel())
            if module.bias is not None:
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, (nn.LayerNorm, nn.BatchNorm3d)):
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
        with seeded_start(self, seed):
            for module in self.modules():
                if id(module) not in frozen and module is not body:
                    self._init_weights(module)
            reset_lora(body.llm)  # last, so that the rest starts alike with and without adapters

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
        self.gate = EvidenceGate(config) if config.evidence_gate else None
        self.mid_drop = PairedDropout3d(config.vision_dropout)
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
    ) -> AULLMModelOutput:
        """pixel_values (B, T, 1, H, W), as the processor makes them."""
        f_mid, channel_attention = self.encode_frames(pixel_values)
        gates = self.compute_gate(f_mid)
        output = self.run_llm(
            f_mid,
            gates,
            output_hidden_states=_or(output_hidden_states, self.config.output_hidden_states),
            output_attentions=_or(output_attentions, self.config.output_attentions),
        )
        if not output_evidence:
            return AULLMModelOutput(output.last_hidden_state, output.hidden_states, output.attentions)
        output.evidence.channel_attention, output.evidence.mid_map = channel_attention, _gated(f_mid, gates)
        return output

    def encode_frames(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clips -> F_mid (B, C, T', H', W') and the channel attention (B, T-2, C)."""
        check_pixel_values(self.config, pixel_values)
        led = [self.led(pixel_values)[:, 1:].transpose(1, 2)] if self.led is not None else []  # (B, 1, T-1, H, W)
        flow = [self.flow(pixel_values)] if self.flow is not None else []  # (B, 3, T-1, H, W)
        return self.backbone(torch.cat(led + flow, dim=1).to(self.backbone.conv1.weight.dtype))

    def compute_gate(self, f_mid: torch.Tensor) -> torch.Tensor | None:
        """How far each cell of F_mid counts, (B, T', H', W'); None for a model without a gate."""
        return None if self.gate is None else self.gate(f_mid)

    def run_llm(
        self,
        f_mid: torch.Tensor,
        gates: torch.Tensor | None = None,
        *,
        owner: torch.Tensor | None = None,
        prior: torch.Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> AULLMModelOutput:
        """F_mid and its gates -> the tokens -> the LLM's last state, with the evidence that arose on the way.

        Args:
            f_mid: (B, C, T', H', W'); rows may be counterfactual.
            gates: (B, T', H', W').
            owner: (B), for each row the row whose noise of dropout it shares.
            prior: (B, n, n, relations) in place of the graph's.
        """
        if owner is not None or self.mid_drop.owner is not None:
            for part in (self.mid_drop, self.high, self.projector, self.graph):
                if part is not None:
                    share_noise(part, owner)
        f_mid = _gated(self.mid_drop(f_mid), gates)
        f_high = self.high(f_mid) if self.high is not None else None  # (B, 256)
        slots, content_attention = self._project(f_mid, f_high)
        evidence = EvidenceOutput(gates=gates, content_attention=content_attention)
        if self.graph is not None:
            graph = self.graph(f_mid, f_high, prior)
            slots = {"content": slots["visual"], "instruction": graph.token}
            evidence.au_attention, evidence.relation_strengths = graph.attention, graph.strengths
            evidence.aux_logits, evidence.evidence_logits = graph.logits, graph.evidence_logits
        if "prompt" not in slots:
            evidence.tokens = torch.stack(list(slots.values()), dim=1)  # (B, slots, d)
        if self.config.head_reads == "token":
            return AULLMModelOutput(head_features(None, evidence.tokens), evidence=evidence)
        llm = self.prompt(self.llm, slots, len(f_mid), output_hidden_states, output_attentions, owner)
        last = llm.last_hidden_state.to(f_mid.device)  # (B, d)
        if "prompt" in slots:
            last = torch.cat([last.to(f_high.dtype), f_high], dim=1)
        elif self.config.head_reads == "both":
            last = head_features(last, evidence.tokens)
        return AULLMModelOutput(last, llm.hidden_states, llm.attentions, evidence)

    def _project(
        self, f_mid: torch.Tensor, f_high: torch.Tensor | None
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """The projector's tokens by slot and, where it attends to cells, to which."""
        if isinstance(self.projector, PromptTokens):
            return {"prompt": self.projector()}, None
        if isinstance(self.projector, MultiGranularityProjector):
            token, attention = self.projector(f_mid, f_high)
            return {"visual": token}, attention
        features = [f_mid.flatten(1)] * self.config.uses_mid + [f_high] * self.config.uses_high
        return {"visual": self.projector(torch.cat(features, dim=1))}, None  # (B, d)


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
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        output_evidence: bool | None = None,
    ) -> AUDetectionOutput:
        """A logit for each AU of each clip, and the loss where there are labels.

        Args:
            pixel_values: clips (B, T, 1, H, W), as AULLMVideoProcessor makes them.
            labels: (B, n_AU) of 0 and 1.
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
        if labels is not None and self.training and self.config.ccr_weight:
            if output_evidence or output_hidden_states or output_attentions:
                raise ValueError(
                    "A training pass with CCR (ccr_weight above 0) returns loss, logits and loss_parts only. Ask for "
                    "evidence, hidden states or attentions in eval mode, or without labels."
                )
            return self._train_with_counterfactuals(pixel_values, labels)
        body = self.model(
            pixel_values,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            output_evidence=output_evidence or (labels is not None and self.model.graph is not None),
            return_dict=True,
        )
        logits = self.classify(body.last_hidden_state)  # (B, n_AU)
        loss, parts = (None, None) if labels is None else _sum(self._loss_terms(logits, labels, body.evidence))
        return AUDetectionOutput(
            loss=loss,
            logits=logits,
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

    def _train_with_counterfactuals(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> AUDetectionOutput:
        """One pass over the clips and over what some of them would be with another background, or without evidence."""
        config, body, batch = self.config, self.model, len(pixel_values)
        f_mid, _ = body.encode_frames(pixel_values)
        gates = body.compute_gate(f_mid)
        rows, owner = intervene(f_mid, gates, config.ccr_fraction, config.ccr_cells, body.gate.mean)
        body.gate.remember(f_mid)
        count = (len(owner) - batch) // 2
        # Another background leaves the gate as it was; without the evidence it is computed anew, or it would tell.
        gates = torch.cat([gates[owner[:-count]], body.compute_gate(rows[-count:])])
        output = body.run_llm(rows, gates, owner=owner)
        logits = self.classify(output.last_hidden_state)  # (B + 2n, n_AU)
        factual, background, removed = logits.split([batch, count, count])
        chosen, evidence = owner[-count:], output.evidence
        if body.graph is not None:
            evidence = EvidenceOutput(
                aux_logits=evidence.aux_logits[:batch], evidence_logits=evidence.evidence_logits[:batch]
            )
        terms = self._loss_terms(factual, labels, evidence)
        terms["invariance"] = config.ccr_weight * invariance_loss(factual[chosen], background)
        terms["evidence"] = config.ccr_weight * evidence_loss(
            factual[chosen], removed, labels[chosen], config.ccr_margin
        )
        loss, parts = _sum(terms)
        return AUDetectionOutput(loss=loss, logits=factual, loss_parts=parts)


def _sum(terms: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
    """The whole loss, and its terms where there are several."""
    loss = torch.stack(list(terms.values())).sum() if len(terms) > 1 else terms["detection"]
    return loss, {name: term.detach() for name, term in terms.items()} if len(terms) > 1 else None


def _or(asked: bool | None, otherwise: bool | None) -> bool:
    return bool(otherwise if asked is None else asked)


def _gated(f_mid: torch.Tensor, gates: torch.Tensor | None) -> torch.Tensor:
    return f_mid if gates is None else f_mid * gates[:, None].to(f_mid.dtype)


__all__ = ["AUDetectionOutput", "AULLMForAUDetection", "AULLMModel", "AULLMModelOutput", "AULLMPreTrainedModel",
           "EvidenceOutput"]  # fmt: skip
