"""Every batched augmentation against a slow reference that takes one face at a time."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from datasets.augment import Augment, draw, inside, mix, random_boxes, reflect, shift, transform, warp
from datasets.loader import FaceLoader
from engine.recipes import Recipe

N, SIDE = 24, 48
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (N, SIDE, SIDE), dtype=np.uint8))


def parameters(augment, seed=1):
    return draw(augment, N, SIDE, np.random.default_rng(seed))


@pytest.mark.parametrize("crop,pad", [(44, 0), (48, 0), (48, 4), (40, 2), (56, 6)])
def test_shift_is_pad_crop_flip(crop, pad):
    params = parameters(Augment(crop=crop, pad=pad))
    got = shift(PIXELS, params, crop).numpy()
    for i in range(N):
        padded = np.pad(PIXELS[i].numpy(), pad, mode="reflect")
        top, left = (params["shift"][i] + pad).tolist()
        face = padded[top : top + crop, left : left + crop]
        assert (got[i] == (face[:, ::-1] if params["flip"][i] else face)).all()
    assert len({tuple(s) for s in params["shift"].tolist()}) > 1 or crop == SIDE + 2 * pad


def test_warp_is_bilinear_resampling_of_each_face():
    augment = Augment(crop=44, pad=2, rotate=20, scale=0.2, shear=10, stretch=0.2)
    params = parameters(augment)
    got = warp(PIXELS, params, 44).numpy()
    for i in range(N):
        top, left = params["shift"][i].tolist()
        want = np.empty((44, 44))
        for row in range(44):
            for column in range(44):
                mirrored = 43 - column if params["flip"][i] else column
                offset = np.array([top + row - 23.5, left + mirrored - 23.5])
                y, x = params["matrix"][i].double().numpy() @ offset + 23.5
                want[row, column] = map_coordinates(PIXELS[i].double().numpy(), [[y], [x]], order=1, mode="mirror")[0]
        assert np.abs(got[i] - want).max() < 0.02  # of 255: float32 coordinates


def test_warp_without_a_warp_is_a_shift():
    params = parameters(Augment(crop=44, pad=3, rotate=1e-9))
    torch.testing.assert_close(warp(PIXELS, params, 44), shift(PIXELS, params, 44).float(), atol=0.01, rtol=0)


@pytest.mark.parametrize("rotate,scale,shear", [(30, 0, 0), (0, 0.3, 0), (0, 0, 15)])
def test_the_matrix_is_rotation_size_and_shear(rotate, scale, shear):
    """From face to output it must scale areas by the drawn size squared, and a rotation must keep lengths."""
    matrix = parameters(Augment(rotate=rotate, scale=scale, shear=shear))["matrix"]
    inverse = torch.linalg.inv(matrix)
    areas = torch.linalg.det(inverse)
    if scale:
        assert 0.7**2 <= areas.min() < areas.max() <= 1.3**2 and areas.max() > 1.1
    else:
        torch.testing.assert_close(areas, torch.ones(N))
    if rotate:
        angles = torch.atan2(matrix[:, 0, 1], matrix[:, 0, 0]).rad2deg()
        assert 10 < angles.abs().max() <= 30
        torch.testing.assert_close(matrix @ matrix.mT, torch.eye(2).expand(N, 2, 2), atol=1e-6, rtol=0)


def test_stretch_keeps_the_area_and_changes_the_ratio():
    matrix = parameters(Augment(stretch=0.33))["matrix"]
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(N))
    ratio = matrix[:, 1, 1] / matrix[:, 0, 0]  # a higher face reads its rows closer together
    assert 1 / 1.34 < ratio.min() < 0.9 and 1.1 < ratio.max() < 1.34


def test_light_normalisation_and_erasing():
    augment = Augment(crop=44, brightness=0.3, contrast=0.5, erase=0.7)
    params = parameters(augment)
    got = transform(augment, PIXELS, params, mean=0.4, std=0.2)[:, 0].numpy()
    faces = shift(PIXELS, params, 44).numpy()
    erased = 0
    for i in range(N):
        gain, offset = params["light"][i].tolist()
        face = faces[i] / 255.0
        face = np.clip((face - face.mean()) * gain + face.mean() + offset, 0, 1)
        top, left, bottom, right = params["erase"][i].tolist()
        face[top:bottom, left:right] = 0.5
        erased += bottom > top
        assert np.abs(got[i] - (face - 0.4) / 0.2).max() < 1e-4
    assert 0 < erased < N


@pytest.mark.parametrize("mixup,cutmix", [(0.5, 0.0), (0.0, 1.0), (0.5, 1.0)])
def test_mix_blends_each_face_with_the_one_before(mixup, cutmix):
    augment = Augment(crop=44, mixup=mixup, cutmix=cutmix, mix_probability=0.8)
    params = parameters(augment)
    x = torch.rand(N, 1, 44, 44)
    targets = torch.eye(7)[torch.arange(N) % 7]
    got, got_targets = mix(x, targets, params)
    for i in range(N):
        lam = params["lam"][i].item()
        top, left, bottom, right = params["cut"][i].tolist()
        want = lam * x[i] + (1 - lam) * x[i - 1]
        want[:, top:bottom, left:right] = x[i - 1, :, top:bottom, left:right]
        own = lam * (1 - (bottom - top) * (right - left) / 44**2)
        torch.testing.assert_close(got[i], want)
        torch.testing.assert_close(got_targets[i], own * targets[i] + (1 - own) * targets[i - 1])
        assert lam == 1 or bottom == top  # a face is blended or cut, not both
    assert not torch.equal(got, x)
    torch.testing.assert_close(got_targets.sum(1), torch.ones(N))


def test_boxes_lie_inside_and_have_their_area():
    rng = np.random.default_rng(0)
    area = rng.uniform(0, 0.3, 2000)
    boxes = random_boxes(area, np.exp(rng.uniform(-1, 1, 2000)), 44, rng)
    assert boxes.min() >= 0 and boxes.max() <= 44
    covered = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 44**2
    assert abs(covered.mean() - area.mean()) < 0.005
    assert inside(torch.from_numpy(boxes), 44).float().mean((1, 2)).numpy() == pytest.approx(covered, abs=1e-6)


def test_reflect_is_numpys_reflect():
    index = torch.arange(-5, 53)
    assert (reflect(index, 48).numpy() == np.pad(np.arange(48), 5, mode="reflect")).all()


def test_a_crop_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="--crop 60 does not fit"):
        parameters(Augment(crop=60, pad=2))


def test_five_crops_of_a_face_share_its_geometry_and_light():
    augment = Augment(crop=40, five=True, rotate=15, brightness=0.2, probability=0.5)
    params = parameters(augment)
    assert len(params["shift"]) == len(params["matrix"]) == 5 * N
    repeated = PIXELS.repeat_interleave(5, 0)
    crops = transform(augment, repeated, params, 0.0, 1.0)
    whole = {name: value[::5] for name, value in params.items()} | {"shift": torch.zeros(N, 2, dtype=torch.long)}
    faces = transform(Augment(crop=48, rotate=15, brightness=0.2), PIXELS, whole, 0.0, 1.0)
    for i in range(N):
        if params["flip"][5 * i]:
            faces[i] = faces[i].flip(-1)  # cropped before they are mirrored
        for k, (top, left) in enumerate([(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)]):
            want = faces[i, :, top : top + 40, left : left + 40]
            got = crops[5 * i + k].flip(-1) if params["flip"][5 * i] else crops[5 * i + k]
            torch.testing.assert_close(got, want, atol=1e-4, rtol=0)


def test_five_crops_in_training():
    loader = FaceLoader(PIXELS.numpy(), np.arange(N) % 7, 7, Augment(crop=40, five=True, mixup=1.0, erase=0.5), 8)
    x, targets = next(loader.epoch(1))
    assert x.shape == (40, 1, 40, 40) and targets.shape == (40, 7)


def test_translation_moves_whole_pixels_for_some():
    shifts = parameters(Augment(crop=48, translate=0.2, probability=0.5))["shift"]
    assert shifts.abs().max() <= 10 and (shifts == 0).any() and (shifts != 0).any()


EVERYTHING = Augment(
    crop=44,
    pad=2,
    flip=0.5,
    translate=0.1,
    rotate=10,
    scale=0.1,
    shear=5,
    stretch=0.1,
    brightness=0.1,
    contrast=0.1,
    erase=0.3,
    erase_area=0.2,
    mixup=0.2,
    cutmix=1.0,
    mix_probability=0.5,
)


def test_every_augmentation_is_a_field_of_the_recipe_and_the_other_way_round():
    of_the_loop = {"mix_off", "early_size", "early_part"}  # what changes in the course of a run
    in_recipe = {f.name for f in fields(Recipe) if f.metadata["group"] == "augmentation"}
    assert in_recipe - of_the_loop == {f.name for f in fields(Augment)}
    assert all(getattr(EVERYTHING, f.name) for f in fields(Augment) if f.name != "five"), "a new one belongs in here"


def test_an_epoch_is_a_function_of_seed_and_epoch():
    labels = np.arange(N) % 7

    def epoch(seed, number, **kwargs):
        loader = FaceLoader(PIXELS.numpy(), labels, 7, EVERYTHING, 8, seed=seed, **kwargs)
        return [torch.cat(part) for part in zip(*loader.epoch(number), strict=True)]

    x, targets = epoch(0, 3)
    again = epoch(0, 3)
    assert torch.equal(x, again[0]) and torch.equal(targets, again[1])
    assert not torch.equal(x, epoch(0, 4)[0]) and not torch.equal(x, epoch(1, 3)[0])
    assert x.shape == (N, 1, 44, 44) and targets.shape == (N, 7) and x.dtype == torch.float32
    assert epoch(0, 3, channels=3)[0].shape == (N, 3, 44, 44)


def test_an_epoch_shows_every_face_once_but_for_an_incomplete_batch():
    faces = np.arange(20, dtype=np.uint8)[:, None, None].repeat(48, 1).repeat(48, 2)
    loader = FaceLoader(faces, np.arange(20) % 7, 7, Augment(crop=48, flip=0), 6)
    batches = [(x * 255).round().int() for x, _ in loader.epoch(1)]
    assert [len(x) for x in batches] == [6, 6, 6] == [6] * len(loader)
    seen = torch.cat(batches)[:, 0, 0, 0].tolist()
    assert len(set(seen)) == 18 and seen != sorted(seen)


def test_the_loader_takes_probabilities_and_small_sets():
    soft = np.full((N, 7), 1 / 7, dtype=np.float32)
    x, targets = next(FaceLoader(PIXELS.numpy(), soft, 7, Augment(), 128).epoch(1))
    assert len(x) == N and torch.equal(targets, torch.from_numpy(soft))
    with pytest.raises(ValueError, match="a train set of 0"):
        FaceLoader(np.zeros((0, 48, 48), np.uint8), np.zeros(0, int), 7, Augment(), 8)


@pytest.mark.parametrize("augment", [EVERYTHING, Augment(crop=40, five=True, mixup=0.5, cutmix=1.0)])
def test_shares_of_a_batch_add_up_to_the_batch(augment):
    def loader(share=(0, 1), **kwargs):
        return FaceLoader(PIXELS.numpy(), np.arange(N) % 7, 7, augment, 12, share=share, **kwargs)

    parts = [list(loader((which, 3)).epoch(2)) for which in range(3)]
    for step, (x, targets) in enumerate(loader().epoch(2)):
        assert torch.equal(torch.cat([part[step][0] for part in parts]), x)
        assert torch.equal(torch.cat([part[step][1] for part in parts]), targets)
    with pytest.raises(ValueError, match="shared equally by 5"):
        loader((0, 5))


def test_faces_that_do_not_fit_on_the_device_stay_with_the_host():
    batches = []
    for memory in (None, 1000):
        loader = FaceLoader(PIXELS.numpy(), np.arange(N) % 7, 7, EVERYTHING, 8, memory=memory)
        assert loader.on_device == (memory is None)
        batches.append(list(loader.epoch(1)))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(*batches, strict=True))


def test_mixing_can_be_left_out():
    loader = FaceLoader(PIXELS.numpy(), np.arange(N) % 7, 7, EVERYTHING, 8)
    assert all(((t == 0) | (t == 1)).all() for _, t in loader.epoch(1, mixing=False))
    assert not all(((t == 0) | (t == 1)).all() for _, t in loader.epoch(1))
