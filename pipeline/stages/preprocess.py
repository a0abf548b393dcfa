"""Decode and resize every usable image once: `development` (official train and val) and `test`."""

from pipeline import paths, settings
from pipeline.command import run
from pipeline.data.arrays import write_array
from pipeline.data.tables import read_table, write_table
from pipeline.errors import ProjectError

PARTS = {"development": ("train", "val"), "test": ("test",)}


def main() -> None:
    """Read the manifest, write an array and its index for each part."""
    side = settings.load().preprocess.image_size
    manifest = read_table(paths.MANIFEST)
    for part, splits in PARTS.items():
        rows = [row for row in manifest if row["split"] in splits]
        if not rows:
            raise ProjectError(f"{paths.MANIFEST.name} has no image of the split {' or '.join(splits)}")
        write_array([paths.RAW / row["path"] for row in rows], side, paths.array(part))
        write_table(paths.index(part), list(rows[0]), rows)


if __name__ == "__main__":
    run("preprocess", main)
