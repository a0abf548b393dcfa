"""Everything the report says, read from what the stages left; what is not there yet is None, and the page says so."""

import base64
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mistune
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from pipeline import outcomes, paths
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import formatting, published
from pipeline.evaluation.run_metrics import UNDEFINED
from pipeline.files import read_json
from pipeline.labels import ALL_SUBTYPES, PNEUMONIA, SPLITS
from pipeline.reporting import champion_table, markdown_blocks
from pipeline.settings import Settings

TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".jpeg": "image/jpeg"}
Row = Mapping[str, Any]
Context = dict[str, Any]

LONG_CELL = re.compile(r"<td>(?=[^<]{48})")
_markdown = mistune.create_markdown(plugins=["table"])


def collect(options: Settings) -> Context:
    """The context of all templates."""
    dataset = read_json(paths.DATASET, otherwise=None)
    if dataset is None:
        raise ProjectError("data/dataset.json is missing; run ingest first (make repro)")
    named = read_json(paths.METRICS / "candidate.json", otherwise=None)
    contract = read_json(paths.CANDIDATE / "contract.json", otherwise=None)
    run = (named["released"] or named)["run"] if named else None
    champion = paths.CHAMPION.read_text(encoding="utf-8").strip() if paths.CHAMPION.is_file() else None
    sites = [read_json(path, otherwise=None) for path in sorted((paths.METRICS / "site").glob("*.json"))]
    of_candidate = [site for site in sites if contract and site["version"] == contract["version"]]
    return {
        "dataset": dataset,
        "generated": dataset["dataset"] == published.GENERATED,
        "own": dataset["dataset"] not in (published.DATASET, published.GENERATED),
        "run": run,
        "releasable": bool(named and named["released"]),
        "metrics": read_json(paths.METRICS / "runs" / f"{run}.json", otherwise=None) if run else None,
        "baseline": read_json(paths.METRICS / "runs" / "baseline.json", otherwise=None),
        "baseline_reads": baseline_reads(read_json(paths.predictions("baseline") / "run.json", otherwise=None)),
        "contract": contract,
        "outcomes": outcomes,
        "thresholds": outcomes.thresholds(contract) if contract else None,
        "champion": champion,
        "served": served(contract, champion),
        "flow": flow(options),
        "files": files(),
        "blocks": _blocks(options),
        "images": True,
        "sites": of_candidate,
        "champion_contract": champion_table.champion_contract(),
        "foreign_sites": [site for site in sites if site not in of_candidate],
        "explain": _explain(),
        "gallery": _gallery(paths.REPORTS / "explain" / "gallery"),
        "options": options,
    }


def without_images(context: Context) -> Context:
    """The same with every image that shows a patient left out, and every drawing that holds pixels: what git may keep."""
    return context | {"images": False, "gallery": None}


def served(contract: Row | None, champion: str | None) -> str:
    """One sentence: is the network that report and card are about the one that is served?"""
    if champion is None:
        return "No network was served when this was written: there was no champion."
    if contract is None:
        return f"Served when this was written was the champion {champion}; no candidate had been packaged."
    if champion == contract["version"]:
        return f"The candidate {champion} is the champion that was served when this was written."
    return (
        f"This is about the candidate {contract['version']}. Served when it was written was another network, the champion "
        f"{champion}, for which nothing here holds; its own card is models/champions/{champion}/card.md."
    )


def baseline_reads(facts: Row | None) -> str:
    """The columns that the non-image baseline reads, and those that it had to drop, as its run.json lists them."""
    if facts is None:
        return "size, file and brightness"
    read, lost = (", ".join(facts[name]).replace("_", " ") for name in ("columns", "dropped"))
    return f"{read} ({lost}: the same in every training image, so not read)" if lost else read


