"""RMSE of `exemplar_inpaint(frames=True)` in a hole that moves over the frames of a panning photograph.

python measurements/exemplar_video.py PHOTO
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--pan", type=int, default=4, help="pixels a frame, of the picture")
    parser.add_argument("--walk", type=int, default=5, help="pixels a frame, of the hole in the picture")
    options = parser.parse_args()
    from rad_core import exemplar_inpaint

    photo = torch.from_numpy(np.array(Image.open(options.photo).convert("RGB"))).permute(2, 0, 1) / 255
    top, size = (photo.shape[1] - options.size) // 2, options.size
    frames = torch.stack([photo[:, top : top + size, options.pan * k : options.pan * k + size] for k in range(options.frames)])
    masks = torch.zeros(options.frames, size, size)
    for k in range(options.frames):
        masks[k, size // 4 : size // 4 + size // 2, 12 + options.walk * k : 12 + options.walk * k + size // 4] = 1
    processor = time.process_time()
    filled, _ = exemplar_inpaint(frames, masks, frames=True)
    error = (filled - frames).square().mean(1)[masks > 0].mean().sqrt() * 255
    alone, _ = exemplar_inpaint(frames[:1], masks[:1])
    single = (alone - frames[:1]).square().mean(1)[masks[:1] > 0].mean().sqrt() * 255
    print(f"RMSE in the hole {error:.2f} of 255; frame 1 alone {single:.2f}; {time.process_time() - processor:.1f} s of the processor")
    each = [float((filled[k] - frames[k]).square().mean(0)[masks[k] > 0].mean().sqrt() * 255) for k in range(options.frames)]
    print("by frame:", " ".join(f"{e:.2f}" for e in each))


if __name__ == "__main__":
    main()
