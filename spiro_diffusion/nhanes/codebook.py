"""Codebook of the CDC's files: cycles, addresses, releases, columns, codes.

Sources: the documentation page of each file (for example
https://wwwn.cdc.gov/Nchs/Data/Nhanes/Public/2011/DataFiles/SPX_G.htm) and, for cycle G, the files themselves.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

CycleName = Literal["E", "F", "G"]
TABLES = ("DEMO", "BMX", "SPX", "SPXRAW")
HOST = "https://wwwn.cdc.gov"


class Cycle(NamedTuple):
    """Two years of NHANES. A participant has one SEQN and belongs to one cycle."""

    begin: int  # year
    first_seqn: int
    last_seqn: int
    release: int  # SDDSRVYR
    exam_months: str  # DEMO column of the age in months at the examination
    ethnicity3: str | None  # DEMO column that distinguishes Asian from other, where there is one


CYCLES: dict[str, Cycle] = {
    "E": Cycle(2007, 41475, 51623, 5, "RIDAGEEX", None),
    "F": Cycle(2009, 51624, 62160, 6, "RIDAGEEX", None),
    "G": Cycle(2011, 62161, 71916, 7, "RIDEXAGM", "RIDRETH3"),
}

SEQN_STEP = 100_000  # between the SEQN of two blocks of simulated people of a cycle: the CDC's own have five digits
LARGEST_SEQN = 99_999_999  # of simulated people


# --- columns --------------------------------------------------------------------------------------------------

_LANGUAGE = "SIALANG SIAPROXY SIAINTRP FIALANG FIAPROXY FIAINTRP MIALANG MIAPROXY MIAINTRP"
_BODY = (
    "SEQN BMDSTATS BMXWT BMIWT BMXRECUM BMIRECUM BMXHEAD BMIHEAD BMXHT BMIHT BMXBMI {category}BMXLEG BMILEG BMXARML"
    " BMIARML BMXARMC BMIARMC BMXWAIST BMIWAIST "
)
_SAD = "BMXSAD1 BMXSAD2 BMXSAD3 BMXSAD4 {average}BMDSADCM"
_BEST = ("FVC", "EV", "FEV5", "FEV7", "FEV1", "FEV3", "FEV6", "PEF", "F257", "FET", "QFVC", "QFV1")

DEMO_EF = (
    "SEQN SDDSRVYR RIDSTATR RIDEXMON RIAGENDR RIDAGEYR RIDAGEMN RIDAGEEX RIDRETH1 DMQMILIT DMDBORN2 DMDCITZN DMDYRSUS"
    " DMDEDUC3 DMDEDUC2 DMDSCHOL DMDMARTL DMDHHSIZ DMDFMSIZ INDHHIN2 INDFMIN2 INDFMPIR RIDEXPRG DMDHRGND DMDHRAGE"
    f" DMDHRBR2 DMDHREDU DMDHRMAR DMDHSEDU {_LANGUAGE} AIALANG WTINT2YR WTMEC2YR SDMVPSU SDMVSTRA"
).split()
DEMO_G = (
    "SEQN SDDSRVYR RIDSTATR RIAGENDR RIDAGEYR RIDAGEMN RIDRETH1 RIDRETH3 RIDEXMON RIDEXAGY RIDEXAGM DMQMILIZ DMQADFC"
    f" DMDBORN4 DMDCITZN DMDYRSUS DMDEDUC3 DMDEDUC2 DMDMARTL RIDEXPRG {_LANGUAGE} AIALANGA WTINT2YR WTMEC2YR SDMVPSU"
    " SDMVSTRA INDHHIN2 INDFMIN2 INDFMPIR DMDHHSIZ DMDFMSIZ DMDHHSZA DMDHHSZB DMDHHSZE DMDHRGND DMDHRAGE DMDHRBR4"
    " DMDHREDU DMDHRMAR DMDHSEDU"
).split()
BMX_EF = (_BODY.format(category="") + "BMXTRI BMITRI BMXSUB BMISUB").split()
BMX_G = (_BODY + _SAD).format(category="BMDBMIC ", average="BMDAVSAD ").split()
BMX_G_FIRST = [name for name in BMX_G if name != "BMDAVSAD"]
SPX = (
    "SEQN ENQ010 ENQ020 SPQ010 SPQ020 SPQ030 SPQ040 SPQ050 SPQ060 SPQ070A SPQ070B SPQ070C SPQ070D SPQ070E SPQ080 SPQ090"
    " SPQ100 ENQ100 SPXNSTAT SPXNCMT "
    + " ".join(f"SPXN{best}" for best in _BEST)
    + " SPDNACC SPXNQEFF SPDBRONC SPXBSTAT SPXBCMT "
    + " ".join(f"SPXB{best}" for best in _BEST)
    + " SPDBACC SPXBQEFF"
).split()
SPXRAW = ["SEQN", "SPATTYPE", "SPAMANU", "SPAFACT", "SPAPOS", "SPAPLAT", "SPAACC", "SPAQEFF", "SPXPTS", "SPXRAW"]

# What the pipeline reads: a file without one of these is refused.
NEEDED: dict[str, tuple[str, ...]] = {
    "DEMO": ("SEQN", "RIDAGEYR", "RIAGENDR", "RIDRETH1", "WTMEC2YR"),
    "BMX": ("SEQN", "BMXHT", "BMXWT"),
    "SPX": ("SEQN", "SPXNFVC", "SPXNFEV1", "SPXNPEF", "SPXNF257", "SPXNFET", "SPXNQFVC", "SPXNQFV1"),
    "SPXRAW": tuple(SPXRAW),
}

# What the labels of columns say, in every cycle; where columns lie in another order, the labels identify the columns.
LABEL_WORDS = {
    "SEQN": "respondent|sequence",
    "RIAGENDR": "gender",
    "RIDAGEYR": "age",
    "RIDRETH1": "race|ethnicity",
    "WTMEC2YR": "mec|exam",
    "BMXHT": "height",
    "BMXWT": "weight",
    "SPXNFVC": "fvc",
    "SPXNFEV1": "fev ?1",
    "SPXNPEF": "pef|peak",
}


class Numbers(NamedTuple):
    """The numbers a column may hold."""

    lowest: float
    highest: float
    decimals: int | None = 0  # digits behind the point, None: any


class Texts(NamedTuple):
    """The texts a column may hold."""

    values: frozenset[str]


def _texts(*values: str) -> Texts:
    return Texts(frozenset(values))


# The limits of a measurement are the codebooks' own ("hard edits") or, where they give only what occurred,
# the largest of the three cycles with room above.
CODE = Numbers(0, 200)  # any column not named here; the highest code is 122 (SPXNCMT), the highest stratum 103
_VOLUME = Numbers(1, 12_000)  # mL; the largest FVC is 9,361 (F)
_BODY_MEASURE = Numbers(1, 500, 1)  # cm, mm or kg
_GRADE = _texts("", "A", "B", "C", "D", "F")
_BEST_LIMITS: dict[str, Numbers | Texts] = {
    **{best: _VOLUME for best in _BEST if best.startswith("F")},
    "EV": Numbers(0, 1_000),  # mL; 321 (E)
    "PEF": Numbers(1, 25_000),  # mL/s; 19,024 (G)
    "F257": Numbers(1, 20_000),  # mL/s; 12,776 (E)
    "FET": Numbers(0.1, 60, 1),  # s; 32.8 (E)
    "QFVC": _GRADE,
    "QFV1": _GRADE,
}
CODEBOOK: dict[str, Numbers | Texts] = {
    "SEQN": Numbers(1, LARGEST_SEQN),  # which of them a cycle has: File.of_cycle
    "RIDAGEYR": Numbers(0, 80),  # years; 80 and older are 80
    "RIAGENDR": Numbers(1, 2),
    "RIDRETH1": Numbers(1, 5),
    "RIDRETH3": Numbers(1, 7),
    "RIDAGEMN": Numbers(0, 959),  # months
    "RIDAGEEX": Numbers(0, 959),  # months
    "RIDEXAGM": Numbers(0, 239),  # months
    "RIDEXAGY": Numbers(2, 20),  # years
    "INDFMPIR": Numbers(0, 5, 2),
    "WTINT2YR": Numbers(0, 1e6, None),  # people that a participant stands for; 233,000 in G
    "WTMEC2YR": Numbers(0, 1e6, None),
    **{name: _BODY_MEASURE for name in {*BMX_EF, *BMX_G} if name.startswith("BMX") or name == "BMDAVSAD"},
    "BMXBMI": Numbers(1, 300, 2),  # kg/m2
    "BMXHT": Numbers(70, 208.4, 1),  # cm
    "BMXWT": Numbers(1, 440, 1),  # kg
    "SPXNQEFF": _GRADE,
    "SPXBQEFF": _GRADE,
    **{f"SPX{test}{best}": limits for test in "NB" for best, limits in _BEST_LIMITS.items()},
    "SPATTYPE": _texts("Pre", "Bron"),
    "SPAMANU": Numbers(1, 20),  # 13 in E; room for what comes as NHANES does
    "SPAFACT": Numbers(1.03, 1.15, 3),  # 1.039 (G) to 1.145 (E)
    "SPAPOS": _texts("Standing", "Sitting"),
    "SPAPLAT": _texts("Y", "N"),
    "SPAACC": _texts("Y", "N"),
    "SPAQEFF": _texts("A", "B", "C", "D"),
    "SPXPTS": Numbers(1, 2044),
    "SPXRAW": _texts(),  # lists of numbers, see `spxraw`
}
ACCEPTABLE_GRADES = ("A", "B", "C")  # SPAACC is Y for these and N for D: the counts of all three codebooks say so

# A zero that no measurement gave (SPX_F: SPXNFEV3 and SPXNF257 go "0 to ...", the next value being hundreds).
ZERO_MEANS_MISSING = tuple(f"SPX{test}{best}" for test in "NB" for best in ("FEV3", "F257"))


def is_text(column: str) -> bool:
    """Whether a column of the CDC holds text; all others hold numbers."""
    return isinstance(CODEBOOK.get(column), Texts)


# --- files ----------------------------------------------------------------------------------------------------


class Release(NamedTuple):
    """One publication of a file. The CDC replaces files under the same name."""

    size: int  # bytes
    sha256: str  # or its beginning
    columns: list[str]  # none where they were not seen at first hand
    current: bool = True


@dataclass(frozen=True)
class File:
    """One file of the CDC, named as `DEMO_G`."""

    table: str
    cycle: str
    rows: int | None = None  # as the codebook counts them
    columns: tuple[list[str], ...] = ()  # the column lists of its releases, in file order where that is known
    releases: tuple[Release, ...] = ()  # those that were seen at first hand
    counts: tuple[tuple[str, float | str | None, int], ...] = ()  # column, value (None: not missing), how often
    simulated: bool = False  # people beyond the cycle's SEQN too, see `simulator.simulate`

    @property
    def name(self) -> str:
        return f"{self.table}_{self.cycle}"

    @property
    def filename(self) -> str:
        return f"{self.name}.zip" if self.table == "SPXRAW" else f"{self.name}.xpt"

    def of_cycle(self, seqn: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which SEQN (n,) are of the cycle."""
        cycle = CYCLES[self.cycle]
        with np.errstate(invalid="ignore"):
            seqn_in_cycle = (
                np.where((seqn > 0) & (seqn <= LARGEST_SEQN), seqn % SEQN_STEP, np.nan) if self.simulated else seqn
            )
            return (seqn_in_cycle >= cycle.first_seqn) & (seqn_in_cycle <= cycle.last_seqn) & (seqn % 1 == 0)

    @property
    def paths(self) -> tuple[str, str]:
        """Paths on the CDC's host: where the file lies since December 2024, and where it lay before."""
        year = CYCLES[self.cycle].begin
        stem, suffix = self.filename.split(".")
        return (
            f"/Nchs/Data/Nhanes/Public/{year}/DataFiles/{stem}.{suffix}",
            f"/Nchs/Nhanes/{year}-{year + 1}/{stem}.{suffix.upper()}",
        )


