"""Broken spreadsheets and folders: a typed error with file and row, or a listed skip; never anything else."""

import shutil

import pytest

from aullm_hf.data import DataError, report_of
from support.fuzzed_trees import fuzz

TABLES = {"casme2": "CASME2-coding-20190701.xlsx", "samm": "SAMM_Micro_FACS_Codes_v2.xlsx"}
CASES, BATCH = 208, 26


def hold(seeds, trees, tmp_path, load):
    for seed in seeds:
        name = ("casme2", "samm")[seed % 2]
        root = tmp_path / f"broken-{seed}"
        shutil.copytree(trees / name, root)
        done = fuzz(root, root / TABLES[name], seed)
        for on_error in ("raise", "skip"):
            try:
                clips = load(name, root, on_error=on_error)
            except DataError as error:
                assert any(said in str(error) for said in (".xls", ".csv", "row ", str(root))), (
                    seed,
                    done,
                    str(error),
                )
            except Exception as error:
                raise AssertionError(f"seed {seed}, {on_error}: {done}: {type(error).__name__}") from error
            else:
                report = report_of(clips)
                skipped = {problem.row for problem in report.skipped if problem.row}
                assert len(clips) + len(skipped) == report.rows, (seed, done, str(report))
                assert on_error == "skip" or not report.skipped, (seed, done, str(report))
                break  # nothing to skip
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.filterwarnings("ignore")  # openpyxl, about the tables that the test itself has broken
@pytest.mark.parametrize("first", range(0, CASES, BATCH))
def test_broken_trees(first, _trees, tmp_path, load):
    hold(range(first, first + BATCH), _trees, tmp_path, load)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", range(1000, 4000, 100))
def test_many_more_broken_trees(first, _trees, tmp_path, load):
    hold(range(first, first + 100), _trees, tmp_path, load)
