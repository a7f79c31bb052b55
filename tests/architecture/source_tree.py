"""What the architecture tests see of the sources: files, imports and words, never run code."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Import(NamedTuple):
    """One import, wherever it stands in a file (also inside a function)."""

    path: Path
    line: int
    module: str
    """Dotted name, relative imports resolved."""

    def __str__(self) -> str:
        return f"{self.path.as_posix()}:{self.line} imports {self.module}"


def python_files(root: Path) -> list[Path]:
    """Every source file of the package under ``root``."""
    return sorted(root.glob("memsim/**/*.py"))


def imports(root: Path, path: Path) -> list[Import]:
    """All that ``path`` imports: ``from a import b`` counts as ``a.b``."""
    where = path.relative_to(root)
    package = where.parent.parts
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        found += [Import(where, node.lineno, name) for name in _modules(node, package)]
    return sorted(found, key=lambda one: one.line)


def _modules(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            above = package[: len(package) - level + 1] if level else ()
            base = ".".join([*above, *([module] if module else [])])
            return [f"{base}.{alias.name}" for alias in names]
        case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]) if _is_import(func):
            return [name]
    return []


def _is_import(func: ast.expr) -> bool:
    name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
    return name in {"import_module", "__import__"}


def words(text: str) -> list[str]:
    """The words of a text without case and markup, to compare code with prose."""
    return re.findall(r"[a-z0-9_]+", text.lower())


def doc_text(root: Path, *patterns: str) -> str:
    """All documents that match the patterns, in one text."""
    files = sorted({path for pattern in patterns for path in root.glob(pattern)})
    return "\n".join(path.read_text(encoding="utf-8") for path in files)
