"""The configuration of a baseline: which architecture, its sizes, its labels, what it was calibrated to."""

from ..model.config_fields import Number, checked, setting
from ..model.configuration_aullm import AUDetectorConfig, widths


@checked("BaselineConfig.{}")
class BaselineConfig(AUDetectorConfig):
    """Everything that makes a baseline. What a field is of use to, its architecture's file says.

    Args:
        aus: the AU numbers in the order of the logits, stored as id2label; CASME II's eight by default.
        **fields: the fields below, and any of transformers' own.
    """

    model_type = "aullm-baseline"

    architecture: str = setting("led-sssnet", "a name of modeling_baseline.ARCHITECTURES")
    dropout: Number = setting(0.5, "dropout of the SSSNets", 0, 0.999)
    resnet_widths: list = setting([64, 128, 256, 512], "channels of a ResNet's four stages", rule=widths(4))
    distill_weight: Number | None = setting(None, "of a student's imitation; None: as its source has it", 0)
    svm_c: Number = setting(0.01, "penalty of the support vector machines", 0, open_ends=True)


__all__ = ["BaselineConfig"]
