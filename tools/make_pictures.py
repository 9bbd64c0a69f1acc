"""Make the pictures of the help pages and the thumbnails of the example workflows, by running the nodes.

Run with the host's interpreter: python tools/make_pictures.py [family]
Families: all, exemplar, prepare, gradpaint, sdm, training, compare, match; without one, every family.
"""

import argparse
import json
import time

import make_workflows
import torch
from make_workflows import HOST, PACK, Host
from PIL import Image
from web_page import painted_photo

HELP, WORKFLOWS = PACK / "web" / "docs" / "assets", PACK / "example_workflows"
CELL, SEED = 320, 7
TRAINING = "9 Train an adapter"
FAMILIES = {  # the method of `Pictures` that draws one, and how the names of its workflows begin, which then get thumbnails
    "all": ("",),
    "exemplar": ("1 ", "2 "),
    "prepare": (),
    "match": (),
    "gradpaint": ("5 GradPaint",),
    "sdm": ("7 SDM",),
    "training": (),
    "compare": (),
}
SHOWING = ("PreviewImage", "RAI_UncertaintyHeatMap")  # nodes whose pictures make a thumbnail


class Pictures:
    """Rows of labelled pictures from the nodes of a booted host."""

    def __init__(self, host: Host):
        self.host, self.sheets = host, host.module("rad_core.sheets")
        self.core, self.schedule = host.module("rad_core"), host.module("rad_core.schedule")
        HELP.mkdir(parents=True, exist_ok=True)

    def write(self, node: str, *cells) -> None:
        """Cells of (label, IMAGE or MASK); the first picture of each is shown."""
        rows = []
        for label, picture in cells:
            picture = picture[:1]
            rows.append((label, picture[:, None].expand(-1, 3, -1, -1) if picture.ndim == 3 else picture.movedim(-1, 1)))
        self.sheets.sheet(rows, HELP / f"{node}.jpg", cell=CELL)
        print(node)

    def hole(self, image, mask):
        return self.sheets.mark_hole(image.movedim(-1, 1), mask[:, None]).movedim(1, -1)

    def landscape(self, seed=SEED, size=64):
        return self.host.call("RAI_DrawLandscape", size=size, batch_size=1, seed=seed, time_of_day="any")[0]

    def shape(self, shape, image, seed=3, share=40.0):
        options = {"width": 64, "height": 64, "batch_size": 1, "seed": seed, "shape": shape, "share": share, "invert": False}
        return self.host.call("RAI_InpaintMaskShapes", **options, image=image)[0]

    def perlin(self, **change):
        options = {"width": 256, "height": 256, "batch_size": 1, "seed": 5, "as_in_training": False, "scale": 64.0, "area": 40.0}
        options |= {"octaves": 1, "softness": 0.0, "tileable": False, "invert": False} | change
        return self.host.call("RAI_PerlinMask", **options)[0]

    def model(self, adapter=True, name="landscapes (bundled)"):
        model, vae = self.host.call("RAI_LoadADMModel", model_name="landscapes (bundled)", attention_order="auto", precision="float32")
        return (self.host.call("RAI_LoadRADAdapter", model=model, adapter_name=name, strength=1.0)[0] if adapter else model), vae

    def rad(self, model, image, mask, **change):
        options = {"seed": 1, "steps": 100, "sampler": "ddpm", "view": "network's own", "context": 1.0, "eta": 0.0, "align": 0.0} | change
        return self.host.call("RAI_RADInpaint", model=model, image=image, mask=mask, **options)[0]

    def all(self) -> None:
        call, image, large_image = self.host.call, self.landscape(), self.landscape(size=128)
        self.write("RAI_DrawLandscape", *((f"seed {k}", self.landscape(k, 128)) for k in (7, 12, 19, 23)))
        variants = {"scale 64": {}, "octaves 4": {"octaves": 4}, "softness 0.4": {"softness": 0.4}, "area 15": {"area": 15.0}}
        self.write("RAI_PerlinMask", *((label, self.perlin(**change)) for label, change in variants.items()))
        options = {"width": 256, "height": 256, "frames": 8, "seed": 5, "scale": 64.0, "area": 40.0, "speed": 0.1, "softness": 0.0}
        (frames,) = call("RAI_PerlinMaskAnimation", **options, loop=True, invert=False)
        self.write("RAI_PerlinMaskAnimation", *((f"frame {k}", frames[k : k + 1]) for k in (0, 1, 2, 3)))
        large = torch.zeros(1, 256, 256, 3)
        shapes = ("box", "extreme", "wide", "brush", "scratches")
        self.write("RAI_InpaintMaskShapes", *((name, self.shape(name, large, 8)) for name in shapes))

        (rad, vae), (plain, _), (night, _) = self.model(), self.model(False), self.model(name="night (bundled)")
        detail, _ = self.model(name="landscapes-detail (bundled)")
        mask = self.shape("box", large_image)
        fills = [self.rad(rad, large_image, mask, seed=seed, detail_model=detail) for seed in (1, 2)]
        shown = ("picture", large_image), ("hole", self.hole(large_image, mask))
        self.write("RAI_RADInpaint", *shown, *zip(("seed 1", "seed 2"), fills, strict=True))
        three = (("no adapter", plain, None), ("landscapes", rad, detail), ("night", night, None))  # the detail adapter knows the day
        large = self.shape("extreme", large_image, share=25.0)
        filled = [(label, self.rad(model, large_image, large, detail_model=again)) for label, model, again in three]
        self.write("RAI_LoadRADAdapter", ("hole", self.hole(large_image, large)), *filled)

        (conditioning,) = call("RAI_ADMConditioning", class_label=0)

        def sample(model, latent, sampler, scheduler, steps=50, seed=1):
            (out,) = self.host.nodes.common_ksampler(model, seed, steps, 1.0, sampler, scheduler, conditioning, conditioning, latent)
            return vae.decode(out["samples"])

        empty = {"samples": torch.zeros(1, 3, 64, 64)}
        new = [(f"seed {k}", sample(plain, empty, "dpmpp_2m_sde", "karras", 100, k)) for k in (1, 2, 3, 4)]
        self.write("RAI_LoadADMModel", *new)
        mask = self.shape("box", image)
        latent = {"samples": vae.encode(image), "noise_mask": mask[:, None]}
        by_host = [(name, sample(rad, latent, name, "karras")) for name in ("euler", "dpmpp_2m", "dpmpp_2m_sde")]
        self.write("RAI_ADMConditioning", ("hole", self.hole(image, mask)), *by_host)

        def own(sampler, scheduler, steps=50, seed=1):
            options = {"model": rad, "seed": seed, "steps": steps, "cfg": 1.0, "sampler": sampler, "scheduler": scheduler, "eta": 0.0}
            (out,) = call("RAI_RADSampler", **options, positive=conditioning, negative=conditioning, latent_image=latent)
            return vae.decode(out["samples"])

        kinds = (("ddpm", "normal"), ("ddim", "normal"), ("dpmpp_2m", "karras"))
        self.write("RAI_RADSamplerSelect", ("hole", self.hole(image, mask)), *((name, own(name, kind)) for name, kind in kinds))
        two = [(f"seed {seed}", own("ddpm", "normal", 100, seed)) for seed in (1, 2)]
        self.write("RAI_RADSampler", ("hole", self.hole(image, mask)), *two)

        schedule, noise = self.core.RegionSchedule(), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        cells = []
        for step in (900, 300, 60):  # what the network sees: noise in the hole alone
            beta_bar = schedule.beta_bar(mask[:, None], torch.tensor([step])).float()
            x = (1 - beta_bar).sqrt() * (image.movedim(-1, 1) * 2 - 1) + beta_bar.sqrt() * noise
            cells.append((f"step {step}", ((x.movedim(1, -1) + 1) / 2).clamp(0, 1)))
        self.write("RAI_RADSpatialNoiseEmbedding", *cells, ("clean", image))

    def exemplar(self) -> None:
        names = list(self.host.module("nodes.example_photo").PHOTOS)
        photos, masks = map(torch.cat, zip(*(self.host.call("RAI_ExamplePhoto", photo=name) for name in names), strict=True))
        self.write_columns("RAI_ExamplePhoto", *((name, self.hole(photos[k : k + 1], masks[k : k + 1])) for k, name in enumerate(names)))
        fills, _ = self.host.call("RAI_FillFromPicture", image=photos, mask=masks, seed=0, grow=4)
        self.write_columns("RAI_FillFromPicture", ("before", photos), ("after", fills))

    def prepare(self) -> None:
        call = self.host.call
        photo, mask = call("RAI_ExamplePhoto", photo="boardwalk")
        rough = (mask - self.perlin(width=mask.shape[2], height=mask.shape[1], scale=24.0, area=12.0)).clamp(0, 1)
        options = {"invert": False, "specks": 400, "fill_islands": True, "grow": 6, "feather": 0}
        (ready,) = call("RAI_PrepareHole", mask=rough, image=photo, **options)
        self.write_columns("RAI_PrepareHole", ("painted", self.hole(photo, rough)), ("prepared", self.hole(photo, ready)))
        filled, doubt = call("RAI_FillFromPicture", image=photo, mask=ready, seed=0)
        (heat,) = call("RAI_UncertaintyHeatMap", image=filled, uncertainty=doubt)
        self.write_columns("RAI_UncertaintyHeatMap", ("filled", filled), ("uncertainty", heat))
        self.write_columns("RAI_BeforeAfter", ("before", photo), ("after", filled))
        photo, _ = call("RAI_ExamplePhoto", photo="light bulb")
        wide, new = call("RAI_ExtendPicture", image=photo, left=144, top=0, right=144, bottom=0, seed=0)
        framed = torch.where(new[..., None] > 0, 1.0, wide)
        self.write_columns("RAI_ExtendPicture", ("picture", framed), ("extended", wide))

    def match(self) -> None:
        call = self.host.call
        photo, mask = call("RAI_ExamplePhoto", photo="boardwalk")
        fill, _ = call("RAI_FillFromPicture", image=photo, mask=mask, seed=0, grow=4)
        drifted = (fill * 0.92 + torch.tensor([0.07, 0.02, -0.03])).clamp(0, 1)  # what a VAE or an edit model does, exaggerated
        pasted = torch.where(mask[..., None] > 0, drifted, photo)
        (matched,) = call("RAI_MatchFill", filled=drifted, original=photo, mask=mask, ring=24, strength=1.0)
        self.write_columns("RAI_MatchFill", ("came back", drifted), ("pasted", pasted), ("matched", matched))

    def write_columns(self, node: str, *columns) -> None:
        """Photographs, large: a row for each of the batch."""
        self.sheets.sheet([(label, batch.movedim(-1, 1)) for label, batch in columns], HELP / f"{node}.jpg", cell=288)
        print(node)

    def gradpaint(self) -> None:
        call, image, (model, vae) = self.host.call, self.landscape(), self.model(False)
        (words,) = call("RAI_ADMConditioning", class_label=0)
        mask = self.shape("box", image)
        hole = ("hole", self.hole(image, mask))
        run = {"seed": 1, "steps": 30, "cfg": 1.0, "sampler_name": "ddim", "scheduler": "normal", "positive": words, "negative": words}
        run |= {"denoise": 1.0, "preset": "plus", "model": model}

        def fill(**change):
            options = run | {"vae": vae, "image": image, "mask": mask, "size": 0, "context": 1.0} | change
            return call("RAI_GradPaintInpaint", **options)[0]

        self.write("RAI_GradPaintInpaint", ("picture", image), hole, ("seed 1", fill()), ("seed 2", fill(seed=2)))
        self.write("RAI_GradPaintSettings", hole, *((preset, fill(preset=preset)) for preset in ("combine", "paper", "plus")))
        latent = {"samples": vae.encode(image), "noise_mask": mask[:, None]}

        def sample(sampler, scheduler):
            options = run | {"latent_image": latent, "sampler_name": sampler, "scheduler": scheduler}
            return vae.decode(call("RAI_GradPaintSampler", **options)[0]["samples"])

        (plain,) = self.host.nodes.common_ksampler(model, 1, 30, 1.0, "ddim", "normal", words, words, latent)
        self.write("RAI_GradPaintSampler", hole, ("KSampler", vae.decode(plain["samples"])), ("GradPaint", sample("ddim", "normal")))
        kinds = (("euler", "normal"), ("dpmpp_2m", "karras"), ("euler_ancestral", "normal"))
        self.write("RAI_GradPaintGuider", hole, *((name, sample(name, kind)) for name, kind in kinds))

    def sdm(self) -> None:
        call, image, (rad, _) = self.host.call, self.landscape(), self.model()
        mask = self.shape("box", image)
        hole = ("hole", self.hole(image, mask))
        (network,) = call("RAI_LoadSDMModel", sdm_name="landscapes (bundled)", precision="float32")
        options = {"sdm": network, "image": image, "mask": mask, "iterations": 4, "schedule": "linear", "alpha": 0.01, "anchor": 1.0}
        options |= {"view": "around the hole", "context": 1.0}
        fills, uncertainties, passes = call("RAI_SDMInpaint", **options, seed=1, fills=2)
        fill, uncertainty = ("SDM", fills), ("uncertainty, times 3", 3 * uncertainties)
        self.write("RAI_LoadSDMModel", ("picture", image), hole, ("seed 1", fills), ("seed 2", fills[1:]))
        self.write("RAI_SDMInpaint", hole, *((f"pass {k + 1}", passes[k : k + 1]) for k in (0, 1, 3)), uncertainty)
        options = {
            "model": rad,
            "image": fills[:1],
            "mask": mask,
            "uncertainty": uncertainties[:1],
            "seed": 1,
            "steps": 10,
            "strength": 4.0,
        }
        (refined,) = call("RAI_RefineWithRAD", **options, sampler="ddim", view="network's own", context=1.0)
        self.write("RAI_RefineWithRAD", hole, fill, uncertainty, ("refined", refined))

    def compare(self) -> None:
        photo, _ = self.host.call("RAI_ExamplePhoto", photo="rocks")
        mask = self.shape("box", photo, seed=12, share=20.0)
        fills = [self.host.call("RAI_FillFromPicture", image=photo, mask=mask, seed=0, preset=preset)[0] for preset in ("fast", "best")]
        options = {"original": photo, "mask": mask, "result_1": fills[0], "result_2": fills[1], "labels": "fast, best"}
        image, table = self.host.call("RAI_InpaintCompare", **options)
        print(table)
        pixels = (image[0] * 255).round().byte().numpy()
        Image.fromarray(pixels).save(HELP / "RAI_InpaintCompare.jpg", quality=88)

    def training(self) -> None:
        """An adapter trained by the node from a folder of 64 nights, and its fills of large holes in pictures of the day."""
        folder = self.host.base / "input" / "nights"
        folder.mkdir()
        nights = self.host.call("RAI_DrawLandscape", size=64, batch_size=64, seed=2**41, time_of_day="night")[0]
        for k, night in enumerate(nights):
            self.core.write_photo(folder / f"{k}.png", self.core.Photo(night[None].movedim(-1, 1)))
        model, _ = self.model(adapter=False)
        options = {
            "adapter_name": "nights",
            "steps": 400,
            "batch_size": 8,
            "rank": 16,
            "learning_rate": 1e-3,
            "size": 0,
            "masks": "perlin",
        }
        options |= {"flip": True, "precision": "auto", "gradient_checkpointing": False, "save_every": 20, "seed": 0, "resume": True}
        began = time.perf_counter()
        trained, *_ = self.host.call("RAI_TrainRADAdapter", model=model, folder="nights", **options)
        print(f"trained for {time.perf_counter() - began:.0f} s")
        self.nights(trained)

    def nights(self, trained) -> None:
        pictures = self.host.call("RAI_DrawLandscape", size=64, batch_size=4, seed=100, time_of_day="noon")[0]
        mask = self.shape("extreme", pictures, seed=1, share=75.0).expand(4, -1, -1)
        fills = [self.rad(net, pictures, mask) for net in (self.model()[0], trained)]
        labels, shown = ("picture", "hole", "bundled adapter", "trained on nights"), (pictures, self.hole(pictures, mask), *fills)
        columns = [(label, batch.movedim(-1, 1)) for label, batch in zip(labels, shown, strict=True)]
        self.sheets.sheet(columns, PACK / "docs" / "images" / "nights.jpg", cell=128)
        self.write("RAI_TrainRADAdapter", *zip(labels, shown, strict=True))
        pixels = (torch.cat([shown[1][0], shown[3][0]], 1) * 255).round().byte().numpy()
        Image.fromarray(pixels).resize((800, 400), Image.NEAREST).save(WORKFLOWS / f"{TRAINING}.jpg", quality=88)

    def thumbnails(self, only: str = "") -> None:
        """What each workflow shows, side by side, and the seconds of one core that its run took."""
        painted_photo("sunset").save(self.host.base / "input" / "example.png")
        infos = make_workflows.infos_of(self.host)
        for path in sorted(WORKFLOWS.glob(f"{only}*.json")):
            if path.stem == TRAINING:  # its picture is made where the training is
                continue
            if make_workflows.needs_a_download(json.loads(path.read_text())):
                self.inputs_alone(path)
                continue
            began = time.process_time()
            success, messages = self.host.run(make_workflows.to_api(json.loads(path.read_text()), infos))
            assert success, messages
            print(f"{path.stem}: {time.process_time() - began:.1f} s of one core")
            done = [data for event, data in self.host.server.messages if event == "executed" and data["output"].get("images")]
            kinds = {str(node["id"]): node["type"] for node in json.loads(path.read_text())["nodes"]}
            done = sorted((data for data in done if kinds[data["node"]] in SHOWING), key=lambda data: int(data["node"]))
            files = [Image.open(self.host.base / "temp" / data["output"]["images"][0]["filename"]) for data in done]
            if "LoadImage" in kinds.values():  # no preview shows it
                files.insert(0, self.painted("sunset"))
            shown = [file.convert("RGB").resize((file.width * 400 // file.height, 400), Image.LANCZOS) for file in files]
            canvas = Image.new("RGB", (sum(picture.width for picture in shown), 400))
            for k, picture in enumerate(shown):
                canvas.paste(picture, (sum(before.width for before in shown[:k]), 0))
            canvas.save(path.with_suffix(".jpg"), quality=88)

    def painted(self, name: str) -> Image.Image:
        """An example photograph with its hole marked."""
        photo = self.core.read_photo(PACK / "examples" / "photos" / f"{name}.jpg").rgb
        mask = self.core.read_mask(PACK / "examples" / "photos" / f"{name}.mask.png")
        pixels = self.sheets.mark_hole(photo, mask.reshape(1, 1, *photo.shape[2:]))[0].movedim(0, 2)
        return Image.fromarray((pixels * 255).round().byte().numpy())

    def inputs_alone(self, path) -> None:
        """Picture and hole, for a workflow that cannot be run here; or what stands there before the checkpoint comes."""
        if "RAI_FillFromPicture" in path.read_text():
            photo, mask = self.host.call("RAI_ExamplePhoto", photo="boardwalk")
            fill, _ = self.host.call("RAI_FillFromPicture", image=photo, mask=mask, seed=0, grow=4)
            self.save_thumbnail(path, torch.cat([self.hole(photo, mask), fill], 2)[0])
            return
        if "RAI_ExamplePhoto" in path.read_text():
            photo, mask = self.host.call("RAI_ExamplePhoto", photo="boardwalk")
            self.save_thumbnail(path, torch.cat([photo, self.hole(photo, mask)], 2)[0])
            return
        picture = self.core.read_photo(HOST / "input" / "example.png").rgb
        (mask,) = self.host.call(
            "RAI_InpaintMaskShapes",
            width=1,
            height=1,
            batch_size=1,
            seed=3,
            shape="box",
            share=40.0,
            invert=False,
            image=picture.movedim(1, -1),
        )
        marked = self.sheets.mark_hole(picture, mask[:, None])
        self.save_thumbnail(path, torch.cat([picture, marked], 3)[0].movedim(0, 2))

    def save_thumbnail(self, path, picture) -> None:
        """Two square pictures side by side (H, 2 H, 3) in [0, 1]."""
        pixels = (picture * 255).round().byte().numpy()
        Image.fromarray(pixels).resize((800, 400)).save(path.with_suffix(".jpg"), quality=88)
        print(path.stem)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", nargs="?", choices=FAMILIES, help="default: every family")
    family = parser.parse_args().family  # before the host reads the command line
    pictures = Pictures(Host())
    for name in [family] if family else FAMILIES:
        getattr(pictures, name)()
    for start in FAMILIES[family] if family else ("",):
        pictures.thumbnails(start)


if __name__ == "__main__":
    main()
