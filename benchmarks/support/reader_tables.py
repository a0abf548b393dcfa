"""What benchmarks/reader.json holds, as the tables of docs/images.md."""

from typing import Any

Facts = dict[str, Any]


def blocks(facts: Facts) -> dict[str, str]:
    """Every block by name; a part that was not measured says so."""
    makers = {
        "tones": _tones,
        "images": _images,
        "flips": _flips,
        "resolution": _resolution,
        "laws": _laws,
        "speed": _speed,
    }
    return {name: make(facts[name]) if name in facts else "Not measured." for name, make in makers.items()}


def _tones(facts: Facts) -> str:
    lines = ["| set | images | furthest value | warned of | which |", "|---|---|---|---|---|"]
    for name, each in facts["sets"].items():
        names = "; ".join(f"{file}: {', '.join(why)}" for file, why in each["touched"].items())
        lines.append(f"| {name} | {each['images']} | {each['furthest']} | {len(each['touched'])} | {names} |")
    return "\n".join(lines)


def _images(facts: Facts) -> str:
    lines = [
        "| set | images | read | refused | warned | mean distance | largest mean distance |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in facts.items():
        if name != "measured":
            refused = ", ".join(f"{count} {error}" for error, count in each["refused"].items()) or "0"
            lines.append(
                f"| {name} | {each['images']} | {each['read']} | {refused} | {each['warned']} | {each['mean_apart']} "
                f"| {each['largest_mean_apart']} |"
            )
    return "\n".join([*lines, "", f"Grey levels of 255 at 128 pixels. Measured on {facts['measured']}."])


def _flips(facts: Facts) -> str:
    lines = [
        "| kind | read | refused | largest distance | changed within one grey level | changed |",
        "|---|---|---|---|---|---|",
    ]
    for name, counts in facts["kinds"].items():
        near = counts.get("within one grey level", 0)
        lines.append(
            f"| {name} | {counts.get('images', 0)} | {counts.get('refused', 0)} | {counts.get('largest_apart', 0)} | {near} "
            f"| {counts.get('changed', 0)} |"
        )
    said = f"{facts['images']} images, champion {facts['champion']}. Measured on {facts['measured']}."
    return "\n".join([*lines, "", said])


def _resolution(facts: Facts) -> str:
    return (
        f"{facts['images']} originals beside their twins of 224 pixels: scores {facts['mean_apart']} apart on average and "
        f"{facts['largest_apart']} at most; {facts['changed']} with another outcome. Champion {facts['champion']}, measured on "
        f"{facts['measured']}."
    )


def _laws(facts: Facts) -> str:
    read = f"{facts['examples']:,} ways of storing an image, {facts['counterexamples']} that read otherwise."
    return f"{read} Measured on {facts['measured']}."


def _speed(facts: Facts) -> str:
    lines = ["| what | 0.1.0, median ms | now, median ms | now / 0.1.0 |", "|---|---|---|---|"]
    timed = {f"decode, {name}": each for name, each in facts["decoding"].items()}
    timed |= {f"service, one client, {name}": each for name, each in facts["service"].items()}
    for name, each in timed.items():
        lines.append(f"| {name} | {each['milliseconds']['old']} | {each['milliseconds']['new']} | {each['ratio']} |")
    said = f"{facts['cores']} cores, both in turn. Measured on {facts['measured']}."
    return "\n".join([*lines, "", said])
