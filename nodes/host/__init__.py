"""The only files that know ComfyUI's inside."""