def render(template: str, context: Context) -> str:
    """One of the templates beside this file; an unknown name in it is an error."""
    environment = Environment(
        loader=PackageLoader("pipeline.reporting"),
        autoescape=lambda name: bool(name and ".html" in name),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    shown = image if context["images"] else drawing
    environment.globals |= {"image": shown, "table": table, "estimate": estimate}
    environment.filters["md"] = _html
    return environment.get_template(template).render(context)


def _html(text: str) -> Markup:
    """Our own Markdown as HTML, escaped by mistune; a cell of prose may wrap, unlike one of numbers."""
    return Markup(LONG_CELL.sub('<td class="long">', str(_markdown(text))))  # noqa: S704


def image(name: str) -> str | None:
    """An image below the root as a data URI; None where it is not there. A PNG becomes WebP, a fifth of its size."""
    path = paths.ROOT / name
    if not path.is_file():
        return None
    data, kind = path.read_bytes(), TYPES[path.suffix]
    if path.suffix == ".png":
        data, kind = webp(path), "image/webp"
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def drawing(name: str) -> str | None:
    """As `image`, for a drawing of lines and text alone; None where it holds pixels."""
    path = paths.ROOT / name
    if path.suffix != ".svg" or (path.is_file() and b"data:image" in path.read_bytes()):
        return None
    return image(name)


def webp(path: Path) -> bytes:
    """An image file as WebP."""
    stream = io.BytesIO()
    with Image.open(path) as opened:
        opened.convert("RGB").save(stream, "WEBP", quality=82)
    return stream.getvalue()


def estimate(row: Row, name: str, digits: int = 3) -> str:
    """A metric of a flat row, or of a contract's nested one, with its interval; a dash where there is none."""
    nested = row.get(name)
    if isinstance(nested, Mapping):
        return formatting.estimate(nested["value"], nested["low"], nested["high"], digits)
    if isinstance(nested, list):
        value, low, high = (UNDEFINED if part is None else part for part in nested)
        return formatting.estimate(value, low, high, digits)
    return formatting.estimate(nested, row.get(f"{name}_low"), row.get(f"{name}_high"), digits)


def table(rows: Iterable[Row], columns: Mapping[str, str], digits: int = 3) -> Markup:
    """An HTML table: `columns` maps a column's title to the name of a metric or a plain field."""
    head = "".join(f"<th>{escape(title)}</th>" for title in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(_cell(row, name, digits))}</td>' for name in columns.values())}</tr>"
        for row in rows
    )
    return Markup(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')  # noqa: S704


def _cell(row: Row, name: str, digits: int) -> str:
    if name.endswith("per_thousand"):
        digits = 1
    if f"{name}_low" in row or isinstance(row.get(name), Mapping | list):
        return estimate(row, name, digits)
    return str(row.get(name, "-") if row.get(name, "") != "" else "-")


def flow(options: Settings) -> Context | None:
    """Counts from files to the rows of each group, by class, subtype and patient; None without a manifest."""
    if not paths.MANIFEST.is_file():
        return None
    manifest, quarantine = read_table(paths.MANIFEST), read_table(paths.QUARANTINE)
    split = {name: [row for row in manifest if row["split"] == name] for name in SPLITS}
    flow: Context = {
        "found": len(manifest) + len(quarantine),
        "used": len(manifest),
        "quarantine": quarantine,
        "splits": {name: counts(rows) for name, rows in split.items() if rows},
        "patients": len({row["patient"] for row in manifest}),
        "parts": None,
        "groups": None,
    }
    if paths.group("validation").is_file() and paths.index("development").is_file():
        index = read_table(paths.index("development"))
        held = {int(row["row"]) for row in read_table(paths.group("validation"))}
        flow["parts"] = {
            "training": counts(row for place, row in enumerate(index) if place not in held),
            "validation": counts(row for place, row in enumerate(index) if place in held),
        }
        lists = {name: paths.group(name) for name in options.groups.sets if paths.group(name).is_file()}
        flow["groups"] = {name: Counter(row["label"] for row in read_table(path)) for name, path in lists.items()}
    return flow


def counts(rows: Iterable[Mapping[str, str]]) -> Context:
    """Images and patients: in all, of pneumonia, and by subtype."""
    rows = list(rows)
    kinds = {name: [row for row in rows if row["subtype"] == name] for name in ALL_SUBTYPES}
    return {
        **_how_many(rows),
        "pneumonia": _how_many([row for row in rows if row["label"] == PNEUMONIA]),
        "subtypes": {name: _how_many(of_kind) for name, of_kind in kinds.items() if of_kind},
    }


def _how_many(rows: Sequence[Mapping[str, str]]) -> dict[str, int]:
    return {"pictures": len(rows), "patients": len({row["patient"] for row in rows})}


def files() -> Context | None:
    """Sizes, modes and byte-identical copies, for the data card; None without a manifest."""
    if not paths.MANIFEST.is_file():
        return None
    manifest = read_table(paths.MANIFEST)
    copies = Counter(row["sha256"] for row in manifest)
    ill = [row for row in manifest if row["split"] == "test" and row["label"] == PNEUMONIA]
    sides = [int(row[name]) for row in manifest for name in ("width", "height")]
    return {
        "modes": dict(sorted(Counter(row["mode"] for row in manifest).items())),
        "shortest": min(sides),
        "longest": max(sides),
        "megabytes": sum(int(row["bytes"]) for row in manifest) / 1e6,
        "copied": sum(count > 1 for count in copies.values()),
        "test_pneumonia": counts(ill),
        "most_of_one": max(Counter(row["patient"] for row in ill).values(), default=0),
    }


def _blocks(options: Settings) -> dict[str, str] | None:
    """The tables of docs/results.md; None where nothing was compared yet."""
    if not (paths.METRICS / "candidate.json").is_file():
        return None
    return markdown_blocks.blocks(paths.METRICS, options)


def _explain() -> Context | None:
    folder = paths.METRICS / "explain"
    summary = read_json(folder / "summary.json", otherwise=None)
    if summary is None:
        return None
    return {"summary": summary} | {path.stem: read_table(path) for path in sorted(folder.glob("*.csv"))}


def _gallery(folder: Path) -> Sequence[Row] | None:
    path = folder / "gallery.csv"
    return read_table(path) if path.is_file() else None
