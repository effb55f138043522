"""How a drawn face gets on its pixels: numbers in, images out.

`render` paints a batch of faces layer by layer. A layer is a tone and a coverage in [0, 1] that comes from
the distance to the layer's edge, which makes edges smooth at any size. `photograph` then does to the images
what a camera does. What the numbers are called and which values they take stands in `synthetic.py`.

Coordinates: x to the right, y down, the image spans [-1, 1]; lengths are in half image widths.
"""

from types import SimpleNamespace

import numpy as np


def _paint(image: np.ndarray, tone: np.ndarray | float, cover: np.ndarray) -> None:
    image += cover * (tone - image)


def _ellipse(x, y, a, b):
    """Roughly the distance to an ellipse around the origin, negative inside."""
    return (np.sqrt((x / a) ** 2 + (y / b) ** 2) - 1) * np.minimum(a, b)


def _blob(x, y, a, b):
    return np.exp(-((x / a) ** 2) - (y / b) ** 2)


def _inside(distance, f):
    """Coverage of a shape, 1 to 0 within one pixel of its edge."""
    cover = distance * -f.sharpness
    cover += 0.5
    return np.clip(cover, 0, 1, out=cover)


def _stroke(distance, half_width, f):
    return _inside(np.abs(distance) - half_width, f)


def render(f: SimpleNamespace, size: int, background: bool = True) -> np.ndarray:
    """Paint n faces.

    Args:
        f: the numbers (see `TRAITS`, `MUSCLES`, `CAMERA`), each a float32 array of shape (n, 1, 1).
        size: height and width in pixels.
        background: False leaves out neck, clothes and backdrop: heads on pure white.

    Returns:
        float32 array of shape (n, size, size), black 0 to white 1, the brightest spots above 1.
    """
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    gx, gy = axis[None, None, :], axis[None, :, None]
    # Where each pixel lies on the upright, centred head
    dx, dy = (gx - f.shift_x) / f.zoom, (gy - f.shift_y) / f.zoom
    x = np.cos(f.roll) * dx + np.sin(f.roll) * dy
    y = np.cos(f.roll) * dy - np.sin(f.roll) * dx
    f.sharpness = f.zoom * size / 2  # pixels in a unit of length

    image = np.ones_like(x)
    if background:
        _behind(image, f, gx, gy, x, y)

    # Behind the face: hair, ears
    hair = (f.bald < 0).astype(np.float32)
    curls = f.curl * np.sin(15 * x) * np.sin(15 * y)
    crown = _ellipse(x, y + 0.1, f.head_w + f.volume, f.head_h - 0.1 + f.volume) + curls
    length = 0.5 * f.length
    falling = np.maximum(np.abs(x) - f.head_w - f.volume + 0.03, np.abs(y + 0.1 - length) - length)
    _paint(image, f.hair_tone * 0.75, hair * _inside(np.minimum(np.maximum(crown, y - 0.1), falling), f))
    ears = _ellipse(np.abs(x) - f.head_w, y - 0.02, f.ear, 0.15)
    _paint(image, f.skin * 0.45, _inside(ears - 0.02, f))
    _paint(image, f.skin * 0.85, _inside(ears, f))

    # Features sit on a rounded surface: turning it moves the middle and narrows the far side
    jaw = 1 - f.jaw * np.clip(y / f.head_h, 0, 1) ** 2
    u, v = x / f.head_w, y / f.head_h
    depth = np.sqrt(np.clip(1 - u * u, 0, 1))
    fx = f.head_w * (u * np.cos(f.yaw) - depth * np.sin(f.yaw))
    fy = y - 0.5 * f.pitch * np.sqrt(np.clip(1 - v * v, 0, 1))
    face = f.skin * (0.78 + 0.22 * depth * np.sqrt(np.clip(1 - 0.8 * v * v, 0, 1)))
    for part, top, bottom in ((_nose, -0.35, 0.45), (_eyes, -0.75, 0.2), (_mouth, -0.1, 1.1)):
        rows = np.flatnonzero(((fy > top) & (fy < bottom)).any((0, 2)))  # no part reaches further: saves time
        rows = slice(rows[0], rows[-1] + 1)
        part(face[:, rows], f, fx[:, rows], fy[:, rows])
    edge = _ellipse(x, y, f.head_w * jaw, f.head_h + 0.4 * f.gape * (y > 0))
    _paint(image, f.skin * 0.45, _inside(edge - 0.02, f))
    _paint(image, face, _inside(edge, f))

    # Hair in front
    fringe = y + f.hair_y - f.curve * (fx - f.part) ** 2 + curls
    shine = 0.12 * _blob(x + 0.2, y + 0.85, 0.35, 0.1)
    _paint(image, f.hair_tone + shine, hair * _inside(np.maximum(crown, fringe), f))
    light = 1 + f.light_x * u.clip(-1.4, 1.4) + f.light_y * v.clip(-1.4, 1.4)
    if not background:
        return np.where(image < 1, image * light, 1)
    image *= light
    _in_front(image, f, gx, gy)
    return image


