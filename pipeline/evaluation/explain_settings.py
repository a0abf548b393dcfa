"""What section `explain` of params.yaml may say: nothing under which a check would pass on no picture."""

from pipeline.errors import ProjectError
from pipeline.settings import Settings

LEAST = {"shuffles": 1, "cascade.pictures": 1, "cascade.steps": 3, "cascade.draws": 1}


def check(options: Settings) -> None:
    """Read the section once more, before anything heavy is imported.

    Raises:
        ProjectError: a count is too small, a share takes nothing or everything of a picture, or a network is unknown.
    """
    setting, side = options.explain, options.preprocess.image_size
    cascade = setting.cascade
    for key, count in zip(LEAST, (setting.shuffles, cascade.pictures, cascade.steps, cascade.draws), strict=True):
        if count < LEAST[key]:
            raise ProjectError(f"params.yaml: explain.{key}: {count} is less than {LEAST[key]}")
    if not 1 <= round(setting.hottest * side**2) < side**2:
        raise ProjectError(
            f"params.yaml: explain.hottest: {setting.hottest} is no part of {side} x {side} pixels; above 0 and below 1"
        )
    if not setting.borders:
        raise ProjectError("params.yaml: explain.borders: the list is empty")
    for share in setting.borders:
        if not 1 <= round(side * share) < side / 2:
            raise ProjectError(
                f"params.yaml: explain.borders: {share} of {side} pixels leaves no frame or no middle; "
                "above 0 and below 0.5"
            )
    for kind in setting.layers:
        if kind not in options.networks:
            known = ", ".join(options.networks)
            raise ProjectError(f"params.yaml: explain.layers: {kind!r} is not in train.networks; known: {known}")
