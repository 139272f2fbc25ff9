"""Tables of figures, for people and for programs."""

import json
from pathlib import Path


def markdown_table(rows: list[dict]) -> str:
    """Rows with the same keys as a Markdown table."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    for row in rows:
        cells = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def markdown_of(tables: dict[str, list[dict]]) -> str:
    """Every table under its title."""
    return "\n\n".join(f"### {title}\n\n{markdown_table(rows)}" for title, rows in tables.items())


def write_tables(folder: Path, name: str, tables: dict[str, list[dict]], markdown: str) -> None:
    """`name`.json for programs and `name`.md for people."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(tables, indent=2), encoding="utf-8")
    (folder / f"{name}.md").write_text(markdown + "\n", encoding="utf-8")
