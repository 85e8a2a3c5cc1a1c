"""picows on uvloop: picows_server.py PORT echo|broadcast"""

import sys

import uvloop
from picows import WSListener, WSMsgType, ws_create_server


class Echo(WSListener):
    def on_ws_frame(self, transport, frame):
        if not control(transport, frame):
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Broadcast(WSListener):
    everybody = set()

    def on_ws_connected(self, transport):
        self.everybody.add(transport)

    def on_ws_disconnected(self, transport):
        self.everybody.discard(transport)

    def on_ws_frame(self, transport, frame):
        if not control(transport, frame):
            payload = frame.get_payload_as_bytes()
            for to in self.everybody:
                to.send(frame.msg_type, payload)


def control(transport, frame) -> bool:
    """Answers control frames, which picows leaves to its user."""
    if frame.msg_type == WSMsgType.PING:
        transport.send_pong(frame.get_payload_as_bytes())
    elif frame.msg_type == WSMsgType.CLOSE:
        transport.send_close(frame.get_close_code(), frame.get_close_message())
        transport.disconnect()
    return frame.msg_type not in (WSMsgType.TEXT, WSMsgType.BINARY)


async def main(port: int, mode: str):
    listener = Broadcast if mode == "broadcast" else Echo
    server = await ws_create_server(lambda request: listener(), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
