# %% [markdown]
# # A teaching set of twelve patients
#
# How do you make cases to practise on? This script draws twelve people: normal ones, obstruction, GOLD 2 and 3 after a
# bronchodilator, possible restriction and mixed disorder, PRISm in an obese person, and efforts with a cough, an early
# stop and a slow start. All are simulated, so that you can give them to a class without showing a patient's data. Run
# it from the folder that holds `models/`, after `make repro`. For teaching how spirometry is read; **not for
# diagnosis**.
#
# ## The patients
#
# Each patient is a [request](../patients.md): a session of one lung whose best values have the pattern, or a single
# effort that has one fault. Efforts after a bronchodilator are after two puffs and at least ten minutes, as NHANES gave
# it.

# %%
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spiro_diffusion.api import Curves, Interpretation, Person, SpiroGenerator, interpret, read_session
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.physiology import effort_kinds, patterns, spirometry

MAN, WOMAN = {"sex": "male"}, {"sex": "female"}
PATIENTS = {  # what the answer says of it: what is asked for
    "Normal man": MAN | {"age": 45, "height": 178, "pattern": "normal"},
    "Normal woman": WOMAN | {"age": 32, "height": 165, "pattern": "normal"},
    "Normal child": WOMAN | {"age": 10, "height": 140, "pattern": "normal"},
    "Mild obstruction": MAN | {"age": 55, "height": 175, "after": 4, "pattern": "obstruction", "fev1": "z-2.4:z-1.7"},
    "GOLD 2": WOMAN | {"age": 61, "height": 162, "after": 4, "pattern": "gold-2", "ratio": ":0.62"},
    "GOLD 3": MAN | {"age": 66, "height": 172, "after": 4, "pattern": "gold-3"},
    "Possible restriction": WOMAN | {"age": 58, "height": 160, "pattern": "possible-restriction"},
    "Possible mixed disorder": MAN | {"age": 70, "height": 174, "pattern": "possible-mixed"},
    "PRISm in an obese person": WOMAN | {"age": 50, "height": 163, "bmi": 38, "pattern": "prism", "fev1": ":z-1.8"},
    "Cough in the first second": MAN | {"age": 38, "height": 180, "effort": "cough"},
    "Early stop": WOMAN | {"age": 27, "height": 168, "effort": "early-stop"},
    "Slow start": MAN | {"age": 19, "height": 176, "effort": "slow-start"},
}
generator = SpiroGenerator.from_checkpoint("models")
source, curves_seen = generator.made_from["data"], generator.made_from["curves"]
print(f"{len(PATIENTS)} patients by a model trained on {curves_seen} curves, source: {source}")

# %% [markdown]
# ## Drawn, and read by the rules
#
# Each is written as a file that `spiro indices` reads, and read back as a recorded session would be: which efforts
# count, best values with z-scores, the pattern in words. Of five draws the first is taken whose quality is good enough
# for a class. A patient of a kind that the model draws too rarely is left out, with a message.

# %%
TRIES = 5  # seeds of a patient, until the session can be read well
folder = Path("teaching_set")
folder.mkdir(exist_ok=True)


def drawn(asked: dict, seed: int) -> Curves:
    """A session of five efforts, and some after the bronchodilator; a single effort where it is to be faulty."""
    if "effort" in asked:
        return generator.generate(**asked, n=1, seed=seed, tell=lambda _: None)
    return generator.sessions(**asked, efforts=5, seed=seed, tell=lambda _: None)


def written(curves: Curves, file: Path) -> Path:
    """The file of a session, each effort up to its end."""
    efforts = curves.efforts if curves.efforts is not None else pd.DataFrame({"test_type": ["Pre"], "effort": [1]})
    parts = []
    for i, (kind, number) in enumerate(zip(efforts["test_type"], efforts["effort"], strict=True)):
        end = int(spirometry.end_of_flow(curves.flow[i : i + 1])[0])
        name = f"{'post' if kind == 'Bron' else 'pre'} {number}"
        parts.append(pd.DataFrame({"curve": name, "time_s": curves.time[:end], "flow_l_s": curves.flow[i, :end]}))
    pd.concat(parts).round(4).to_csv(file, index=False)
    return file


def clear(found: Interpretation) -> bool:
    """Whether a session is good enough to be read, grade C or better; a single effort with one fault alone."""
    blows, grades = found.session.blows, found.session.grades
    return len(blows[0].faults) == 1 if len(blows) == 1 else all(set(of) <= set("ABC") for of in grades.values())


read = {}
for title, asked in PATIENTS.items():
    number = len(read) + 1
    person, file = Person(asked["age"], asked["height"], asked["sex"]), folder / f"patient_{number:02}.csv"
    try:
        for seed in range(number * TRIES, (number + 1) * TRIES):
            read[title] = interpret(read_session(written(drawn(asked, seed), file), person))
            if clear(read[title]):
                break
    except SpiroError as error:
        print(f"{title}: left out, {error}")
for title, found in read.items():
    best = {name: found.values[name].best.get("pre") for name in ("fev1", "fvc", "ratio")}
    print(f"{title}:", ", ".join(f"{name} {b.value:.2f} (z {b.z:+.1f})" for name, b in best.items() if b) or "nothing")

