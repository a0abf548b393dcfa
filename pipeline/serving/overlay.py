"""The class activation map as an image: see-through where there is no evidence, orange to red where there is."""

import io

import numpy as np
from PIL import Image

SIDE = 128  # pixels of the overlay; the page stretches it over the radiograph
WEAK, STRONG = np.array([255.0, 190.0, 60.0]), np.array([215.0, 25.0, 28.0])
LEVELS = np.linspace(0, 1, 256)[:, None]  # one byte a pixel and a palette: a quarter of the work of RGBA
PALETTE = np.rint(WEAK + (STRONG - WEAK) * LEVELS).astype(np.uint8).tobytes()
ALPHA = bytes(range(256))


def png(evidence: np.ndarray, scale: tuple[float, float]) -> bytes:
    """Draw a map.

    Args:
        evidence: float [h, w], evidence for pneumonia.
        scale: values that are drawn as nothing and as the strongest red, the same for every image.

    Returns:
        A PNG of 128 x 128 pixels, with a palette of 256 colours from see-through to red.
    """
    low, high = scale
    strength = (255 * (evidence - low) / max(high - low, 1e-9)).clip(0, 255).astype(np.float32)
    smooth = Image.fromarray(strength).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    drawn = Image.fromarray(np.rint(np.asarray(smooth)).astype(np.uint8))
    drawn.putpalette(PALETTE)
    stream = io.BytesIO()
    drawn.save(stream, "PNG", transparency=ALPHA, compress_level=1)
    return stream.getvalue()
