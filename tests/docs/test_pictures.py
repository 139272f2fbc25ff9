"""The script that draws the README's picture."""

import importlib.util

from PIL import Image

from support.documents import ROOT


def test_the_pictures_are_drawn_by_the_package(workplace, capsys):
    spec = importlib.util.spec_from_file_location("make_pictures", ROOT / "docs/make_pictures.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.main(["--out", "pictures"]) == 0  # with runs/quickstart, as the README says
    for name in ("overview", "probabilities"):
        with Image.open(workplace / "pictures" / f"{name}.png") as picture:
            assert picture.width > 500 and len(picture.getcolors(1 << 16)) > 20
        assert (workplace / "pictures" / f"{name}.png").stat().st_size < 200_000
    assert "overview.png" in capsys.readouterr().out
