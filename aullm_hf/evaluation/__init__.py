"""Folds, thresholds, figures, tables and cards: everything that works from a run's tables and needs no model."""

from .agreement import Agreement, compare_with_tool
from .labels import is_licensed, join_labels, labels_fingerprint, without_labels
from .protocols import (
    Fold,
    cross_domain,
    holdout,
    inner_holdout,
    leave_one_dataset_out,
    leave_one_subject_out,
    subject_keys,
)
from .report import write_report
from .run_folder import Run, assemble_run, read_run, write_table
from .scoring import ORACLE_GRID, Scores, score_predictions
from .spotting import score_spotting
from .thresholds import Calibration, fit_calibration

__all__ = [
    "ORACLE_GRID",
    "Agreement",
    "Calibration",
    "Fold",
    "Run",
    "Scores",
    "assemble_run",
    "compare_with_tool",
    "cross_domain",
    "fit_calibration",
    "holdout",
    "inner_holdout",
    "is_licensed",
    "join_labels",
    "labels_fingerprint",
    "leave_one_dataset_out",
    "leave_one_subject_out",
    "read_run",
    "score_predictions",
    "score_spotting",
    "subject_keys",
    "without_labels",
    "write_report",
    "write_table",
]
