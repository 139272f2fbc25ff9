"""The model card of a run and of each of its folds, from `model_card_template.md` and the run's own tables.

Needs jinja2 (extra `train`). No oracle figure goes into the card's metadata: what a leaderboard reads was not chosen
on test labels. No face goes into a card at all.
"""

import json
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .labels import is_licensed
from .provenance import Provenance
from .redacting import redact
from .run_folder import Run, fold_folder
from .scoring import Scores
from .tables import (
    PROTOCOLS,
    About,
    markdown_table,
    published_comparison,
    published_title,
    result_notes,
    result_tables,
    text_cells,
)

_TEMPLATE = "model_card_template.md"
_CAPTIONS = {
    "per_au.png": "Both F1s per AU with 95 % intervals and floors",
    "precision_recall.png": "Precision and recall per AU",
    "learning_curve.png": "Training loss over steps",
}
_AULLM = "AU-LLM: a 3D-CNN over a learned temporal filter, projected into a frozen large language model with LoRA"
_MODULES = {  # of AULLM++, and the field of the model section that has them
    "multi-granularity evidence (MGE)": lambda model: bool(model.get("mge")),
    "a graph of AU relations (R-AUGNN)": lambda model: bool(model.get("graph")),
    "counterfactual consistency (CCR)": lambda model: bool(model.get("ccr_weight")),
}
_INTENSITY = " It also gives their intensities: expected levels from 0 (absent) to 5 (E)."
_METRICS = {"f1": "F1 (binary, AU active)", "f1_macro": "F1 (macro over active and absent)"}


def template_path() -> Path:
    """Where the template is: at the top of a checkout, or where it was installed with the package."""
    top = Path(__file__).resolve().parents[2]
    for place in (top / _TEMPLATE, top / "share" / "aullm-hf" / _TEMPLATE):  # the second: `pip install --target`
        if place.is_file():
            return place
    try:
        files = distribution("aullm-hf").files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        if file.name == _TEMPLATE and (place := Path(file.locate())).is_file():
            return place.resolve()
    raise FileNotFoundError(f"no {_TEMPLATE}, neither in a checkout nor installed with the package; pass template=")


def run_card(
    run: Run,
    results: Mapping,
    scores: Scores,
    about: About,
    *,
    repo_id: str | None = None,
    out: Path | None = None,
    figures: list[str] | None = None,
    labels_here: bool | None = None,
    right: str = "",
    template: str | Path | None = None,
) -> ModelCard:
    """The card of the whole run.

    Args:
        run, results, scores, about: the run, what results.json holds, the figures, and what they were measured on.
        repo_id: the repository that it is the card of; None: it is the card of the folder.
        out: the folder that the figures were written to (default: the run's).
        figures: the names under figures/ that it shows (default: all that are there).
        labels_here: whether the table beside it holds the labels (default: not where licensed data is published).
        right: the statement by which what was made of licensed data is published.
        template: another template than the package's own.
    """
    if figures is None:
        figures = [name for name in _CAPTIONS if ((out or run.path) / "figures" / name).is_file()]
    tables = {title: markdown_table(table) for title, table in result_tables(scores).items()}
    beside = published_comparison(scores, about)
    tables[published_title(beside)] = markdown_table(text_cells(beside))
    has_final = (run.path / "final" / "checkpoint").is_dir()
    branches = [f"fold-{fold_folder(entry, run.folds)}" for entry in run.folds]
    where = (repo_id, None if has_final else branches[0]) if repo_id else (str(_checkpoint(run, has_final)), None)
    if labels_here is None:
        labels_here = repo_id is None or not is_licensed(run.info)
    words = {
        "title": run.name,
        "fold": None,
        "has_final": has_final,
        "branches": branches,
        **_usage(run.info, *where),
        "tables": tables,
        "notes": result_notes(scores),
        "figures": [{"name": name, "what": _CAPTIONS[name]} for name in figures],
        "labels_here": labels_here,
        "provenance": Provenance.of_info(run.info, right),
    }
    return _render(run.info, run.name, results, about, words, repo_id, template, evaluated=True)


