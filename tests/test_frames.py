"""The crop that follows a hole over the frames of a video."""

import torch

from rad_core.frames import steady_boxes


def walk(frames: int, step: float, height: int = 96, width: int = 512, size: int = 20):
    """Masks of a square that walks to the right, and none in every seventh frame."""
    mask = torch.zeros(frames, 1, height, width)
    for k in range(frames):
        if k % 7 != 3:
            left = 10 + round(step * k)
            mask[k, :, 40 : 40 + size, left : left + size] = 1
    return mask


def test_boxes_have_one_size_and_hold_their_holes():
    mask = walk(60, 6.0)
    boxes = steady_boxes(mask, 0.5, 64)
    assert len({(box.height, box.width) for box in boxes}) == 1 and boxes[0].width == 64
    for box, each in zip(boxes, mask, strict=True):
        assert box.cut(each).sum() == each.sum()
        assert box.top >= 0 and box.left >= 0 and box.top + box.height <= 96 and box.left + box.width <= 512
    steps = torch.tensor([box.left for box in boxes]).diff()
    assert steps.min() >= 0 and steps.max() <= 8  # the square goes by 6; no jump where a frame has no hole


def test_a_box_stands_still_where_all_holes_fit_into_it():
    boxes = steady_boxes(walk(9, 2.0), 1.0, 64)
    assert len(set(boxes)) == 1
    shaky = walk(9, 2.0).roll(3, -2)
    shaky[4] = 0
    assert len(set(steady_boxes(shaky, 1.0, 64))) == 1
