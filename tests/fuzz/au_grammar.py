"""The cell of a spreadsheet that says which AUs are active, as text or as a list."""

from aullm_hf.data import AnnotationError, parse_aus
from aullm_hf.data.facs import AUS
from support.refusals import outcome

CELLS = (
    "4", "12B", "L1+R2", "R12 or R14", "(R6 or R12)+R15", "ref(7B)+43", "10A/B", "A/L12", "4，7", "AU4(k)+L7",
    "４＋７", "['AU4', 'AU7']", "[4, 12]", "none", "0", "4?", "1;2;4", "((4))", "U7", "4++7", "AU99", "²",
)  # fmt: skip


def seeds() -> list[bytes]:
    return [cell.encode() for cell in CELLS]


def attempt(data: bytes) -> str:
    text = data.decode("utf-8", "surrogateescape")

    def read() -> None:
        for cell in (text, text.split("+")):
            for either in ("first", "drop"):
                units = parse_aus(cell).resolve(either=either, ref="keep", static="keep")
                assert all(unit.number in AUS for unit in units), units

    return outcome(read, types=(AnnotationError,))
