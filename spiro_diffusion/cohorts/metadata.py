"""Machine-readable metadata of a published population: Croissant, RO-Crate, CITATION.cff."""

import datetime
import os
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from spiro_diffusion.cohorts import columns
from spiro_diffusion.core.version import VERSION

LICENSE_NAME, LICENSE_URL = "Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0"
LICENSE = Path(__file__).parent / "LICENSE"
CREATOR, NHANES_URL = "Spiro-Diffusion contributors", "https://wwwn.cdc.gov/nchs/nhanes/"
SURVEYORS = "National Center for Health Statistics, Centers for Disease Control and Prevention"
KEYWORDS = ("spirometry", "lung function", "synthetic data", "NHANES", "forced expiration")
PARQUET = "application/x-parquet"
FORMATS = {".parquet": PARQUET, ".md": "text/markdown", ".json": "application/ld+json", ".cff": "application/yaml"}
CROISSANT_TYPES = {
    "int64": "sc:Integer",
    "float64": "sc:Float",
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "list<float32>": "sc:Float",
}
CROISSANT = "http://mlcommons.org/croissant/1.0"
CROISSANT_CONTEXT: dict[str, Any] = {  # as the specification of Croissant 1.0 gives it
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            *("column", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
            *("repeated", "replace", "separator", "source", "subField", "transform"),
        )
    },
}
CRATE_CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "http://schema.org/sha256"}]  # 1.1 lacks it


class File(NamedTuple):
    """A file of the folder."""

    path: str  # within the folder
    sha256: str
    size: int  # bytes


class About(NamedTuple):
    """The name of a population, and a paragraph that describes it."""

    name: str
    description: str
    date: str  # ISO 8601

    @property
    def title(self) -> str:
        """Its name, and what it is."""
        return f"{self.name}: a synthetic population of forced expirations"

    @property
    def citation(self) -> str:
        """How to cite it."""
        return f"{CREATOR} ({self.date[:4]}). {self.title}. spiro {VERSION}."


def today() -> str:
    """The date as ISO 8601; that of SOURCE_DATE_EPOCH if it is set, so that a rerun writes the same bytes."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdecimal():
        return datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).date().isoformat()
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def croissant(about: About, files: list[File]) -> dict[str, Any]:
    """Croissant 1.0: Parquet files, and the columns of `efforts` and `people`."""
    tables = [file for file in files if file.path.endswith(".parquet")]
    parts = {"@type": "cr:FileSet", "@id": "efforts-parts", "name": "efforts-parts", "encodingFormat": PARQUET}
    return {
        "@context": CROISSANT_CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CROISSANT,
        "name": about.name,
        "description": about.description,
        "license": LICENSE_URL,
        "citeAs": about.citation,
        "creator": {"@type": "sc:Organization", "name": CREATOR},
        "datePublished": about.date,
        "keywords": list(KEYWORDS),
        "version": "1.0.0",
        "distribution": [
            *(
                {
                    "@type": "cr:FileObject",
                    "@id": file.path,
                    "name": file.path,
                    "contentUrl": file.path,
                    "contentSize": f"{file.size} B",
                    "encodingFormat": PARQUET,
                    "sha256": file.sha256,
                }
                for file in tables
            ),
            {**parts, "description": "All efforts.", "includes": "efforts/*.parquet"},
        ],
        "recordSet": [
            _records("people", "A row a person.", columns.PEOPLE, {"fileObject": {"@id": "people.parquet"}}),
            _records("efforts", "A row an effort.", columns.EFFORTS, {"fileSet": {"@id": "efforts-parts"}}),
        ],
    }


def _records(
    name: str, description: str, described: tuple[columns.Column, ...], source: dict[str, Any]
) -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{column.name}",
            "name": column.name,
            "description": f"{column.meaning}, {column.unit}" if column.unit else column.meaning,
            "dataType": CROISSANT_TYPES[column.kind],
            "source": {**source, "extract": {"column": column.name}},
            **({"repeated": True} if column.kind.startswith("list") else {}),
        }
        for column in described
    ]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": description, "field": fields}


def ro_crate(about: About, files: list[File]) -> dict[str, Any]:
    """RO-Crate 1.1: the folder, its files, their author and program."""
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": about.name,
        "description": about.description,
        "datePublished": about.date,
        "license": {"@id": LICENSE_URL},
        "author": {"@id": "#author"},
        "keywords": ", ".join(KEYWORDS),
        "hasPart": [{"@id": file.path} for file in files],
        "mentions": {"@id": "#drawing"},
    }
    action = {
        "@id": "#drawing",
        "@type": "CreateAction",
        "name": "Drawn by a generative model",
        "instrument": {"@id": "#software"},
        "object": {"@id": NHANES_URL},
        "result": {"@id": "./"},
        "endTime": about.date,
    }
    software = {"@id": "#software", "@type": "SoftwareApplication", "name": "Spiro-Diffusion", "version": VERSION}
    graph = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            "about": {"@id": "./"},
        },
        root,
        {"@id": LICENSE_URL, "@type": "CreativeWork", "name": "Apache License 2.0", "identifier": LICENSE_NAME},
        {"@id": "#author", "@type": "Organization", "name": CREATOR},
        software,
        action,
        {"@id": NHANES_URL, "@type": "WebPage", "name": "National Health and Nutrition Examination Survey"},
        *(
            {
                "@id": file.path,
                "@type": "File",
                "name": file.path,
                "contentSize": str(file.size),
                "encodingFormat": FORMATS.get(Path(file.path).suffix, "text/plain"),
                "sha256": file.sha256,
            }
            for file in files
        ),
    ]
    return {"@context": CRATE_CONTEXT, "@graph": graph}


def citation(about: About) -> str:
    """CITATION.cff, as YAML."""
    content = {
        "cff-version": "1.2.0",
        "message": "If you use these curves, please cite them as below, and name the data their model was trained on.",
        "type": "dataset",
        "title": about.title,
        "abstract": about.description,
        "authors": [{"name": CREATOR}],
        "date-released": datetime.date.fromisoformat(about.date),
        "license": LICENSE_NAME,
        "keywords": list(KEYWORDS),
        "references": [
            {"type": "software", "title": "Spiro-Diffusion", "authors": [{"name": CREATOR}], "version": VERSION},
            {
                "type": "data",
                "title": "National Health and Nutrition Examination Survey",
                "authors": [
                    {"name": "National Center for Health Statistics, Centers for Disease Control and Prevention"}
                ],
                "url": NHANES_URL,
            },
        ],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
