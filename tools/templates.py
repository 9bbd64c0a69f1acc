"""The templates as short descriptions, in the order of the tour; `make_workflows` writes them in the web page's format.

Each node: name: (type, {input: value, or "name" / ("name", slot) of another node}, (column, row)[, title]).
Each note: name: ("Note", text). A name's number is its stop on the tour: one digit, so that every list sorts it alike.
"""

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
PHOTO = ("RAI_ExamplePhoto", {"photo": "boardwalk"}, (0, 0))
FILL = {"image": "photo", "mask": ("photo", 1), "seed": 0, "grow": 4}
OWN_PHOTO = (
    "Your own photo: put Load Image in place of Example Photo, right-click it, choose 'Open in MaskEditor' and paint over what is to go, "
    "a little beyond its edge and shadow. Connect its IMAGE and MASK wherever those of Example Photo went."
)

LANDSCAPE = ("RAI_DrawLandscape", {"seed": 7, "size": 128, "batch_size": 1, "time_of_day": "any"}, (0, 0))
MODEL = ("RAI_LoadADMModel", {"model_name": "landscapes (bundled)"}, (0, 1))
ADAPTER = ("RAI_LoadRADAdapter", {"model": "model", "adapter_name": "landscapes (bundled)"}, (1, 1))
BOX = ("RAI_InpaintMaskShapes", {"width": 128, "height": 128, "shape": "box", "share": 40.0, "seed": 8, "image": "picture"}, (1, 0))
DETAIL = ("RAI_LoadRADAdapter", {"model": "model", "adapter_name": "landscapes-detail (bundled)"}, (1, 2), "To redraw the fill")
ALONE = {"model": "adapter", "image": "picture", "mask": "mask", "seed": 1}
RAD = ALONE | {"detail_model": "detail"}
SDM = ("RAI_LoadSDMModel", {"sdm_name": "landscapes (bundled)"}, (0, 1))
GRADPAINT = {"image": "picture", "mask": "mask", "positive": "words", "negative": "words", "seed": 1, "cfg": 1.0, "sampler_name": "ddim"}
OF_ALL_SAMPLERS = {"positive": "words", "negative": "words", "latent_image": "hole", "seed": 1}
SAMPLING = OF_ALL_SAMPLERS | {"model": "model", "steps": 30, "cfg": 1.0, "sampler_name": "ddim", "scheduler": "normal"}
BY_HOST = {
    "model": "adapter",
    "positive": "conditioning",
    "negative": "conditioning",
    "sampler_name": "dpmpp_2m_sde",
    "scheduler": "karras",
}
AGAIN = {"model": "detail", "latent_image": "hole again", "steps": 24, "denoise": 0.42}  # BY_HOST's second pass: from sigma 3
SHARP = {"size": 128, "denoise": 0.2, "steps": 8}  # the second pass, at twice the network's size
SMALL_LANDSCAPE = (LANDSCAPE[0], LANDSCAPE[1] | {"size": 64}, (0, 0))
SMALL_BOX = (BOX[0], BOX[1] | {"width": 64, "height": 64}, (1, 0))
NETWORK = "The bundled network is small and knows drawn landscapes of 64x64 pixels; this one is shown enlarged."
SIZES = "The bundled networks are small and know drawn landscapes of 64x64 pixels. This picture is larger, and is shown enlarged: "
SMALL = f"{SIZES}the hole is filled at the network's size, and redrawn at twice that size to be sharp. "


def shown(source, column: int, title: str, row: int = 0) -> dict:
    """Two nodes, one above the other: a small picture made larger, and its preview."""
    larger = ("ImageScaleBy", {"image": source, "upscale_method": "lanczos", "scale_by": 4.0}, (column, row), "Larger")
    return {f"larger {title}": larger, f"shown {title}": ("PreviewImage", {"images": f"larger {title}"}, (column, row + 1), title)}


