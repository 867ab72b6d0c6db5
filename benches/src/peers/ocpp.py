"""A central system as one is first written: the package `ocpp` on asyncio, every answer from memory, nothing kept."""

import asyncio
import datetime
import itertools

import websockets
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result

NUMBERS = itertools.count(1)


class Station(ChargePoint):
    @on("BootNotification")
    def on_boot(self, **_):
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        return call_result.BootNotification(current_time=now, interval=300, status="Accepted")

    @on("StartTransaction")
    def on_start(self, **_):
        return call_result.StartTransaction(
            transaction_id=next(NUMBERS), id_tag_info={"status": "Accepted"}
        )

    @on("StopTransaction")
    def on_stop(self, **_):
        return call_result.StopTransaction()


async def serve(socket):
    station = Station(socket.request.path.rsplit("/", 1)[-1], socket)
    try:
        await station.start()
    except websockets.ConnectionClosed:
        pass


async def main():
    # No pings: the load answers none. Its stations do not offer to compress.
    server = await websockets.serve(
        serve, "127.0.0.1", 0, subprotocols=["ocpp1.6"], ping_interval=None
    )
    address, port = server.sockets[0].getsockname()
    print(f"listening {address}:{port}", flush=True)
    await server.serve_forever()


asyncio.run(main())
