"""The pack's nodes, one file per family. Everything that depends on ComfyUI's internals is in `host`."""

from comfy_api.latest import ComfyExtension, io

from .compare import InpaintCompare
from .example_photo import ExamplePhoto
from .exemplar import FillFromPicture
from .gradpaint import GradPaintGuiderNode, GradPaintInpaint, GradPaintSampler, GradPaintSettingsNode
from .host.folders import register_folders
from .host.notes import noted
from .landscapes import DrawLandscape
from .masks import InpaintMaskShapes, PerlinMask, PerlinMaskAnimation
from .match import MatchFill
from .models import ADMConditioning, LoadADMModel, LoadRADAdapter
from .prepare import ExtendPicture, PrepareHole
from .rad import RADInpaint, RADSampler, RADSamplerSelect, RADSpatialNoiseEmbedding
from .sdm import LoadSDMModel, RefineWithRAD, SDMInpaint
from .show import BeforeAfter, UncertaintyHeatMap
from .training import TrainRADAdapter


class RegionAwareInpainting(ComfyExtension):
    def __init__(self):
        register_folders()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        nodes = (
            FillFromPicture,
            ExtendPicture,
            ExamplePhoto,
            BeforeAfter,
            UncertaintyHeatMap,
            PrepareHole,
            PerlinMask,
            PerlinMaskAnimation,
            InpaintMaskShapes,
            DrawLandscape,
            LoadADMModel,
            ADMConditioning,
            LoadRADAdapter,
            RADInpaint,
            RADSampler,
            RADSamplerSelect,
            RADSpatialNoiseEmbedding,
            GradPaintInpaint,
            GradPaintSampler,
            GradPaintGuiderNode,
            GradPaintSettingsNode,
            LoadSDMModel,
            SDMInpaint,
            RefineWithRAD,
            TrainRADAdapter,
            MatchFill,
            InpaintCompare,
        )
        return [noted(node) for node in nodes]