WORKFLOWS = {
    "1 Remove something from a photo": {
        "photo": PHOTO,
        "fill": ("RAI_FillFromPicture", FILL, (1, 0)),
        "before": ("PreviewImage", {"images": "photo"}, (0, 1), "Before"),
        "after": ("PreviewImage", {"images": "fill"}, (2, 0), "After: the boardwalk is gone"),
        "note": (
            "Note",
            "Press Run: the boardwalk is removed, and its place filled with the picture's own reeds and grass. No network, nothing to "
            "download. About 3 seconds on one CPU core, with a preview while it works.\n\n"
            "Change first: the photo, or the seed for another fill. 'grow' widens the hole by 4 pixels here, because the mask misses the "
            f"last plank by a little.\n\n{OWN_PHOTO}",
        ),
    },
    "2 Paint your own mask": {
        "photo": ("LoadImage", {"image": "example.png"}, (0, 0), "Your photo: right-click, Open in MaskEditor"),
        "hole": (
            "RAI_PrepareHole",
            {"mask": ("photo", 1), "image": "photo", "specks": 16, "fill_islands": True, "grow": 6},
            (1, 0),
        ),
        "fill": ("RAI_FillFromPicture", {"image": "photo", "mask": "hole", "seed": 0}, (2, 0)),
        "after": ("PreviewImage", {"images": "fill"}, (3, 0), "Filled"),
        "slider": ("RAI_BeforeAfter", {"before": "photo", "after": "fill"}, (3, 1), "Before and after"),
        "note": (
            "Note",
            "1. Choose your photo in Load Image.  2. Right-click it, 'Open in MaskEditor', paint over what is to go, save.  3. Run. "
            "A photo of 576x576 pixels takes 1 to 4 seconds on one CPU core.\n\n"
            "Prepare Hole mends the painting: it drops slips of the brush, fills what you left out inside, and grows the hole by 6 pixels, "
            "because shadows and soft edges reach further than one thinks. Its preview shows the hole over the photo.\n\n"
            "Change first: 'grow' if something is left at the rim, then the seed.",
        ),
    },
    "2 Mend a scratched photo": {
        "photo": ("RAI_ExamplePhoto", {"photo": "rocks"}, (0, 0)),
        "scratches": ("RAI_InpaintMaskShapes", {"shape": "scratches", "seed": 3, "image": "photo"}, (0, 1)),
        "white": ("EmptyImage", {"width": 576, "height": 576, "color": 0xF4F0E8}, (1, 0), "The bare paper"),
        "damaged": (
            "ImageCompositeMasked",
            {"destination": "photo", "source": "white", "mask": "scratches"},
            (1, 1),
            "A scratched photo",
        ),
        "hole": ("RAI_PrepareHole", {"mask": "scratches", "image": "damaged", "fill_islands": False, "grow": 1}, (1, 2)),
        "fill": ("RAI_FillFromPicture", {"image": "damaged", "mask": "hole", "seed": 0}, (2, 0)),
        "before": ("PreviewImage", {"images": "damaged"}, (3, 0), "Scratched"),
        "after": ("PreviewImage", {"images": "fill"}, (4, 0), "Mended"),
        "note": (
            "Note",
            "Scratches, creases, specks, lettering: many thin holes at once, each filled from what stands beside it. Here a photo is "
            "scratched first, to have something to mend. About 15 seconds on one CPU core.\n\n"
            "Your own photo: put Load Image in place of the four nodes before Prepare Hole, and paint over the damage in the MaskEditor "
            "with a thin brush. Connect its IMAGE to Prepare Hole, Fill from Picture and the preview 'Scratched', and its MASK to Prepare "
            "Hole alone, which grows the strokes by a pixel, for their soft edge. Leave its 'fill islands' off, or what a scratch encloses "
            "is filled too.\n\n"
            "Change first: 'grow' if traces of the damage are left.",
        ),
    },
    "2 Widen a photo": {
        "photo": ("RAI_ExamplePhoto", {"photo": "light bulb"}, (0, 0)),
        "wide": ("RAI_ExtendPicture", {"image": "photo", "left": 144, "right": 144, "seed": 0}, (1, 0)),
        "before": ("PreviewImage", {"images": "photo"}, (0, 1), "Before"),
        "after": ("PreviewImage", {"images": "wide"}, (2, 0), "After: 144 pixels more on both sides"),
        "note": (
            "Note",
            "Four numbers say how many pixels to add on each side; the new part continues the picture, the old part is untouched. About 10 "
            "seconds on one CPU core.\n\nChange first: the four numbers, then the seed. For things that the picture does not show, connect "
            "IMAGE and MASK to GradPaint Inpaint with a denoise of 0.7, as in template 3.",
        ),
    },
    "3 Fill, then refine with your checkpoint": {
        "photo": PHOTO,
        "fill": ("RAI_FillFromPicture", FILL, (0, 1)),
        "filled": ("PreviewImage", {"images": "fill"}, (1, 0), "Filled from the picture"),
        "checkpoint": ("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT}, (1, 1)),
        "words": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "a photo of reeds and grass, sharp focus"}, (1, 2)),
        "not": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "blurry, path, text, watermark"}, (1, 3)),
        "refine": (
            "RAI_GradPaintInpaint",
            GRADPAINT
            | {
                "model": "checkpoint",
                "vae": ("checkpoint", 2),
                "image": "fill",
                "mask": ("photo", 1),
                "negative": "not",
                "cfg": 7.0,
                "sampler_name": "euler_ancestral",
                "denoise": 0.6,
                "size": 512,
            },
            (2, 0),
        ),
        "after": ("PreviewImage", {"images": "refine"}, (3, 0), "Refined by your checkpoint"),
        "note": (
            "Note",
            "Fill from Picture removes the boardwalk in about 3 seconds; your checkpoint then redraws the fill. It starts from the fill "
            "instead of from noise, so light and colours fit already. Needs a checkpoint of yours, not an inpainting one: choose it, and "
            "set 'size' to what it was made for: 512 for SD1.5, 1024 for SDXL.\n\n"
            "Change first: denoise. 0.5 keeps the fill's shapes, 0.7 redraws more of them. Then the prompt: what is to stand there.\n\n"
            "The refinement takes about as long as 60 steps of a KSampler: seconds on a GPU, minutes on a CPU.",
        ),
    },
    "4 After your own sampler, the rest exact": {
        "photo": PHOTO,
        "checkpoint": ("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT}, (0, 1)),
        "fill": ("RAI_FillFromPicture", FILL, (1, 0)),
        "words": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "a photo of reeds and grass, sharp focus"}, (1, 1)),
        "not": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "blurry, path, text, watermark"}, (1, 2)),
        "encode": ("VAEEncode", {"pixels": "fill", "vae": ("checkpoint", 2)}, (2, 0)),
        "hole": ("SetLatentNoiseMask", {"samples": "encode", "mask": ("photo", 1)}, (2, 1)),
        "sample": (
            "KSampler",
            SAMPLING | {"model": "checkpoint", "negative": "not", "cfg": 7.0, "sampler_name": "euler_ancestral", "denoise": 0.6},
            (2, 2),
        ),
        "decode": ("VAEDecode", {"samples": "sample", "vae": ("checkpoint", 2)}, (3, 0)),
        "match": ("RAI_MatchFill", {"filled": "decode", "original": "photo", "mask": ("photo", 1)}, (3, 1)),
        "before": ("PreviewImage", {"images": "decode"}, (4, 0), "As it comes back"),
        "after": ("PreviewImage", {"images": "match"}, (4, 1), "Matched: exact outside the mask"),
        "note": (
            "Note",
            "An inpainting graph as you may have it, between two nodes of this pack. Before it, Fill from Picture gives the sampler a "
            "start in which light and colours fit. After it, Match Fill to Picture takes away the colour drift of VAE and sampler, and "
            "puts every pixel outside the mask back bit for bit.\n\n"
            "Graphs of your own, with any model, sampler or edit model: connect what comes back to 'filled', and the picture before to "
            "'original'. Here: choose your checkpoint. Change first: denoise, then the prompt.",
        ),
    },
    "5 GradPaint on a checkpoint": {
        "picture": PHOTO,
        "checkpoint": ("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT}, (0, 1)),
        "words": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "a wooden rowing boat in the reeds, photo, sharp focus"}, (1, 0)),
        "not": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "blurry, text, watermark"}, (1, 1)),
        "fill": (
            "RAI_GradPaintInpaint",
            GRADPAINT
            | {
                "model": "checkpoint",
                "vae": ("checkpoint", 2),
                "mask": ("picture", 1),
                "negative": "not",
                "cfg": 7.0,
                "sampler_name": "euler_ancestral",
                "size": 512,
            },
            (2, 0),
        ),
        "after": ("PreviewImage", {"images": "fill"}, (3, 0), "Filled by your checkpoint"),
        "note": (
            "Note",
            "Puts something new into the hole, with any checkpoint that is not an inpainting one: GradPaint makes it respect the picture "
            "around. Choose yours, and set 'size' to what it was made for: 512 for SD1.5, 1024 for SDXL.\n\nChange first: the prompt, then "
            f"the seed. It takes as long as 60 steps of a KSampler: seconds on a GPU, minutes on a CPU.\n\n{OWN_PHOTO}",
        ),
    },
    "5 GradPaint in LATENT graphs": {
        "picture": SMALL_LANDSCAPE,
        "model": MODEL,
        "mask": SMALL_BOX,
        "words": ("RAI_ADMConditioning", {"class_label": 0}, (1, 1)),
        "encode": ("VAEEncode", {"pixels": "picture", "vae": ("model", 1)}, (1, 2)),
        "hole": ("SetLatentNoiseMask", {"samples": "encode", "mask": "mask"}, (1, 3)),
        "settings": ("RAI_GradPaintSettings", {"band": 16}, (2, 0)),
        "sample": ("RAI_GradPaintSampler", SAMPLING | {"settings": "settings"}, (2, 1)),
        "guider": (
            "RAI_GradPaintGuider",
            {"model": "model", "cfg": 1.0, "positive": "words", "negative": "words", "picture": "encode", "mask": "mask"},
            (3, 0),
        ),
        "noise": ("RandomNoise", {"noise_seed": 1}, (3, 1)),
        "euler": ("KSamplerSelect", {"sampler_name": "euler_ancestral"}, (3, 2)),
        "sigmas": ("BasicScheduler", {"model": "model", "scheduler": "karras", "steps": 30}, (3, 3)),
        "advanced": (
            "SamplerCustomAdvanced",
            {"noise": "noise", "guider": "guider", "sampler": "euler", "sigmas": "sigmas", "latent_image": "encode"},
            (4, 0),
        ),
        "decode": ("VAEDecode", {"samples": "sample", "vae": ("model", 1)}, (4, 1)),
        "decode advanced": ("VAEDecode", {"samples": "advanced", "vae": ("model", 1)}, (4, 2)),
        **shown("picture", 5, "Before"),
        **shown("decode", 6, "GradPaint Sampler"),
        **shown("decode advanced", 7, "GradPaint Guider"),
        "note": (
            "Note",
            "GradPaint where a graph of your own has a KSampler or a SamplerCustomAdvanced. GradPaint Sampler takes a KSampler's place: "
            "the hole is the latent's noise mask. GradPaint Guider takes a guider's: it goes into SamplerCustomAdvanced with any sampler "
            "and sigmas, and takes the hole itself. GradPaint Settings is for when a preset is not enough; here it looks at 16 pixels "
            "around the hole alone.\n\n"
            f"{NETWORK} Put your own MODEL, VAE and prompts in place of it. Change first: the seeds, then the samplers. About 9 seconds on "
            "one CPU core.",
        ),
    },
    "5 GradPaint without a checkpoint": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": BOX,
        "words": ("RAI_ADMConditioning", {"class_label": 0}, (1, 1)),
        "fill": ("RAI_GradPaintInpaint", GRADPAINT | {"model": "model", "vae": ("model", 1)}, (2, 0)),
        "sharp": (
            "RAI_GradPaintInpaint",
            GRADPAINT | SHARP | {"model": "model", "vae": ("model", 1), "image": "fill"},
            (3, 0),
            "Once more, at twice the size",
        ),
        **shown("picture", 4, "Before"),
        **shown("sharp", 5, "Filled with GradPaint"),
        "note": (
            "Note",
            f"GradPaint on a network that was never trained to fill holes: the bundled one without its RAD adapter. {SMALL}\n\n"
            "Put your own MODEL, VAE and prompts in place of it: see 'GradPaint on a checkpoint'. Change first: the seed, then the preset. "
            "About 10 seconds on one CPU core.",
        ),
    },
    "5 GradPaint, with and without": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": BOX,
        "words": ("RAI_ADMConditioning", {"class_label": 0}, (1, 1)),
        **{
            name: ("RAI_GradPaintInpaint", GRADPAINT | {"model": "model", "vae": ("model", 1), "preset": preset}, (2, row), title)
            for row, (name, preset, title) in enumerate((("before", "combine", "Without guidance"), ("after", "plus", "With GradPaint")))
        },
        **{
            f"{name} sharp": (
                "RAI_GradPaintInpaint",
                GRADPAINT | SHARP | {"model": "model", "vae": ("model", 1), "image": name, "preset": preset},
                (3, row),
                "Once more, at twice the size",
            )
            for row, (name, preset) in enumerate((("before", "combine"), ("after", "plus")))
        },
        **shown("before sharp", 4, "Masked sampling alone"),
        **shown("after sharp", 5, "GradPaint"),
        "note": (
            "Note",
            "The same network, seed, sampler and steps: once with masked sampling alone, which every KSampler does with a noise mask (the "
            f"preset 'combine'), once with GradPaint. Look at the rim of the square.\n\n{SMALL}\n\nChange first: the seed of the two "
            "nodes on the left. About 12 seconds on one CPU core.",
        ),
    },
    "6 RAD with its paper's settings": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": BOX,
        "adapter": ADAPTER,
        "detail": DETAIL,
        "rad": ("RAI_RADInpaint", RAD | {"sampler": "ddpm", "steps": 100, "align": 0.0}, (2, 0)),
        **shown("picture", 3, "Before"),
        **shown("rad", 4, "Filled by RAD"),
        "note": (
            "Note",
            f"RAD with its paper's settings: 100 steps of DDPM, and no smoothing of the rim. {SMALL}(The redraw is "
            "not in the paper: for the paper alone set 'detail' to 0.)\n\n"
            "Change first: the seed. "
            "About 9 seconds on one CPU core.",
        ),
    },
    "6 RAD fills a hole": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": BOX,
        "adapter": ADAPTER,
        "detail": DETAIL,
        "rad": ("RAI_RADInpaint", RAD, (2, 0)),
        **shown("picture", 3, "Before"),
        **shown("rad", 4, "Filled by RAD"),
        "note": (
            "Note",
            f"RAD gives every pixel its own noise level, so that only the hole is generated. {SMALL}\n\n"
            "For pictures of your own, put Load Image in place of Draw Landscape, and a network and an adapter trained on such pictures "
            "into the two loaders. Change first: the seed, then the mask's shape. About 8 seconds on one CPU core.",
        ),
    },
    "6 RAD in LATENT graphs": {
        "picture": SMALL_LANDSCAPE,
        "model": MODEL,
        "mask": SMALL_BOX,
        "adapter": ADAPTER,
        "words": ("RAI_ADMConditioning", {"class_label": 0}, (1, 2)),
        "encode": ("VAEEncode", {"pixels": "picture", "vae": ("model", 1)}, (2, 0)),
        "hole": ("SetLatentNoiseMask", {"samples": "encode", "mask": "mask"}, (2, 1)),
        "sample": ("RAI_RADSampler", OF_ALL_SAMPLERS | {"model": "adapter"}, (2, 2)),
        "rad": ("RAI_RADSamplerSelect", {"sampler": "dpmpp_2m"}, (3, 0)),
        "sigmas": ("BasicScheduler", {"model": "adapter", "scheduler": "karras", "steps": 20}, (3, 1)),
        "custom": (
            "SamplerCustom",
            {"model": "adapter", "add_noise": True, "noise_seed": 1, "cfg": 1.0, "positive": "words", "negative": "words"}
            | {"sampler": "rad", "sigmas": "sigmas", "latent_image": "hole"},
            (3, 2),
        ),
        "decode": ("VAEDecode", {"samples": "sample", "vae": ("model", 1)}, (4, 0)),
        "decode custom": ("VAEDecode", {"samples": "custom", "vae": ("model", 1)}, (4, 1)),
        **shown("picture", 5, "Before"),
        **shown("decode", 6, "RAD Sampler"),
        **shown("decode custom", 7, "RAD Sampler Select"),
        "note": (
            "Note",
            "RAD's own samplers where a graph of your own has a KSampler (RAD Sampler) or a SamplerCustom (RAD Sampler Select). The hole "
            "is the latent's noise mask; both take an order map.\n\n"
            f"{NETWORK} With a checkpoint of yours: see '9 Train an adapter for your checkpoint'. Change first: the seeds, then the "
            "samplers. About 10 seconds on one CPU core.",
        ),
    },
    "6 RAD in an order": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": ("RAI_InpaintMaskShapes", BOX[1] | {"shape": "extreme"}, (1, 0)),
        "adapter": ADAPTER,
        "detail": DETAIL,
        "order": ("RAI_PerlinMask", {"scale": 48.0, "area": 50.0, "softness": 1.0, "seed": 2, "image": "picture"}, (2, 1), "Order"),
        "rad": ("RAI_RADInpaint", RAD | {"order": "order", "overlap": 0.5, "sampler": "ddpm", "align": 0.0}, (2, 0)),
        **shown("picture", 3, "Before"),
        **shown("rad", 4, "Filled in the order of the map"),
        "note": (
            "Note",
            f"Nearly all of the picture is a hole, and a grey map sets what is generated first: black first, white last. {SMALL}\n\n"
            "Change first: 'overlap' in RAD Inpaint (0: part after part, 1: all at once), then the map. About 11 seconds on one CPU core.",
        ),
    },
    "6 RAD widens a picture": {
        "picture": ("RAI_DrawLandscape", LANDSCAPE[1] | {"size": 96}, (0, 0)),
        "model": MODEL,
        "pad": ("ImagePadForOutpaint", {"image": "picture", "left": 0, "top": 0, "right": 40, "bottom": 0, "feathering": 0}, (1, 0)),
        "adapter": ADAPTER,
        "detail": DETAIL,
        "rad": ("RAI_RADInpaint", RAD | {"image": "pad", "mask": ("pad", 1), "view": "whole picture"}, (2, 0)),
        **shown("pad", 3, "With room on the right"),
        **shown("rad", 4, "Widened by RAD"),
        "note": (
            "Note",
            f"The right 40 columns are new. {SMALL}For photographs, 'Widen a photo' needs no network.\n\nChange first: the four numbers, "
            "then the seed. About 6 seconds on one CPU core.",
        ),
    },
    "6 RAD with any KSampler": {
        "picture": LANDSCAPE,
        "model": MODEL,
        "mask": BOX,
        "adapter": ADAPTER,
        "detail": DETAIL,
        "conditioning": ("RAI_ADMConditioning", {"class_label": 0}, (1, 3)),
        "small": ("ImageScaleBy", {"image": "picture", "upscale_method": "area", "scale_by": 0.5}, (2, 0), "The network's size"),
        "encode": ("VAEEncode", {"pixels": "small", "vae": ("model", 1)}, (2, 1)),
        "hole": ("SetLatentNoiseMask", {"samples": "encode", "mask": "mask"}, (2, 2)),
        "sample": ("KSampler", SAMPLING | BY_HOST | {"steps": 50}, (3, 0)),
        "decode": ("VAEDecode", {"samples": "sample", "vae": ("model", 1)}, (3, 1)),
        "double": ("ImageScaleBy", {"image": "decode", "upscale_method": "lanczos", "scale_by": 2.0}, (4, 0), "Twice as large"),
        "paste": ("ImageCompositeMasked", {"destination": "picture", "source": "double", "mask": "mask"}, (4, 1), "Into the picture"),
        "encode again": ("VAEEncode", {"pixels": "paste", "vae": ("model", 1)}, (4, 2)),
        "hole again": ("SetLatentNoiseMask", {"samples": "encode again", "mask": "mask"}, (4, 3)),
        "redraw": ("KSampler", SAMPLING | BY_HOST | AGAIN, (5, 0), "Redrawn"),
        "decode again": ("VAEDecode", {"samples": "redraw", "vae": ("model", 1)}, (5, 1)),
        **shown("picture", 6, "Before"),
        **shown("decode again", 7, "Filled by a KSampler"),
        "note": (
            "Note",
            f"An ADM network with a RAD adapter is an ordinary MODEL: every sampler of ComfyUI fills the hole region-aware. {SMALL}RAD "
            "Inpaint does all of this in one node.\n\nChange first: the first sampler's name, then its seed. About 7 seconds on one CPU "
            "core.",
        ),
    },
    "6 RAD with two adapters": {
        "picture": ("RAI_DrawLandscape", LANDSCAPE[1] | {"seed": 37, "time_of_day": "dusk"}, (0, 0)),
        "model": MODEL,
        "mask": ("RAI_InpaintMaskShapes", BOX[1] | {"shape": "extreme", "share": 50.0, "seed": 3}, (1, 0)),
        "adapter": ADAPTER,
        "detail": DETAIL,
        "night": ("RAI_LoadRADAdapter", {"model": "model", "adapter_name": "night (bundled)"}, (1, 3)),
        "rad": ("RAI_RADInpaint", RAD, (2, 0)),
        "rad at night": ("RAI_RADInpaint", ALONE | {"model": "night"}, (2, 1)),
        **shown("rad", 3, "Adapter: landscapes"),
        **shown("rad at night", 4, "Adapter: night"),
        "note": (
            "Note",
            "The same hole and seed with two adapters on one network. The night adapter was trained on night landscapes alone: "
            "around the same piece of dusk it paints a darker evening. It redraws its fill itself, because the detail adapter would bring "
            f"the day back. Nothing is loaded twice. {SMALL}\n\n"
            "Change first: the adapters' strength, then the seed. About 13 seconds on one CPU core.",
        ),
    },
    "7 SDM, refined with RAD": {
        "picture": LANDSCAPE,
        "network": SDM,
        "model": ("RAI_LoadADMModel", MODEL[1], (0, 2)),
        "mask": BOX,
        "adapter": ADAPTER,
        "detail": DETAIL,
        "fill": ("RAI_SDMInpaint", {"sdm": "network", "image": "picture", "mask": "mask", "seed": 1}, (2, 0)),
        "refine": (
            "RAI_RefineWithRAD",
            RAD | {"image": "fill", "uncertainty": ("fill", 1)},
            (2, 1),
        ),
        **shown("fill", 3, "Filled by SDM"),
        **shown("refine", 4, "Refined with RAD"),
        "note": (
            "Note",
            f"SDM fills the hole in four passes, and RAD re-imagines in ten steps what SDM is uncertain of. {SMALL}\n\n"
            "Change first: 'strength' in Refine with RAD, then the seeds. About 7 seconds on one CPU core.",
        ),
    },
    "7 SDM and its uncertainty": {
        "picture": LANDSCAPE,
        "network": SDM,
        "mask": ("RAI_InpaintMaskShapes", BOX[1] | {"shape": "scratches"}, (1, 0)),
        "fill": ("RAI_SDMInpaint", {"sdm": "network", "image": "picture", "mask": "mask", "seed": 1}, (1, 1)),
        **shown("fill", 2, "Filled by SDM"),
        "heat": (
            "RAI_UncertaintyHeatMap",
            {"image": "larger Filled by SDM", "uncertainty": ("fill", 1)},
            (3, 0),
            "How uncertain: yellow may be wrong",
        ),
        **shown(("fill", 2), 4, "The picture after each pass"),
        "note": (
            "Note",
            "SDM fills the hole in four passes, the most certain pixels first, and says how uncertain each is. The heat map shows it: "
            f"dark is certain, yellow and white may be wrong. {SIZES}SDM works at the network's size and its fill is "
            "enlarged, so large holes are filled with a blur: see 'SDM, refined with RAD'.\n\n"
            "Change first: 'iterations', then the seed. About 1 second on one CPU core.",
        ),
    },
    "8 Perlin masks": {
        "still": ("RAI_PerlinMask", {"batch_size": 4, "octaves": 2, "seed": 5}, (0, 0)),
        "moving": ("RAI_PerlinMaskAnimation", {"frames": 8, "loop": True, "seed": 5}, (1, 0)),
        "stills": ("MaskToImage", {"mask": "still"}, (2, 0)),
        "shown": ("PreviewImage", {"images": "stills"}, (2, 1), "Four masks from four seeds"),
        "frames": ("MaskToImage", {"mask": "moving"}, (3, 0)),
        "shown too": ("PreviewImage", {"images": "frames"}, (3, 1), "Eight frames of a moving mask"),
        "note": (
            "Note",
            "Organic blobs from noise: the holes that RAD is trained with, and masks for dissolves, textures, moving fills. White is the "
            "hole.\n\nChange first: 'scale' (size of the blobs), 'area' (how much is hole), 'octaves' (how ragged the rim is). At once on "
            "any machine.",
        ),
    },
    "9 Compare fills": {
        "photo": ("RAI_ExamplePhoto", {"photo": "rocks"}, (0, 0)),
        "mask": ("RAI_InpaintMaskShapes", {"shape": "box", "share": 20.0, "seed": 12, "image": "photo"}, (0, 1)),
        "fast": ("RAI_FillFromPicture", FILL | {"mask": "mask", "grow": 0, "preset": "fast"}, (1, 0), "Fill from Picture: fast"),
        "best": ("RAI_FillFromPicture", FILL | {"mask": "mask", "grow": 0, "preset": "best"}, (2, 0), "Fill from Picture: best"),
        "compare": (
            "RAI_InpaintCompare",
            {"original": "photo", "mask": "mask", "result_1": "fast", "result_2": "best", "labels": "fast, best"},
            (3, 0),
        ),
        "larger": ("PreviewImage", {"images": "compare"}, (4, 0), "The comparison, to save or to look at in full"),
        "note": (
            "Note",
            "A hole is cut where the truth is known, filled twice, and measured: arrows say which way is better, green is the best of "
            "its line. 'seam' is how visible the rim is and 'texture' how much fine detail there is; 1 is natural for both.\n\n"
            "Change first: the mask's seed, which moves the hole. Connect fills by other methods to compare those. About 3 seconds on "
            "one CPU core.",
        ),
    },
    "9 Train an adapter": {
        "pictures": ("RAI_DrawLandscape", {"seed": 1000, "size": 64, "batch_size": 64, "time_of_day": "night"}, (0, 0)),
        "model": MODEL,
        "train": (
            "RAI_TrainRADAdapter",
            {"model": "model", "images": "pictures", "adapter_name": "nights", "steps": 300, "learning_rate": 0.001, "save_every": 50},
            (1, 0),
        ),
        "curve": ("PreviewImage", {"images": ("train", 1)}, (2, 0), "Loss over the steps"),
        "samples": ("PreviewImage", {"images": ("train", 2)}, (3, 0), "Holes filled with the new adapter"),
        "note": (
            "Note",
            "Teaches the bundled network to fill holes with nights. The new file then appears in Load RAD Adapter (press R). Safe to "
            "cancel: run it again to resume.\n\nFor your own pictures, enter their folder's name in Train RAD Adapter and disconnect Draw "
            "Landscape. Change first: the steps. About 10 minutes on one CPU core.",
        ),
    },
    "9 Train an adapter for your checkpoint": {
        "photo": PHOTO,
        "checkpoint": ("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT}, (0, 1)),
        "words": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "a photo of reeds and grass"}, (1, 0)),
        "train": (
            "RAI_TrainRADAdapter",
            {"model": "checkpoint", "vae": ("checkpoint", 2), "clip": ("checkpoint", 1), "positive": "words", "folder": "my_pictures"}
            | {"adapter_name": "my look", "batch_size": 1, "learning_rate": 0.0001, "size": 512, "gradient_checkpointing": True},
            (1, 1),
        ),
        "encode": ("VAEEncode", {"pixels": "photo", "vae": ("checkpoint", 2)}, (2, 0)),
        "hole": ("SetLatentNoiseMask", {"samples": "encode", "mask": ("photo", 1)}, (2, 1)),
        "sample": (
            "RAI_RADSampler",
            OF_ALL_SAMPLERS | {"model": "train", "negative": "not", "steps": 30, "cfg": 4.0, "sampler": "ddim"},
            (2, 2),
        ),
        "not": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "blurry, path, text, watermark"}, (1, 2)),
        "decode": ("VAEDecode", {"samples": "sample", "vae": ("checkpoint", 2)}, (3, 0)),
        "match": ("RAI_MatchFill", {"filled": "decode", "original": "photo", "mask": ("photo", 1)}, (3, 1)),
        "after": ("PreviewImage", {"images": "match"}, (4, 0), "Filled by your checkpoint with its adapter"),
        "curve": ("PreviewImage", {"images": ("train", 1)}, (5, 0), "Loss over the steps"),
        "samples": ("PreviewImage", {"images": ("train", 2)}, (5, 1), "Holes filled with the new adapter"),
        "note": (
            "Note",
            "Teaches your own checkpoint to fill holes the region-aware way, and fills one. Put 20 to 100 pictures of one look into a "
            "folder my_pictures inside ComfyUI's input folder, each with what it shows in a .txt file of the same name if you like, and "
            "choose your checkpoint. Transformers (Flux, Qwen-Image, Z-Image and others) work in the same way, with their own loaders.\n\n"
            "Training takes an hour or more on a GPU with 8 GB or more, and is safe to cancel: run it again to resume. The adapter then "
            "is in Load RAD Adapter (press R), which takes Train RAD Adapter's place. The numbers here are starting points, not "
            "results: see docs/training.md. Change first: the steps, then the learning rate.",
        ),
    },
}