def _behind(image, f, gx, gy, x, y):
    """Backdrop, clothes and neck."""
    image[:] = f.backdrop + f.slope_x * gx + f.slope_y * gy
    image += f.stripes * np.sin(f.stripe_x * gx + f.stripe_y * gy + f.phase)
    _paint(image, f.clothes, _inside(_ellipse(x, y - 1.75, 1.25, 0.72), f))
    _paint(image, f.skin * 0.7, _inside(np.maximum(np.abs(x) - 0.6 * f.head_w, np.abs(y - 0.8) - 0.4), f))


def _in_front(image, f, gx, gy):
    """A hand or a head, reaching in from the edge."""
    along = gx * np.cos(f.occluder_at) + gy * np.sin(f.occluder_at)
    beside = gy * np.cos(f.occluder_at) - gx * np.sin(f.occluder_at)
    _paint(image, f.occluder_tone, (f.occluder > 0) * _inside(_ellipse(along - 1, beside, 0.55, 0.3), f))


def _nose(image, f, x, y):
    across = np.abs(x)
    tip = y - f.nose_y + 0.03 * f.wrinkle
    _paint(image, f.skin * 0.7, 0.5 * _blob(x - 0.6 * f.nose_w, tip + 0.1, 0.05, 0.2))
    _paint(image, np.minimum(f.skin * 1.15, 1), 0.6 * _blob(x, tip + 0.08, 0.05, 0.16))
    wings = _stroke(_ellipse(across - 0.75 * f.nose_w, tip, 0.35 * f.nose_w, 0.05), 0.008, f)
    _paint(image, f.skin * 0.5, 0.8 * wings * (across > 0.7 * f.nose_w))
    nostrils = _ellipse(across - 0.45 * f.nose_w, tip - 0.025, 0.035, 0.016)
    _paint(image, f.skin * 0.3, 0.9 * _inside(nostrils, f))
    # AU 9 gathers the skin of the bridge
    ridges = f.wrinkle * _inside(across - 0.085, f)
    for level in (0.02, 0.085, 0.15):
        _paint(image, f.skin * 0.5, 0.8 * ridges * _stroke(y - f.eye_y - level + 2.5 * x * x, 0.011, f))


def _eyes(image, f, x, y):
    side, across = np.sign(x), np.abs(x)
    y = y - f.eye_y
    _paint(image, f.skin * 0.72, 0.5 * _blob(across - f.eye_x, y + 0.02, 0.2, 0.12))
    # The eye is what lies between two lids; brows weigh on the upper one
    s = (across - f.eye_x) / f.eye_w
    arc = np.clip(1 - s * s, 0, 1)
    weight = np.clip(0.35 * (f.brow_inner - f.brow_outer) * s, 0, 0.04) * np.sqrt(arc)
    level = y + f.slant * s
    upper = weight - f.eye_h * np.clip(1 + f.lid, 0.15, 2) * arc
    lower = f.eye_h * (0.8 - 0.6 * f.squint) * arc
    eye = _inside(upper - level, f) * _inside(level - lower, f) * (np.abs(s) < 1)
    _paint(image, 0.95, eye)
    iris_x, iris_y = across - f.eye_x - side * f.gaze_x * 0.035, y - f.gaze_y * 0.015
    iris = _ellipse(iris_x, iris_y, 0.07, 0.07)
    _paint(image, f.iris, eye * _inside(iris, f))
    _paint(image, 0.03, eye * _inside(iris + 0.035, f))
    _paint(image, 1.0, eye * _inside(_ellipse(iris_x + side * 0.025, iris_y + 0.028, 0.022, 0.022), f))
    on_eye = _inside((np.abs(s) - 1.08) * f.eye_w, f)
    _paint(image, 0.08, on_eye * _stroke(level - upper, 0.016, f))
    _paint(image, f.skin * 0.55, 0.7 * on_eye * _stroke(level - lower, 0.008, f))
    _paint(image, f.skin * 0.6, 0.6 * on_eye * _stroke(level - upper + 0.045, 0.008, f))
    bags = np.clip(f.age + 0.8 * f.squint, 0, 1)
    _paint(image, f.skin * 0.65, bags * on_eye * _stroke(level - lower - 0.05 + 0.03 * s * s, 0.01, f))

    s = (across - f.eye_x - 0.02 + 0.05 * f.knit) / f.brow_w
    t = np.clip((s + 1) / 2, 0, 1)  # 0 at the brow's inner end, 1 at the outer
    brow = y + f.brow_y + f.brow_inner * (1 - t) + f.brow_outer * t + f.arch * (1 - s * s)
    brow += 0.07 * f.one_sided * (side * f.mirror > 0) * t
    thick = f.brow_t * (1 - 0.6 * t) * np.sqrt(np.clip(1 - s**4, 0, 1))
    brow = np.maximum(np.abs(brow) - thick, (np.abs(s) - 1) * f.brow_w)
    _paint(image, np.minimum(f.hair_tone * 0.7, f.skin * 0.6), _inside(brow, f))
    # Frown lines between the brows, lines on a raised forehead
    frown = f.knit * _inside(np.abs(y + 0.17) - 0.08, f) * _stroke(across - 0.045, 0.01, f)
    _paint(image, f.skin * 0.55, 0.8 * frown)
    raised = np.clip((f.brow_inner - 0.04) * 9, 0, 1) * _inside((across - 0.3) / 3, f)
    for above in (0.1, 0.18):
        line = y + f.brow_y + f.brow_inner + above - 0.1 * x * x
        _paint(image, f.skin * 0.65, 0.7 * raised * _stroke(line, 0.009, f))

    frames = _stroke(_ellipse(across - f.eye_x, y - 0.02, 0.21, 0.17), 0.015, f)
    frames = np.maximum(frames, _stroke(y, 0.015, f) * (np.abs(across - f.eye_x) > 0.21))  # bridge, temples
    _paint(image, f.hair_tone * 0.3, (f.glasses > 0) * frames)