def fold_card(
    info: Mapping,
    name: str,
    entry: Mapping,
    *,
    repo_id: str,
    branch: str,
    labels_here: bool | None = None,
    right: str = "",
    template: str | Path | None = None,
) -> ModelCard:
    """The card of one fold's branch: whom it has not seen, how to load it, and where the scores are.

    It follows from run.json and the fold's own entry alone, so it does not change as other folds finish.
    """
    about = About.of_info(info, name, [entry])
    words = {
        "title": f"{name}, {branch}",
        "fold": {"left_out": ", ".join(entry["test_subjects"])},
        "has_final": False,
        **_usage(info, repo_id, branch),
        "labels_here": not is_licensed(info) if labels_here is None else labels_here,
        "provenance": Provenance.of_info(info, right),
    }
    calibrated = bool(entry.get("thresholds")) and info.get("inner") != "none"
    data = info.get("data", {})
    known = {
        "aus": [f"AU{au}" for au in info.get("aus", ())],
        "n_clips": data.get("n_clips"),
        "n_subjects": data.get("n_subjects"),
        "seeds": [entry["seed"]],
        "rules": ["at_0.5", "calibrated"] if calibrated else ["at_0.5"],
        "flagged_folds": dict.fromkeys(entry.get("flagged", ()), 1),
    }
    return _render(info, name, known, about, words, repo_id, template, evaluated=False)


def _render(info, name, results, about, words, repo_id, template, *, evaluated) -> ModelCard:
    if find_spec("jinja2") is None:
        raise ImportError('a card needs jinja2: pip install "aullm-hf[train]"')
    if not (template := Path(template or template_path())).is_file():
        raise FileNotFoundError(f"no card template at '{template}'; without template= the package's own is taken")
    base = None
    if not _is_baseline(info):
        base = {"name": "unknown", "licence": ""} | (info.get("base_llm") or {})
        base["licence"] = base.get("licence") or f"see the page of {base['name']}"
        base["inside"] = bool(info.get("config", {}).get("model", {}).get("save_base_weights"))
    content = {
        "synthetic": about.synthetic,
        "what": f"{_kind(info)}. It detects facial Action Units in micro-expression clips: "
        f"{', '.join(results['aus'])}." + _INTENSITY * bool(info.get("config", {}).get("model", {}).get("intensity")),
        "n_folds": results.get("n_folds"),
        "n_clips": results["n_clips"],
        "n_subjects": results["n_subjects"],
        "repo_id": repo_id,
        "aus": results["aus"],
        "calibrated": "calibrated" in results["rules"],
        "about": _capitalized(about.line()),
        "facts": _facts(info, results, about, base),
        "config": json.dumps(redact(info.get("config", {})), indent=2, ensure_ascii=False),
        "base_llm": base,
        "excluded": list(results["mean"]["excluded"]) if "mean" in results else [],
        "flagged": [au for au, count in results.get("flagged_folds", {}).items() if count],
    }
    card = ModelCard.from_template(
        _metadata(info, name, results, about, base, evaluated=evaluated),
        template_path=str(template),
        **content,
        **words,
    )
    card.content = re.sub(r"\n{3,}", "\n\n", card.content).rstrip() + "\n"
    return card


def _is_baseline(info: Mapping) -> bool:
    """Whether the run is of another method, without an LLM."""
    return info.get("model_kind") not in (None, "aullm")


def _kind(info: Mapping) -> str:
    if _is_baseline(info):
        return f"The baseline `{info['model_kind']}`, trained and scored as AU-LLM is, for comparison with it"
    if info.get("model_kind") is None:
        return "A model"
    model = info.get("config", {}).get("model", {})
    modules = [name for name, has in _MODULES.items() if has(model)]
    if not modules:
        return _AULLM
    name = "AULLM++" if len(modules) == len(_MODULES) else "AU-LLM with part of AULLM++"
    own = "whose parts follow its authors' drawing, and whose sizes, equations and settings are this project's own"
    return f"{name} (our reconstruction): {_AULLM}, with {_joined(modules)}, {own}"


