"""What a user or a reviewer must be able to look up stands in the documents."""

import re
from itertools import takewhile
from pathlib import Path

import pytest
from architecture.source_tree import ROOT, doc_text, python_files, words

PLUGIN_FOLDERS = ("policies", "workloads", "metrics", "traces")
MARK = "Unlike Linux:"
FIRST_WORDS = 6
MODEL_SECTION = re.compile(r"^## Unlike Linux$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def plugin_names(root: Path) -> list[str]:
    """Every policy, workload, metric and trace format that the folders offer."""
    files = [path for name in PLUGIN_FOLDERS for path in root.glob(f"memsim/{name}/*.py")]
    return sorted({path.stem for path in files if not path.stem.startswith("_")})


def plugin_faults(root: Path) -> list[str]:
    """Plug-ins that no document names (as code: `name`)."""
    text = doc_text(root, "README.md", "docs/**/*.md")
    return [name for name in plugin_names(root) if f"`{name}`" not in text]


def differences(root: Path) -> list[list[str]]:
    """The first words of each deliberate difference that the sources declare."""
    return [
        words(sentence)[:FIRST_WORDS]
        for path in python_files(root)
        for sentence in marked_sentences(path.read_text(encoding="utf-8"))
    ]


def marked_sentences(text: str) -> list[str]:
    """What follows each mark, to the end of its sentence, comment or docstring."""
    found = []
    for match in re.finditer(rf"(#[^\n]*)?{MARK}", text):
        first, *rest = text[match.end() :].split("\n")
        if match[1]:
            rest = list(takewhile(lambda line: line.lstrip().startswith("#"), rest))
        found.append(re.split(r"[.;:](?:\s|$)|\n\s*\n|\"\"\"", "\n".join([first, *rest]))[0])
    return found


def difference_faults(root: Path) -> list[str]:
    """Differences in code but not in docs/model.md, and entries there without code."""
    section = MODEL_SECTION.search(doc_text(root, "docs/model.md"))
    entries = re.split(r"^- ", section[1], flags=re.MULTILINE)[1:] if section else []
    told = [words(entry) for entry in entries]
    declared = differences(root)
    missing = [d for d in declared if not any(entry[: len(d)] == d for entry in told)]
    stale = [entry for entry in told if not any(entry[: len(d)] == d for d in declared)]
    return [f"not in docs/model.md: {' '.join(d)}" for d in missing] + [
        f"in docs/model.md without code: {' '.join(entry[:FIRST_WORDS])}" for entry in stale
    ]


def command_names(root: Path) -> list[str]:
    """The commands: a file of memsim/cli/ is one, ``list_.py`` the command ``list``."""
    stems = [path.stem for path in sorted(root.glob("memsim/cli/*.py"))]
    return [stem.rstrip("_").replace("_", "-") for stem in stems if not stem.startswith("_")]


def command_faults(root: Path) -> list[str]:
    """Commands that neither README nor docs/commands shows as ``memsim NAME``."""
    text = doc_text(root, "README.md", "docs/commands*", "docs/commands/*.md")
    return [n for n in command_names(root) if not re.search(rf"memsim {re.escape(n)}\b", text)]


def scenario_faults(root: Path) -> list[str]:
    """Shipped scenarios that neither README nor docs/scenario.md names."""
    text = doc_text(root, "README.md", "docs/scenario.md")
    names = [path.stem for path in sorted(root.glob("scenarios/*.yaml"))]
    return [n for n in names if not re.search(rf"(?<![\w-]){re.escape(n)}(?![\w-])", text)]


def test_every_plugin_is_documented():
    assert {"mobility", "process", "fragmentation", "ftrace"} <= set(plugin_names(ROOT))
    assert plugin_faults(ROOT) == []


def test_every_difference_from_linux_is_in_the_model():
    assert difference_faults(ROOT) == []


def test_every_command_is_documented():
    assert {"run", "fidelity", "validate"} <= set(command_names(ROOT))
    assert command_faults(ROOT) == []


def test_every_scenario_is_documented():
    assert (ROOT / "scenarios/first-look.yaml").exists()
    assert scenario_faults(ROOT) == []


@pytest.fixture
def project(tmp_path):
    """A project in miniature: what its documents say is all that is right about it."""
    texts = {
        "README.md": "The policy `light`; `memsim run first`.\n",
        "docs/model.md": "## Unlike Linux\n\n- Pages never go\n  `cold` here, for simplicity.\n",
        "memsim/policies/light.py": "",
        "memsim/cli/run.py": "",
        "memsim/memory.py": f"# {MARK} pages never go cold\n# here, for simplicity.\n",
        "scenarios/first.yaml": "",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_documented_project_passes(project):
    faults = (plugin_faults, difference_faults, command_faults, scenario_faults)
    assert [fault(project) for fault in faults] == [[], [], [], []]


def test_an_undocumented_plugin_is_found(project):
    (project / "memsim/policies/lighter.py").write_text("")
    assert plugin_faults(project) == ["lighter"]


def test_an_undocumented_difference_is_found(project):
    (project / "memsim/simulate.py").write_text(f"x = 1  # {MARK} time stands still\ny = 2\n")
    assert difference_faults(project) == ["not in docs/model.md: time stands still"]


def test_a_difference_in_a_docstring_is_found(project):
    (project / "memsim/units.py").write_text(f'"""Units.\n\n{MARK} octal is\nrefused.\n"""\n')
    assert difference_faults(project) == ["not in docs/model.md: octal is refused"]


def test_a_documented_difference_that_is_gone_is_found(project):
    (project / "memsim/memory.py").write_text("")
    assert difference_faults(project) == [
        "in docs/model.md without code: pages never go cold here for"
    ]


def test_an_undocumented_command_is_found(project):
    (project / "memsim/cli/list_.py").write_text("")
    assert command_faults(project) == ["list"]


def test_an_undocumented_scenario_is_found(project):
    (project / "scenarios/first-look.yaml").write_text("")
    assert scenario_faults(project) == ["first-look"]
