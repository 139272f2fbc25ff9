"""An `evaluate` metric for AU detection, with the numbers of `aullm_hf.evaluation`: both F1s and average precision.

import evaluate
metric = evaluate.load("aullm_hf/evaluation/au_f1")  # the folder; works offline
metric.compute(predictions=probabilities, references=labels, aus=["AU1", "AU4"], thresholds=[0.5, 0.3])
"""

import datasets
import evaluate
import numpy as np

from aullm_hf.evaluation.counting import average_precision, confusion, f1_macro_of_counts, f1_of_counts

_DESCRIPTION = """
F1 of facial Action Units, from probabilities and 0/1 labels, one column per AU. `f1` is binary (AU active),
`f1_macro` the mean over active and absent. An AU without a positive clip is NaN and left out of the averages; so is
one without an absent clip from `f1_macro`.
"""

_INPUTS = """
predictions: probabilities, (clips, AUs).
references: 0 or 1, (clips, AUs).
aus: names of the columns (default: AU columns by position, "0", "1", ..).
thresholds: one for all AUs or one each (default 0.5); active means probability >= threshold.

Returns f1, f1_macro and average_precision (means over the AUs where they are defined) and `per_au`, name -> the same
three with the support.
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _INPUTS)
class AUF1(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Sequence(datasets.Value("int64")),
                }
            ),
        )

    def _compute(self, predictions, references, aus=None, thresholds=0.5):
        p, y = np.array(predictions, dtype=np.float64), np.array(references)  # (N, n_AU)
        if p.shape != y.shape or p.ndim != 2:
            raise ValueError(f"predictions {p.shape} and references {y.shape} must be the same (clips, AUs)")
        if not np.isin(y, (0, 1)).all():
            raise ValueError(f"references hold {sorted(set(y.ravel().tolist()) - {0, 1})}; allowed are 0 and 1")
        names = [str(i) for i in range(p.shape[1])] if aus is None else list(aus)
        if len(names) != p.shape[1]:
            raise ValueError(f"{len(names)} names in aus for {p.shape[1]} columns; give one per column")
        counts = confusion(p >= np.broadcast_to(np.asarray(thresholds, dtype=np.float64), p.shape[1:]), y).sum(axis=0)
        figures = {
            "f1": f1_of_counts(counts),
            "f1_macro": f1_macro_of_counts(counts),
            "average_precision": np.array([average_precision(p[:, i], y[:, i])[0] for i in range(p.shape[1])]),
        }
        result = {name: _mean(values) for name, values in figures.items()}
        result["per_au"] = {
            au: {"support": int(y[:, i].sum())} | {name: float(values[i]) for name, values in figures.items()}
            for i, au in enumerate(names)
        }
        return result


def _mean(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")