def _mouth(image, f, x, y):
    across = np.abs(x)
    half = f.mouth_w * (1 + f.stretch)
    smirk = f.one_sided * np.clip(0.3 + 1.5 * x / half * np.sign(f.mirror), 0, 1)
    s = np.clip(x / half, -1.4, 1.4)
    arc = np.clip(1 - s * s, 0, 1)
    corner = f.corner + f.rest + 0.12 * smirk
    line = y - f.mouth_y + corner * (s * s - 0.35) + 0.4 * f.sneer  # 0 where closed lips meet
    thick = f.lips * (1 - 0.75 * f.press)
    top = -(0.35 * f.gape + 0.5 * f.sneer) * arc
    bottom = f.gape * np.sqrt(arc) + 0.1 * f.sneer * arc

    stubble = _inside(-_ellipse(x, y + 0.1, 0.8 * f.head_w, 0.75), f) * np.clip(5 * y - 0.6, 0, 1)
    _paint(image, f.hair_tone * 0.8, (f.beard > 0) * (0.3 + 0.6 * f.beard) * stubble)
    moustache = _ellipse(x, line - top + 0.09, 0.24, 0.05)
    _paint(image, f.hair_tone * 0.8, (f.moustache > 0) * _inside(moustache, f))
    # Cheeks, and the folds from the nose around a lifted lip
    cheeks = _blob(across - f.eye_x - 0.08, y - 0.2 + 0.05 * f.cheek, 0.16, 0.11)
    _paint(image, np.minimum(f.skin * 1.15, 1), (0.3 + 0.4 * f.cheek) * cheeks)
    drop = (y - f.nose_y) / (f.mouth_y - f.nose_y)
    fold_x = f.nose_w + 0.04 + (1.12 * half - f.nose_w) * drop * (1.3 - 0.3 * drop)
    folds = np.clip(f.age + f.cheek + f.wrinkle + smirk, 0, 1) * _inside((np.abs(drop - 0.4) - 0.4) / 3, f)
    _paint(image, f.skin * 0.6, 0.8 * folds * _stroke(across - fold_x, 0.012, f))

    on_mouth = _inside((np.abs(s) - 1) * half, f)
    upper, lower = top - thick * arc * (0.8 + 0.5 * np.abs(s)), bottom + 1.3 * thick * arc
    lips = _inside(np.maximum(upper - line, line - lower), f) * on_mouth
    _paint(image, f.skin * 0.6, 0.45 * _blob(x, line - bottom - 2 * thick - 0.03, 0.5 * half, 0.025))
    _paint(image, f.skin * f.lip_tone, lips)
    opening = _inside(np.maximum(top - line, line - bottom), f) * on_mouth
    _paint(image, 0.1, opening)
    _paint(image, 0.35, opening * _inside(_ellipse(x, line - f.gape, 0.6 * half, 0.4 * f.gape + 0.01), f))
    _paint(image, 0.95, opening * _inside(line - top - 0.075 * arc, f) * np.clip(30 * f.gape, 0, 1))
    _paint(image, f.skin * 0.3, _stroke(line - top, 0.012, f) * on_mouth)
    _paint(image, f.skin * 0.3, _stroke(line - bottom, 0.01, f) * on_mouth * (f.gape > 0.03))


def photograph(image: np.ndarray, f: SimpleNamespace, rng: np.random.Generator) -> np.ndarray:
    """Expose, focus and add noise: float32 images of `render` to uint8, both (n, size, size)."""
    image = (image.clip(0, 1) ** f.gamma - 0.5) * f.contrast + 0.5 + f.brightness
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    padded = padded[:, 1:-1] + 0.25 * f.blur * (padded[:, :-2] + padded[:, 2:] - 2 * padded[:, 1:-1])
    image = image + f.blur * (0.25 * (padded[:, :, :-2] + padded[:, :, 2:] + 2 * padded[:, :, 1:-1]) - image)
    return to_bytes(image + f.noise * rng.standard_normal(image.shape, dtype=np.float32))


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Round [0, 1] to uint8 0..255; what lies outside is cut off."""
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)