def _joined(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _metadata(info, name, results, about, base, *, evaluated) -> ModelCardData:
    data = {
        "library_name": "transformers",
        "pipeline_tag": "video-classification",
        "tags": ["facial-action-units", "micro-expressions", "facs", "multi-label"],
        "license": "other" if is_licensed(info) else "apache-2.0",
    }
    data["tags"] += ["lora", "aullm"] if base else ["baseline"]
    if is_licensed(info):
        data["license_name"] = "code-apache-2.0-data-agreement"
    if about.synthetic:
        data["tags"].append("synthetic-data")
    if base and re.fullmatch(r"[\w.-]+/[\w.-]+", base["name"]):  # a Hub name, not a folder
        data["base_model"] = base["name"]
    if evaluated:
        data["metrics"] = ["f1", "average_precision", "roc_auc"]
        data |= {"model_name": name, "eval_results": _eval_results(results, about)}
    return ModelCardData(**data)


def _eval_results(results: Mapping, about: About) -> list[EvalResult]:
    """What was not chosen on test labels and is defined: the means first, then each AU."""
    measured_on = {
        "task_type": "video-classification",
        "task_name": "Facial Action Unit detection",
        "dataset_type": about.data,
        "dataset_name": f"{about.data} (synthetic faces)" if about.synthetic else about.data,
        "dataset_split": "all folds, pooled",
        "dataset_args": {
            "protocol": PROTOCOLS.get(about.protocol, about.protocol),
            "labels": about.labels,
            "inner": about.inner,
            "folds": results["n_folds"],
            "clips": results["n_clips"],
            "subjects": results["n_subjects"],
        },
    }
    rows = []
    for au, block in [("mean", results["mean"]), *results["per_au"].items()]:
        wanted = [
            (rule, metric, name, "f1")
            for rule in ("calibrated", "at_0.5")
            if rule in results["rules"]
            for metric, name in _METRICS.items()
        ]
        wanted += [
            ("ranking", "ap", "average precision", "average_precision"),
            ("ranking", "roc_auc", "ROC-AUC", "roc_auc"),
        ]
        for rule, metric, name, kind in wanted:
            figure = block[rule][metric]
            if figure["value"] is not None:
                named = f"{name}, {au}" if rule == "ranking" else f"{name}, {au}, {rule}"
                rows.append(
                    EvalResult(
                        metric_type=kind, metric_name=named, metric_value=round(figure["value"], 4), **measured_on
                    )
                )
    return rows


_IN_PARTS = "split for lack of memory: batch norm saw smaller batches, so these folds are not comparable bit for bit"


def _facts(info: Mapping, results: Mapping, about: About, base: Mapping | None) -> dict[str, str]:
    data = info.get("data", {})
    tested = {True: "all of them tested", False: "NOT ALL OF THEM TESTED"}.get(
        results.get("checks", {}).get("all_clips_tested")
    )
    parts = results.get("checks", {}).get("folds_with_their_batch_in_parts")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(info.get("versions", {}).items()))
    return {
        "Data": f"{about.data}{' (SYNTHETIC)' if about.synthetic else ''}, {results['n_clips']} clips of "
        f"{results['n_subjects']} subjects{', ' + tested if tested else ''}",
        "Labels": f"{about.labels}; fingerprint `{str(data.get('labels_fingerprint', 'not recorded'))[:16]}`",
        "Data fingerprint": f"`{str(data.get('fingerprint', 'not recorded'))[:16]}`",
        "Protocol": f"{PROTOCOLS.get(about.protocol, about.protocol)}, inner: {about.inner}, "
        f"seeds {', '.join(map(str, results['seeds']))}",
        **({"Base LLM": f"{base['name']}, revision {base.get('revision') or 'not pinned'}"} if base else {}),
        **({"Batches": f"{', '.join(parts)}: {_IN_PARTS}"} if parts else {}),
        "Versions": versions or "not recorded",
        "Git commit": f"`{info.get('git_commit') or 'not recorded'}`",
    }


def _usage(info: Mapping, name: str, revision: str | None) -> dict[str, str]:
    """How the model is loaded, in Python and from the command line."""
    at = f', revision="{revision}"' if revision else ""
    if _is_baseline(info):
        return {
            "snippet": "from aullm_hf.baselines import BaselineForAUDetection, BaselineVideoProcessor\n\n"
            f'model = BaselineForAUDetection.from_pretrained("{name}"{at})  # needs this package installed\n'
            f'processor = BaselineVideoProcessor.from_pretrained("{name}"{at})\n'
            'probabilities = model.probabilities(model(processor("CLIP.mp4")["pixel_values"]).logits)\n'
            "print(model.config.labels, probabilities, model.config.thresholds)",
            "command": "",
        }
    return {
        "snippet": "from transformers import pipeline\n\n"
        f'detect = pipeline(model="{name}"{at}, trust_remote_code=True)\n'
        'detect("CLIP.mp4")  # [{"label": "AU4", "score": .., "threshold": .., "active": ..}, ..]',
        "command": f"aullm predict CLIP.mp4 --model {name}{f' --revision {revision}' if revision else ''}",
    }


def _checkpoint(run: Run, has_final: bool) -> Path:
    if has_final:
        return Path("runs") / run.path.name / "final" / "checkpoint"
    return Path("runs") / run.path.name / "folds" / fold_folder(run.folds[0], run.folds) / "checkpoint"


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
