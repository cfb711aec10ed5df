"""What the README and the notebooks show runs as it stands."""

import re
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODELS = (ROOT / "notebooks" / "models.md").read_text(encoding="utf-8")
LONG = dict.fromkeys(("01", "02", "03", "07"), pytest.mark.slow) | dict.fromkeys(("04", "05", "06"), pytest.mark.deep)
CODE = re.compile(r"```python\n(.*?)```", flags=re.DOTALL)
BLOCKS = CODE.findall(README)
FRAMEWORKS = dict(zip(("linen", "nnx", "equinox", "haiku"), CODE.findall(MODELS), strict=True))
NOTEBOOKS = [
    pytest.param(path, id=path.stem, marks=LONG.get(path.stem[:2], []))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
]


@pytest.mark.parametrize("k", range(len(BLOCKS)))
def test_readme_code(k, capsys):
    names: dict = {}
    exec(compile(BLOCKS[k], f"README.md block {k}", "exec"), names)
    printed = capsys.readouterr().out.split()
    assert printed
    if "jr.tune" in BLOCKS[k]:
        assert float(printed[-1]) > 1e-3
    elif "prox_adamw" in BLOCKS[k]:
        assert 0.1 < float(printed[-1]) < 1
    else:
        assert float(printed[-1]) < 1e-6
    plt.close("all")


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_models_of_every_framework(name, capsys):
    exec(compile(FRAMEWORKS[name], f"models.md, {name}", "exec"), {})
    assert 0.3 < float(capsys.readouterr().out) < 1


def test_readme_commands_and_links():
    assert 'pip install ".[cli]" && jaxreg sweep diabetes' in README
    assert 'pip install -e ".[test]" && pytest' in README
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cli", "test", "sklearn", "plot", "train", "dev", "all"} == set(project["optional-dependencies"])


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_notebook(path, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)
    if path.stem[:2] in {"02", "03", "04", "05"}:  # networks train too slowly without XLA's optimizations
        monkeypatch.setenv("XLA_FLAGS", "")
    stored = nbformat.read(path, as_version=4)
    fresh = nbformat.from_dict(stored)
    NotebookClient(fresh, kernel_name="python3", timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()

    def pictures(notebook):
        return [
            sum("image/png" in output.get("data", {}) for output in cell.get("outputs", [])) for cell in notebook.cells
        ]

    # Its own assertions held; and what is stored was made by the code that stands beside it.
    assert sum(pictures(fresh)) >= 1
    assert pictures(fresh) == pictures(stored)
