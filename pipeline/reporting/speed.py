"""What the benchmarks measured, as a table for README.md."""

from pathlib import Path

from pipeline.files import read_json

SHOWN = ("demo", "nothing_changed", "preprocessing", "memory", "training", "evaluation", "saliency")
COMPARED = {"images/s": "times as fast", "MiB": "of the memory", "s": "times as long", "min": "times as long"}


def table(kept: Path) -> str:
    """Markdown of benchmarks/measured.json: each metric beside the peer measured in the same run."""
    if not kept.exists():
        return "Not measured yet: `make benchmarks`."
    kept_rows = read_json(kept)
    lines = ["| measured | here | beside it | here is |", "|---|---|---|---|"]
    measured = [kept_rows[name] for name in SHOWN if name in kept_rows]
    for benchmark in measured:
        for row in benchmark["rows"]:
            unit, peer = row["unit"], row["peer"]
            beside = f"{_short(peer)} {unit} ({row['beside']})" if peer is not None else "-"
            compared = f"{row['here'] / peer:.2f} {COMPARED[unit]}" if peer else "-"
            lines.append(f"| {row['what']} | {_short(row['here'])} {unit} | {beside} | {compared} |")
    cores = sorted({benchmark["cores"] for benchmark in measured})
    return (
        "\n".join(lines)
        + f"\n\nCPU alone, {' or '.join(map(str, cores))} cores. `make benchmarks` measures them again."
    )


def quick(kept: Path) -> str:
    """How long `make demo` takes, where it was measured, for the quick start of README.md."""
    kept_rows = read_json(kept, otherwise={})
    told = [f"{row['what']}: {_short(row['here'])} {row['unit']}" for row in kept_rows.get("demo", {}).get("rows", [])]
    return (
        f"Measured here: {'; '.join(told)}."
        if told
        else "How long `make demo` takes was not measured here yet: `make benchmarks`."
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
