"""Region-aware inpainting for ComfyUI: see README.md. The host calls `comfy_entrypoint`."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    from .nodes import RegionAwareInpainting

    return RegionAwareInpainting()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
