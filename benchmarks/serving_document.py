"""The measured part of docs/serving.md, written from what benchmarks/serving.json and the champion's contract hold.

python -m benchmarks.serving_document
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.serving import MEDIAN
from pipeline import outcomes, paths
from pipeline.files import read_json, write_text
from pipeline.reporting.markdown_blocks import insert

DOCUMENT = paths.ROOT / "docs" / "serving.md"
KEPT = paths.ROOT / "benchmarks" / "serving.json"
SITE = paths.METRICS / "site" / "nih-adults.json"
PROFILE = paths.METRICS / "site_profiles" / "nih-adults.json"
Facts = dict[str, Any]


def main() -> None:
    """Replace the marked blocks of docs/serving.md."""
    write_text(DOCUMENT, insert(DOCUMENT.read_text(encoding="utf-8"), blocks(), DOCUMENT.name))


def blocks() -> dict[str, str]:
    """Every block by name."""
    kept = read_json(KEPT)
    version = paths.CHAMPION.read_text(encoding="utf-8").strip()
    contract = read_json(paths.CHAMPIONS / version / "contract.json")
    site = read_json(SITE)
    return {
        "speed": _speed(kept["speed"]),
        "load": _load(kept["load"]),
        "faults": _faults(kept["fuzz"], kept["kill"]),
        "costly": _costly(kept["costly"]),
        "clients": _clients(kept["clients"]),
        "start": _start(kept["start"]),
        "guard": _guard(contract["guard"], site),
        "points": _points(contract),
        "site": _site(site),
        "profile": _profile(read_json(PROFILE)),
    }


def _speed(facts: Facts) -> str:
    parts = [f"{_when(facts)} Client and server ran on the same machine."]
    for part in facts["sets"]:
        parts.append(
            f"\n{part['pictures']['count']} images, median {part['pictures']['kilobytes']:.0f} kB "
            f"and {part['pictures']['megapixels']:.2f} megapixels: **{part['times']:.1f} times** the requests a second of "
            f"the plain way at its best; median at one client **{part['median']:.1f} ms**, upload and decoding included"
            f"{'' if part['median'] < MEDIAN else f', past the limit of {MEDIAN:.0f} ms'}; "
            f"the map adds {100 * part['map_adds']:.0f} %.\n\n"
            "| served by | clients | requests a second | median ms | 95th percentile ms |\n|---|---|---|---|---|"
        )
        parts += [
            f"| {line['by']} | {line['clients']} | {line['rate']:.0f} | {line['median']:.1f} | {line['late']:.1f} |"
            for line in part["lines"]
        ]
    return "\n".join(parts)


def _load(facts: Facts) -> str:
    statuses = ", ".join(f"{number:,} times {status}" for status, number in facts["statuses"].items())
    return (
        f"{facts['sent']:,} requests, good (JPEG, PNG, TIFF, DICOM) and bad mixed, at 32 clients: {facts['answered']:,} "
        f"answered at {facts['rate']} a second ({statuses}); {facts['unexpected']} with another status than the file "
        f"should get. {facts['compared']:,} answers were compared with the prediction without a server: the largest "
        f"distance is {facts['largest_distance']:.0e}. The workers held {facts['first_megabytes']} MB during the first "
        f"thousand requests and {facts['last_megabytes']} MB during the last ({100 * facts['growth']:+.1f} %). {_when(facts)}"
    )


def _faults(fuzz: Facts, kill: Facts) -> str:
    kinds = ", ".join(fuzz["statuses"])
    worst = max(int(status) for statuses in fuzz["statuses"].values() for status in statuses)
    schema = fuzz["schemathesis"]
    return (
        f"- Fuzzing: {fuzz['sent']:,} mutated files ({kinds}): highest status {worst}, {fuzz['lost']} without an answer, "
        f"{fuzz['workers_lost']} workers lost, slowest answer {fuzz['slowest_milliseconds']} ms. schemathesis on the "
        f"OpenAPI document: {schema['cases']} cases, {'no 5xx' if schema['passed'] else 'FAILED'}. {_when(fuzz)}\n"
        f"- `kill -9` of one of two workers at {kill['clients']} clients: {kill['lost']} requests lost, the last of them "
        f"{kill['last_loss_seconds']:.1f} s after the kill; every other one answered "
        f"({', '.join(f'{number:,} times {status}' for status, number in kill['statuses'].items())}). The killed worker "
        f"answered again after {kill['back_seconds']:.1f} s. {_when(kill)}"
    )


def _costly(facts: Facts) -> str:
    start = facts["start_megabytes"]
    lines = [
        f"Each 64 at once, to `/predict`, `/explain` and `/picture` in turn, beside one client that sends a radiograph; one "
        f"worker, which holds {start} MB with its process before. Of memory, what forks share counts once, and pages of "
        "files for each process.\n",
        "| kind | kB | answers | lost | the client's answers | its slowest, s | peak MB | MB afterwards |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {kind['kilobytes']:,} | {_times(kind['statuses'])} | {kind['lost']} | {_times(kind['others'])} | "
        f"{kind['others_slowest_seconds']:.1f} | {kind['peak_megabytes']} | {kind['after_megabytes']} |"
        for name, kind in facts["kinds"].items()
    ]
    return "\n".join([*lines, f"\nWorkers lost: {facts['workers_lost']}. {_when(facts)}"])


def _clients(facts: Facts) -> str:
    return (
        f"- {facts['held']} connections held open, {facts['held'] - facts['unended']} idle or with half a header, "
        f"{facts['unended']} with half an upload or an answer that is not read: every other request answered "
        f"({_times(facts['statuses'])}), {facts['lost']} lost, the slowest in {facts['slowest_seconds']:.1f} s; "
        f"{facts['start_megabytes']} MB before, {facts['peak_megabytes']} MB at most. With all of them open, SIGTERM ended the "
        f"service in {facts['stop_seconds']:.1f} s. {_when(facts)}"
    )


def _times(statuses: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} times {status}" for status, number in statuses.items())


def _start(facts: Facts) -> str:
    size, seconds = facts["megabytes"], facts["seconds"]
    return (
        f"From the command to the first 200 of `/readyz`: {min(seconds)} to {max(seconds)} s in {len(seconds)} starts, "
        f"at a load average of {facts['load_average']}. The environment, installed as the Dockerfile does it, has "
        f"{size['environment']:.0f} MB; what `bentoml build` packs has {size['bundle']:.1f} MB; the image adds both "
        f"to its base ([containers.md](containers.md)). {_when(facts)}"
    )


def _when(facts: Facts) -> str:
    """When and on what a part was measured, and what there is to know of the machine."""
    said = f"Measured on {facts['measured']} with {facts['network']}, on {facts['cores']} cores."
    return f"{said} {facts['note']}" if "note" in facts else said


def _guard(guard: Facts, site: Facts) -> str:
    refused = guard["test_refused"]
    low, high = refused["low"], refused["high"]
    lines = [
        f"Its threshold refuses {100 * guard['threshold_refuses_of_validation']:.1f} % of the validation patients. "
        f"Of the official test images it refuses {100 * refused['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f} %), "
        f"of the {site['films']} adult radiographs of the external test {_share(site['share_refused_by_guard'])}. Fitted "
        "without a kind of out-of-distribution image, it accepts of that kind:\n",
        "| kind left out | accepted |\n|---|---|",
    ]
    kinds = guard["accepted_of_kinds_left_out_of_fitting"]
    lines += [f"| {kind} | {100 * share:.1f} % |" for kind, share in sorted(kinds.items())]
    return "\n".join(lines)


def _points(contract: Facts) -> str:
    lower, upper = outcomes.thresholds(contract)
    text = (
        f"Of this champion the lower threshold is {lower.score:.3f} ({lower.criterion}), the upper one {upper.score:.3f} "
        f"({upper.criterion})."
    )
    share = contract["figures"]["validation"].get("indeterminate")
    if share:
        text += f" Indeterminate of the validation images: {share['value']:.3f} ({share['low']:.3f} to {share['high']:.3f})."
    return f"{text} {outcomes.calibration(contract)}"


PROFILED = {
    "log_loss": "log loss",
    "calibration_intercept": "calibration intercept",
    "calibration_slope": "calibration slope",
    "sensitivity_at_lower": "sensitivity, lower threshold",
    "specificity_at_lower": "specificity, lower threshold",
    "sensitivity_at_upper": "sensitivity, upper threshold",
    "specificity_at_upper": "specificity, upper threshold",
    "indeterminate": "share of indeterminate images",
}


def _profile(made: Facts) -> str:
    report, recalibration = made["report"], made["recalibration"]
    asked, thresholds = report["asked"], made["thresholds"]
    lines = [
        f"Of the adult radiographs ({made['name']}), champion {made['champion']}: {made['images']} images of "
        f"{made['patients']['normal']} patients without and {made['patients']['pneumonia']} with pneumonia got an answer; the "
        f"input check rejects {_share(report['input_check']['share_rejected']['all'])}. Intercept "
        f"{recalibration['intercept']:.2f}, slope {recalibration['slope']:.2f}; thresholds "
        f"{thresholds['lower']['score']:.6g} and {thresholds['upper']['score']:.6g} for sensitivity "
        f"{asked['sensitivity']:g} and specificity {asked['specificity']:g}. "
        "These images are no series as it comes, so their prevalence is nobody's.",
        "",
        "| images | metric | before | after | change |",
        "|---|---|---|---|---|",
    ]
    for kind, part in {"all": report["all"], **report["views"]}.items():
        where = f"{kind} ({part['pneumonia']} with pneumonia, {part['normal']} without)"
        for name, said in PROFILED.items():
            told = [_estimate(part[name][when]) for when in ("before", "after", "change")]
            lines.append(f"| {where} | {said} | {' | '.join(told)} |")
    return "\n".join(lines)


def _site(site: Facts) -> str:
    local, accepted = site["local_threshold"], site["accepted"]
    profile = (
        f"On the {site['films']} adult radiographs of the external test ({site['name']}; README.md has them by view): AUC "
        f"{_estimate(accepted['auc'])}; at the sensitive point sensitivity {_estimate(accepted['sensitivity_at_sensitive'])}, "
        f"specificity {_estimate(accepted['specificity_at_sensitive'])}."
    )
    if local is None:
        return f"{profile} They are too few for a local threshold."
    return (
        f"{profile} With the local threshold {local['threshold']:.2f}, on "
        f"the half of the patients that did not fix it: sensitivity {_estimate(local['sensitivity_at_local'])}, specificity "
        f"{_estimate(local['specificity_at_local'])}."
    )


def _estimate(estimate: list[float | None]) -> str:
    return "undefined" if None in estimate else "{:.2f} ({:.2f} to {:.2f})".format(*estimate)


def _share(estimate: list[float]) -> str:
    return "{:.1f} % ({:.1f} to {:.1f} %)".format(*(100 * value for value in estimate))


if __name__ == "__main__":
    main()
