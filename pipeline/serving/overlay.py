"""The class activation map as a picture: see-through where there is no evidence, orange to red where there is."""

import io

import numpy as np
from PIL import Image

SIDE = 128  # pixels of the overlay; the page stretches it over the radiograph
WEAK, STRONG = np.array([255.0, 190.0, 60.0]), np.array([215.0, 25.0, 28.0])


def png(evidence: np.ndarray, scale: tuple[float, float]) -> bytes:
    """Draw a map.

    Args:
        evidence: float [h, w], evidence for pneumonia.
        scale: values that are drawn as nothing and as the strongest red, the same for every picture.

    Returns:
        A PNG, RGBA, of 128 x 128 pixels.
    """
    low, high = scale
    strength = ((evidence - low) / max(high - low, 1e-9)).clip(0, 1).astype(np.float32)
    smooth = np.asarray(Image.fromarray(strength).resize((SIDE, SIDE), Image.Resampling.BILINEAR))[..., None]
    colours = np.concatenate([WEAK + (STRONG - WEAK) * smooth, 255 * smooth], axis=2)
    stream = io.BytesIO()
    Image.fromarray(np.rint(colours).astype(np.uint8)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
