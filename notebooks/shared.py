"""What the notebooks share: asking `larder`, reading what it writes, and how pictures look. It holds no logic of its own."""

import atexit
import io
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import PIL.Image
from IPython.display import Image, Markdown, display

# Your own trace, where the variable names one: a file, or gen:… for a generator. Otherwise one is made up.
OWN = os.environ.get("LARDER_TRACE") or None
if OWN and not OWN.startswith("gen:"):
    OWN = os.path.abspath(OWN)
# Requests read of it.
LIMIT = os.environ.get("LARDER_LIMIT", "1000000")
# Commands run here, so that what they write is gone at the end.
FOLDER = Path(tempfile.mkdtemp(prefix="larder-notebook-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


# A made-up service: popular keys, keys that become popular and fade, a batch job that goes round, a crawler.
SERVICE = (
    "gen:mix:requests={requests}/seed={seed}"
    "/+6*zipf/alpha=0.9/keys=40000/size=2000/spread=1.2"
    "/+2*phase/alpha=0.9/keys=10000/every=20000/shift=0.5/size=500/spread=0.8"
    "/+1*loop/keys=4000/size=20000/spread=0.5"
    "/+1*scan/size=8000/spread=1"
)


def _program():
    program = os.environ.get("LARDER") or shutil.which("larder")
    if not program:
        raise FileNotFoundError(
            "there is no `larder`: run `cargo install --path crates/larder-cli`, or set LARDER to the program"
        )
    return program


def run(*words, quiet=False, may_fail=False):
    """Runs a command of larder and returns what it prints; shows the command, so that you can run it yourself."""
    words = [str(word) for word in words]
    if not quiet:
        shown = [word.rsplit("/", 1)[-1] if word == OWN and not word.startswith("gen:") else word for word in words]
        shown = [word for word in shown if word not in ("--json", "--details")]
        display(Markdown(f"```sh\nlarder {shlex.join(shown)}\n```"))
    done = subprocess.run([_program(), *words], cwd=FOLDER, capture_output=True, text=True)
    if done.returncode and not may_fail:
        raise RuntimeError(f"larder {shlex.join(words)}\n{done.stderr}")
    return done.stdout


def records(*words, **options):
    """What a command prints with `--json`: one object a line."""
    return [json.loads(line) for line in run(*words, "--json", **options).splitlines()]


def frame(*words, **options):
    """The same as a table."""
    return pd.DataFrame(records(*words, **options))


def read(name):
    """A file that a command wrote: CSV or JSON."""
    text = (FOLDER / name).read_text()
    return pd.DataFrame(json.loads(text)) if name.endswith(".json") else pd.read_csv(io.StringIO(text))


def trace(name, generator):
    """Your own trace if there is one, or a file of that name, made by a generator; and what commands need to read it."""
    if OWN:
        return [OWN, "--limit", LIMIT]
    run("convert", generator, name)
    return [name]


def say(text):
    """A paragraph whose numbers come from this run."""
    display(Markdown(text))


def table(rows, **formats):
    """A table for people; `formats` gives a column's format, such as share="{:.1%}"."""
    rows = rows.copy()
    for column, form in formats.items():
        rows[column] = [form.format(value) if pd.notna(value) else "" for value in rows[column]]
    numbers = ["right" if pd.api.types.is_numeric_dtype(rows[c]) or c in formats else "left" for c in rows]
    display(Markdown(rows.to_markdown(index=False, colalign=numbers, disable_numparse=True)))


# --- pictures ------------------------------------------------------------------------------------------------------

# Told apart by colour-blind readers (after Okabe, Ito 2008); the same as in larder's reports.
BLUE, ORANGE, GREEN, PURPLE, OCHRE, INDIGO, SKY = "#0072b2 #d55e00 #00875f #b0488a #a87500 #4b3fa8 #3e9ac9".split()
INK, SOFT, GREY, RULE, WASH = "#16202a", "#5b6875", "#98a3ad", "#dfe4e9", "#f5f7f9"

# What all are compared with is ink or grey; marks and dashes differ too, so that nothing hangs on colour alone.
PENS = {
    "lru": dict(color=INK, marker="o"),
    "fifo": dict(color=GREY, marker="v"),
    "belady": dict(color=GREY, marker="|", linestyle="--"),
    "clairvoyant": dict(color=GREY, marker="|", linestyle="--"),
    "learned": dict(color=BLUE, marker="D"),
    "s3fifo": dict(color=ORANGE, marker="s"),
    "wtinylfu": dict(color=GREEN, marker="^"),
    "lirs": dict(color=PURPLE, marker="P"),
    "arc": dict(color=OCHRE, marker="X"),
    "sieve": dict(color=SKY, marker="<"),
}

mpl.rcParams.update(
    {
        "figure.dpi": 110,
        "figure.figsize": (9.2, 4.4),
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": SOFT,
        "axes.edgecolor": GREY,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.titlepad": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": RULE,
        "grid.linewidth": 0.8,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "lines.linewidth": 1.9,
        "lines.markersize": 5,
        "legend.frameon": False,
    }
)


def picture(figure, alt):
    """Shows a figure; `alt` says in words what it shows."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight", pad_inches=0.12)
    plt.close(figure)
    # A palette makes a third of the bytes of it, and cannot be seen.
    PIL.Image.open(drawn).convert("RGB").quantize(128).save(small, format="png", optimize=True)
    display(Image(data=small.getvalue(), format="png", alt=alt))


def percent(axis, decimals=0):
    """Ticks of shares in percent."""
    axis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=decimals))


def counts(axis):
    """Ticks of large numbers with their thousands apart."""
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda number, _: f"{number:,.0f}"))


def name_at(axes, y, label, colour):
    """Writes a name beside the picture, at a height of the data."""
    axes.text(1.015, y, label, color=colour, transform=axes.get_yaxis_transform(), va="center", fontweight="bold")


def name_lines(axes, names=None, room=0.045):
    """Writes each line's name at its right end, apart from the others, in place of a legend."""
    lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    axes.figure.canvas.draw()
    ends = []
    for line in lines:
        x, y = line.get_xdata()[-1], line.get_ydata()[-1]
        ends.append([axes.transAxes.inverted().transform(axes.transData.transform((x, y)))[1], line])
    ends.sort(key=lambda end: end[0])
    places = [end[0] for end in ends]
    for _ in range(100):
        for at in range(1, len(places)):
            overlap = room - (places[at] - places[at - 1])
            if overlap > 1e-6:
                places[at] += overlap / 2
                places[at - 1] -= overlap / 2
    for place, (_, line) in zip(places, ends):
        label = (names or {}).get(line.get_label(), line.get_label())
        axes.text(1.015, place, label, color=line.get_color(), transform=axes.transAxes, va="center", fontweight="bold")
