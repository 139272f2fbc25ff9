"""What a model was trained on, said wherever it is used, where that is not what it will meet."""


def training_note(training_data: str | None, *, brief: bool = False) -> str:
    """A sentence where a model has seen drawn faces, or is a control; empty where it has seen real ones.

    Args:
        training_data: the configuration's field, such as "synthetic-casme2 v2 (easy), SYNTHETIC faces".
        brief: without naming the data.
    """
    data = training_data or ""
    named = "" if brief else f" ({data})"
    if "CONTROL" in data:
        note = f"a control experiment{named}: means nothing on any face"
    elif "partly SYNTHETIC" in data:
        note = f"trained partly on drawn faces{named}"
    elif "(wild), SYNTHETIC" in data:
        note = f"trained on drawn faces alone{named}, on no labelled micro-expression: no evidence about a person"
    elif "SYNTHETIC" in data:
        note = f"trained on drawn faces{named}: means nothing on real ones"
    else:
        return ""
    return note[0].upper() + note[1:] if brief else f"the model was {note}"


__all__ = ["training_note"]
