"""Executes the notebooks: a failed assertion in one is a failure here. Started by `notebooks/run`, which has the options."""

import argparse
import base64
import concurrent.futures
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from traitlets.config import Config

FOLDER = Path(__file__).parent
COPIES = FOLDER.parent / "docs" / "notebooks"
# Variables that hold paths, which are the caller's: notebooks run in their own folder.
PATHS = ("LARDER", "LARDER_TRACE")
# A notebook takes seconds; one that takes longer hangs.
SECONDS = 300


def main():
    parser = argparse.ArgumentParser(prog="notebooks/run")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--out", type=Path, default=COPIES, metavar="DIR")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    paths = sorted(FOLDER.glob("*.ipynb"))
    paths = [path for path in paths if not arguments.names or any(name in path.name for name in arguments.names)]
    if not paths:
        parser.error(f"no notebook is named so; there are: {', '.join(p.name for p in sorted(FOLDER.glob('*.ipynb')))}")
    for name in PATHS:
        if os.path.exists(os.environ.get(name, "")):
            os.environ[name] = os.path.abspath(os.environ[name])
    failed = False
    with concurrent.futures.ProcessPoolExecutor(max_workers=2) as pool:
        for path, (notebook, error, seconds) in zip(paths, pool.map(execute, paths)):
            print(f"{path.name}: {'FAILED' if error else 'ok'}, {seconds:.0f} s", flush=True)
            if error:
                print(error)
                failed = True
            elif arguments.render:
                render(path, notebook, arguments.out)
    return 1 if failed else 0


def execute(path):
    """The notebook with its outputs, what went wrong, and how long it took."""
    start = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": FOLDER}}
    error = None
    with tempfile.TemporaryDirectory() as folder:
        # Over socket files: no port is opened, and none is in the way.
        over = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})
        client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources, config=over)
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as failure:
            error = re.sub(r"\x1b\[[0-9;]*m", "", str(failure))
    return notebook, error, time.monotonic() - start


def render(path, notebook, folder):
    """Writes what a reader sees: prose, commands, tables and pictures, without the Python that draws them."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{path.stem}-*.png"):
        old.unlink()
    # The copies stand one folder deeper, beside one another.
    moved = lambda text: text.replace("](../docs/", "](../").replace("](../models/", "](../../models/").replace(".ipynb)", ".md)")
    parts = [f"<!-- Made by `notebooks/run --render` from notebooks/{path.name}. -->"]
    pictures = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(moved(cell.source))
            continue
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                pictures += 1
                name = f"{path.stem}-{pictures}.png"
                (folder / name).write_bytes(base64.b64decode(data["image/png"]))
                parts.append(f"![{output.metadata['image/png']['alt']}]({name})")
            elif "text/markdown" in data:
                parts.append(moved(data["text/markdown"]))
    (folder / f"{path.stem}.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    sys.exit(main())
