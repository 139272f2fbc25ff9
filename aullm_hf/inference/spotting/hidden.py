"""What could not be looked at: no face, a head turned away, a cut. Every frame was either followed or has a reason."""

from dataclasses import dataclass

from .parts import CUT, NOTHING, Part, joined
from .signals import SHORTEST, Stretch


@dataclass(frozen=True)
class Hidden:
    """Frames first..last (indices) in which a face could not be followed; `face_id` None: no face at all."""

    face_id: int | None
    first: int
    last: int
    reason: str


def followed(parts: list[Part]) -> dict[int, list[Stretch]]:
    """The stretches of each face over parts that follow one another, without those too short to say anything."""
    faces = sorted({face_id for part in parts for face_id in part.faces})
    return {
        face_id: [stretch for stretch in joined(parts, face_id) if stretch.seconds >= SHORTEST] for face_id in faces
    }


def hidden_in(
    stretches: dict[int, list[Stretch]], first: int, last: int, reasons: dict[int, str], all_faces: bool
) -> list[Hidden]:
    """What was hidden of the frames first..last.

    Of one face, all that it was not followed in. Of several, what lies between two sights of the same face, and what
    shows no face at all.
    """
    spans: list[Hidden] = []
    for face_id, sights in stretches.items() if all_faces else [(0, stretches.get(0, []))]:
        low, high = (sights[0].first, sights[-1].last) if all_faces and sights else (first, last)
        if sights or not all_faces:
            spans += _gaps(face_id, sights, low, high, reasons)
    if all_faces:
        everybody = sorted((sight for sights in stretches.values() for sight in sights), key=lambda sight: sight.first)
        within = [(span.first, span.last) for span in spans]
        for span in _gaps(None, everybody, first, last, reasons):
            if span.reason != CUT and not any(low <= span.first and span.last <= high for low, high in within):
                spans.append(span)
    clipped = [
        Hidden(span.face_id, max(span.first, first), min(span.last, last), span.reason)
        for span in spans
        if span.first <= last and span.last >= first
    ]
    return sorted(clipped, key=lambda span: (span.first, span.face_id is None, span.face_id or 0))


def _gaps(face_id: int | None, sights: list[Stretch], first: int, last: int, reasons: dict[int, str]) -> list[Hidden]:
    spans, cursor = [], first
    for at, sight in enumerate(sights):
        if sight.first > cursor:
            spans.append(Hidden(face_id, cursor, sight.first - 1, _reason(reasons, cursor, sight.first - 1)))
        elif at and sight.first == cursor:
            spans.append(Hidden(face_id, cursor, cursor, CUT))
        cursor = max(cursor, sight.last + 1)
    if cursor <= last:
        spans.append(Hidden(face_id, cursor, last, _reason(reasons, cursor, last)))
    return spans


def _reason(reasons: dict[int, str], first: int, last: int) -> str:
    """Why a face was not there when it was looked for, most of the times."""
    told = [reason for index, reason in reasons.items() if first <= index <= last]
    return max(dict.fromkeys(told), key=told.count) if told else NOTHING


__all__ = ["Hidden", "followed", "hidden_in"]