_FILES = (
    File("DEMO", "E", 10149, (DEMO_EF,), counts=(("RIAGENDR", 1, 5096), ("RIDRETH1", 3, 4115))),
    File("DEMO", "F", 10537, (DEMO_EF,), counts=(("RIAGENDR", 1, 5225), ("RIDRETH1", 3, 4420))),
    File(
        "DEMO",
        "G",
        9756,
        (DEMO_G,),
        (
            Release(3_753_760, "eaf0525d1952626885af3e935415a1f66ad62c18698080e7354789c125af252d", DEMO_G),
            Release(2_659_200, "bdecfa92", [], False),  # of September 2013, 34 columns; seen by others
        ),
        (("RIAGENDR", 1, 4856), ("RIDRETH1", 3, 2973)),
    ),
    File("BMX", "E", 9762, (BMX_EF,), counts=(("BMXHT", None, 8873), ("BMXWT", None, 9631))),
    File("BMX", "F", 10253, (BMX_EF,), counts=(("BMXHT", None, 9420), ("BMXWT", None, 10162))),
    File(
        "BMX",
        "G",
        9338,
        (BMX_G, BMX_G_FIRST),
        (
            Release(1_946_720, "4814bfc3047ed400b9d43d285f8c3ea7c940ac6489404a9b699579715d158ec3", BMX_G),
            Release(1_871_840, "9ae52181ac6e8288581a57b0437ae96420a5b88848a65f46d601c9107a639bd4", BMX_G_FIRST, False),
        ),
        (("BMXHT", None, 8615), ("BMXWT", None, 9243)),
    ),
    File("SPX", "E", 7743, (SPX,), counts=(("SPXNFVC", None, 6319), ("SPXNQFVC", "A", 4435))),
    File("SPX", "F", 8195, (SPX,), counts=(("SPXNFVC", None, 7079), ("SPXNQFVC", "A", 4776))),
    File(
        "SPX",
        "G",
        7495,
        (SPX,),
        (Release(2_751_120, "58177b07ad94a2c005b0c9494cddb82fc94ec8f5c6c13a91b83da035f20770d9", SPX),),
        (("SPXNFVC", None, 6652), ("SPXNQFVC", "A", 4104)),
    ),
    File("SPXRAW", "E", 34857, (SPXRAW,), counts=(("SPATTYPE", "Pre", 32353), ("SPAQEFF", "A", 18113))),
    File("SPXRAW", "F", 36421, (SPXRAW,), counts=(("SPATTYPE", "Pre", 34413), ("SPAQEFF", "A", 20140))),
    File("SPXRAW", "G", 37661, (SPXRAW,), counts=(("SPATTYPE", "Pre", 35642), ("SPAQEFF", "A", 19840))),
)
FILES: dict[str, File] = {file.name: file for file in _FILES}


def files(cycles: list[str]) -> list[File]:
    """The files of some cycles."""
    return [FILES[f"{table}_{cycle}"] for cycle in cycles for table in TABLES]