# %% [markdown]
# ## Pictures
#
# Each plot has flow against volume beside volume against time, as the standard shows them: blue before the
# bronchodilator, orange after it.


# %%
def draw(found: Interpretation, loop: Axes, spirogram: Axes | None = None) -> None:
    """The efforts of a session."""
    for blow in found.session.blows:
        look = {"color": "tab:blue" if blow.phase == "pre" else "tab:orange", "lw": 1.2, "alpha": 0.8}
        volume = np.cumsum(blow.flow) * 0.01
        loop.plot(volume, np.convolve(blow.flow, np.full(5, 0.2), "same"), **look)  # means of 50 ms
        if spirogram is not None:
            spirogram.plot((1 + np.arange(len(volume))) * 0.01 - blow.t0, volume, **look)
    loop.set(xlabel="volume (L)", ylabel="flow (L/s)", xlim=(0, None), ylim=(0, None))


for number, found in enumerate(read.values(), 1):
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loop, spirogram = figure.subplots(1, 2)
    draw(found, loop, spirogram)
    spirogram.set(xlabel="time (s)", ylabel="volume (L)", xlim=(-0.3, 10), ylim=(0, None))
    spirogram.axvline(1, color="0.8", lw=0.8, zorder=0)
    figure.savefig(folder / f"patient_{number:02}.png", dpi=80)

figure = Figure(figsize=(9.6, 8), layout="constrained")
for number, (ax, found) in enumerate(zip(figure.subplots(3, 4).flat, read.values(), strict=False), 1):
    draw(found, ax)
    ax.set_title(f"Patient {number}")
figure.savefig("teaching_set.png", dpi=80)

# %% [markdown]
# ![Flow against volume of the twelve patients](teaching_set.png)
#
# ## The page
#
# `teaching_set/index.html` begins with the questions: the person, the plot, and the values of each effort beside the
# lower limits of normal. The answers begin on a separate page: what was requested of the model, the faults of the
# efforts, the best values, and their interpretation in the words of `spiro indices`.


# %%
NAMES = {"fev1": "FEV1 (L)", "fvc": "FVC (L)", "ratio": "FEV1/FVC", "pef": "PEF (L/s)"}


def table(rows: list[dict]) -> str:
    return pd.DataFrame(rows).to_html(index=False, border=0, na_rep="–", float_format="%.2f")


def question(number: int, found: Interpretation) -> str:
    who, blows = found.session.person, found.session.blows
    rows = [{"effort": blow.name} | {title: blow.indices[name] for name, title in NAMES.items()} for blow in blows]
    rows.append({"effort": "lower limit of normal"} | {NAMES[name]: found.values[name].lln for name in NAMES})
    picture = f'<img src="patient_{number:02}.png" alt="The efforts of patient {number}">'
    return f"<h3>Patient {number}: {who.sex}, {who.age} years, {who.height} cm</h3>{picture}{table(rows)}"


def answer(number: int, title: str, found: Interpretation) -> str:
    faults = [f"{b.name}: {', '.join(b.faults)}" for b in found.session.blows if b.faults]
    rows = [
        {"index": NAMES[name], "phase": phase, "best": best.value, "z-score": best.z, "% predicted": best.percent}
        for name in NAMES
        for phase, best in found.values[name].best.items()
    ]
    kind, pattern = (PATIENTS[title].get(name) for name in ("effort", "pattern"))
    rule = effort_kinds.WORDS[kind] if kind else patterns.DEFINITIONS[pattern].words
    sentences = [f"Asked for: {rule}.", f"Faults of the efforts: {'; '.join(faults) or 'none'}.", *found.sentences()]
    return f"<h3>Patient {number}: {title}</h3>{table(rows)}" + "".join(f"<p>{escape(text)}</p>" for text in sentences)


TASKS = "Which efforts do you accept, and why not the others? Do they repeat? What is the pattern, and how severe?"
NOTE = f"All patients are simulated by a model trained on {curves_seen} curves (source: {source}). Not for diagnosis."
questions = "".join(question(number, found) for number, found in enumerate(read.values(), 1))
answers = "".join(answer(number, *one) for number, one in enumerate(read.items(), 1))
STYLE = "body{font:15px sans-serif;max-width:50rem;margin:auto}img{width:100%}td,th{padding:0 .6rem;text-align:right}"
STYLE += "td:first-child,th:first-child{text-align:left}"
STYLE += "h3{break-after:avoid}img,table{break-inside:avoid}#answers{break-before:page;margin-top:100vh}"
page = f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Twelve patients</title><style>{STYLE}</style>"
page += f"<h1>Twelve patients</h1><p>{NOTE}</p><p>{TASKS}</p>{questions}<h2 id=answers>Answers</h2>{answers}</html>"
(folder / "index.html").write_text(page, encoding="utf-8")
print(*sorted(file.name for file in folder.iterdir())[:3], "...", f"{len(list(folder.iterdir()))} files")
for title in list(read)[-8:-6]:
    print(title, *read[title].sentences(), sep="\n  ")
