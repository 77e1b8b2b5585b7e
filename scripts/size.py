"""Prints, without failing, the longest functions and files of the package and its total."""

import ast
from pathlib import Path

SHOWN = 5


def main() -> None:
    functions, files = [], []
    for path in sorted(Path("src").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        files.append((text.count("\n"), str(path)))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                functions.append((lines, f"{path}:{node.lineno} {node.name}"))
    print(f"{len(files)} files, {sum(lines for lines, _ in files):,} lines, {len(functions):,} functions")
    for title, found in (("longest functions", functions), ("longest files", files)):
        print(f"{title}:")
        for lines, name in sorted(found, reverse=True)[:SHOWN]:
            print(f"  {lines:4}  {name}")


if __name__ == "__main__":
    main()
