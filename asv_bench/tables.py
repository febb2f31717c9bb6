"""What ``compare_cpu.py`` has measured as Markdown, for docs/performance.md.

    python asv_bench/tables.py FILE.json [FILE.json ...] > TABLES.md

Files of several runs, of some functions each, make one table; where a case was measured twice the later file counts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from compare_cpu import COSTS, LIMITS, PEERS, judged, verdict

Rows = list[dict[str, Any]]


def joined(results: list[dict[str, Any]]) -> dict[str, Rows]:
    """The rows of each section, once for each case."""
    sections: dict[str, dict[Any, dict[str, Any]]] = {}
    for result in results:
        for name, section in result["sections"].items():
            rows = sections.setdefault(name, {})
            rows.update({(row["case"], row.get("name")): row for row in section["rows"]})
    return {name: list(rows.values()) for name, rows in sections.items()}


def number(value: float | None) -> str:
    """Two digits, without an exponent."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def matrix(rows: Rows, column: str, title: str) -> list[str]:
    """Functions downwards, shapes across; bold is what is less than required."""
    rows = [row for row in rows if column in row["ratios"]]
    if not rows:
        return []
    several = len({row["dtype"] for row in rows}) > 1

    def head(row: dict[str, Any]) -> str:
        return f"{row['dtype']} {row['shape']}" if several else str(row["shape"])

    heads = list(dict.fromkeys(map(head, rows)))
    cells = {}
    for row in rows:
        text, short = number(row["ratios"][column]), row["ratios"][column] < row["required"][column]
        cells[row["operation"], head(row)] = f"**{text}**" if short else text
    lines = [f"| {title} | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for operation in dict.fromkeys(row["operation"] for row in rows):
        lines.append(f"| `{operation}` | " + " | ".join(cells.get((operation, h), "-") for h in heads) + " |")
    return [*lines, ""]


def costs(rows: Rows) -> list[str]:
    lines = ["| | takes, of that | allowed |", "|---|---|---|"]
    for row in rows:
        found, allowed = 1 / row["ratios"][COSTS], 1 / row["required"][COSTS]
        text = f"**{found:.2f}**" if found > allowed else f"{found:.2f}"
        operation, shape = row["case"].split()[:2]
        lines.append(f"| `{operation}` {shape}, {row['name']} | {text} | {allowed:.2f} |")
    return [*lines, ""]


def document(results: list[dict[str, Any]]) -> str:
    lines: list[str] = []
    for name, rows in joined(results).items():
        lines += [f"{name}: {verdict(judged(rows))}.", ""]
        if name == COSTS:
            lines += costs(rows)
            continue
        for peer in PEERS:
            lines += matrix(rows, peer, f"times as fast as {peer}")
        for limit, title in LIMITS.items():
            lines += matrix(rows, limit, f"share of the {title}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    options = parser.parse_args()
    print(document([json.loads(file.read_text()) for file in options.files]))


if __name__ == "__main__":
    main()
