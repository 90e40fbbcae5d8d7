"""Pictures for people and for models: contact sheets, outlined parts, close-ups, strips.

Images are uint8 [h, w, 3]; masks are booleans of the same frame, possibly of another size.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from semquery.masks import on_white, shrink
from semquery.types import MaskStack

OUTLINE = (255, 40, 40)  # the colour of a part's outline; prompts describe it in words as red


def load_photo(path: Path) -> np.ndarray:
    """A photo as uint8 [h, w, 3], or [h, w, 4] where it has transparency."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            has_alpha = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
            return np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))
    except FileNotFoundError as error:
        raise ValueError(f"There is no photo at {path}.") from error
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


def png_bytes(image: UInt8[np.ndarray, "h w 3"] | Bool[np.ndarray, "h w"]) -> bytes:
    """A picture or a mask as a PNG file."""
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def resized(image: np.ndarray, size: tuple[int, int], smooth: bool = True) -> np.ndarray:
    """An image or a mask at height × width; masks and label images are never interpolated."""
    from PIL import Image

    exact = image.dtype == bool or not smooth
    picture = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.NEAREST if exact else Image.Resampling.BICUBIC)
    return np.asarray(picture).astype(image.dtype)


def enlarged(image: UInt8[np.ndarray, "h w 3"], side: int, smooth: bool = True) -> UInt8[np.ndarray, "a b 3"]:
    """With its longer side at exactly `side` pixels."""
    factor = side / max(image.shape[:2])
    return resized(image, (max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor))), smooth)


def outlined(
    image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "a b"], width: int = 2, tint: float = 0.0, color: tuple[int, int, int] = OUTLINE,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with the mask's outline drawn just outside it, and the mask itself tinted if asked."""
    from scipy.ndimage import binary_dilation

    mask = resized(mask, image.shape[:2]) if mask.shape != image.shape[:2] else mask
    drawn = image.astype(np.float32)
    drawn[mask] = (1 - tint) * drawn[mask] + tint * np.array(color, np.float32)
    drawn[binary_dilation(mask, iterations=width) & ~mask] = color
    return drawn.round().astype(np.uint8)


def window(mask: Bool[np.ndarray, "h w"], pad: float = 0.2, least: int = 8) -> tuple[int, int, int]:
    """(top, left, side) of the padded square around a mask; it may reach over the image's border."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    side = max(least, int(np.ceil((1 + 2 * pad) * (max(np.ptp(rows), np.ptp(columns)) + 1))))
    return int((rows[0] + rows[-1] + 1 - side) // 2), int((columns[0] + columns[-1] + 1 - side) // 2), side


def close_up(image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "a b"], side: int = 448, pad: float = 0.2) -> UInt8[np.ndarray, "side side 3"]:
    """A square crop around the mask, enlarged, with the outline drawn after enlarging; white beyond the border."""
    mask = resized(mask, image.shape[:2]) if mask.shape != image.shape[:2] else mask
    if not mask.any():  # too small to be seen at the photo's size
        return resized(image, (side, side))
    top, left, extent = window(mask, pad)
    framed = np.pad(image, ((extent, extent), (extent, extent), (0, 0)), constant_values=255)
    around = np.pad(mask, extent)
    crop = (slice(top + extent, top + 2 * extent), slice(left + extent, left + 2 * extent))
    return outlined(resized(framed[crop], (side, side)), resized(around[crop], (side, side)), width=3)


def overlay(image: UInt8[np.ndarray, "h w 3"], stack: MaskStack) -> UInt8[np.ndarray, "h w 3"]:
    """All masks of a view at once: each region of equal membership in the mean of its masks' colours."""
    from semquery.export import part_colors

    colors = part_colors(stack.num_masks).astype(np.float32)
    layers = [resized(layer, image.shape[:2], smooth=False) for layer in stack.layers]
    shown, count = np.zeros(image.shape, np.float32), np.zeros(image.shape[:2])
    for layer in layers:
        shown[layer > 0] += colors[layer[layer > 0].astype(int) - 1]
        count += layer > 0
    some = count > 0
    mixed = image.astype(np.float32)
    mixed[some] = 0.4 * mixed[some] + 0.6 * shown[some] / count[some, None]
    for layer in layers:
        edge = np.zeros(layer.shape, bool)
        edge[1:] |= layer[1:] != layer[:-1]
        edge[:, 1:] |= layer[:, 1:] != layer[:, :-1]
        mixed[edge] *= 0.55
    return mixed.round().astype(np.uint8)


def contact_sheet(views: Sequence[tuple[UInt8[np.ndarray, "_ _ _"], MaskStack]], side: int = 220, columns: int = 4) -> UInt8[np.ndarray, "h w 3"]:
    """Photos with their masks laid over them, photo and masks side by side."""
    cells = []
    for photo, stack in views:
        image = shrink(on_white(photo), side)
        cells.append(np.concatenate([image, overlay(image, stack)], 1))
    return grid(cells, max(1, columns // 2))


def grid(cells: Sequence[UInt8[np.ndarray, "_ _ 3"]], columns: int, gap: int = 6) -> UInt8[np.ndarray, "h w 3"]:
    """Pictures of any size in rows, each cell as large as the largest picture, on white."""
    height, width = (max(c.shape[i] for c in cells) for i in (0, 1))
    rows = -(-len(cells) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return sheet


def captioned(image: UInt8[np.ndarray, "h w 3"], text: str, size: int = 15) -> UInt8[np.ndarray, "a w 3"]:
    """The picture with lines of text under it."""
    import textwrap

    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    lines = textwrap.wrap(text, max(8, int(image.shape[1] / (0.52 * size)))) or [""]
    strip = Image.new("RGB", (image.shape[1], int(len(lines) * size * 1.35) + 6), "white")
    ImageDraw.Draw(strip).multiline_text((3, 2), "\n".join(lines), fill="black", font=font)
    return np.concatenate([image, np.asarray(strip)])
