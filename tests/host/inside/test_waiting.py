"""What one sees while a fill runs on a server, as its page does: previews that move, and a cancel that is heeded."""

import asyncio
import json
import time

import aiohttp
import pytest
import web_page

SIDE = 2048  # of the picture; its hole has 4 % of the pixels, some seconds' work a fill: previews come in a hundredth of a run's time


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with web_page.running_server(tmp_path_factory.mktemp("comfy-waiting")) as (url, _):
        yield url


def node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


PROMPT = {
    "1": node("RAI_ExamplePhoto", photo="boardwalk"),
    "2": node("ImageScale", image=["1", 0], upscale_method="bicubic", width=SIDE, height=SIDE, crop="disabled"),
    "3": node("RAI_InpaintMaskShapes", width=SIDE, height=SIDE, batch_size=1, shape="box", share=4.0, seed=0, invert=False),
    "4": node("RAI_FillFromPicture", image=["2", 0], mask=["3", 0], seed=0, preset="default", grow=0, fills=8),
    "5": node("PreviewImage", images=["4", 0]),
}


async def run_and_cancel(url: str) -> tuple[list[bytes], float]:
    """Start the fill, wait for four previews, cancel. Returns the previews and the seconds until the server says that it has stopped."""
    previews = []
    async with aiohttp.ClientSession(url) as session, session.ws_connect("/ws?clientId=waiting", max_msg_size=0) as socket:
        async with session.post("/prompt", json={"prompt": PROMPT, "client_id": "waiting"}) as answer:
            assert answer.status == 200, await answer.text()
        cancelled = None
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                previews.append(message.data)
                if len(previews) == 4:
                    cancelled = time.monotonic()
                    async with session.post("/interrupt"):
                        pass
            elif message.type == aiohttp.WSMsgType.TEXT:
                kind = json.loads(message.data)["type"]
                assert kind != "execution_success" and kind != "execution_error", message.data
                if kind == "execution_interrupted":
                    return previews, time.monotonic() - cancelled
    raise AssertionError("the server closed the connection")


def test_previews_of_a_fill_move_and_a_cancel_is_heeded_at_once(server):
    previews, seconds = asyncio.run(asyncio.wait_for(run_and_cancel(server), 300))
    assert len(set(previews)) >= 3, "previews must show the fill as it grows"
    print(f"cancelled after {seconds:.2f} s")
    assert seconds < 5  # .03 with two cores busy
