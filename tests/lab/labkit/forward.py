# SPDX-License-Identifier: Apache-2.0
"""forward.py FD ADDRESS PORT: what connects to the listening socket FD, which was opened in another network namespace,
is connected to ADDRESS:PORT in this one."""
import asyncio
import socket
import sys


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    async def connected(reader, writer):
        try:
            inner_reader, inner_writer = await asyncio.open_connection(sys.argv[2], int(sys.argv[3]))
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(connected, sock=socket.socket(fileno=int(sys.argv[1])))
    await server.serve_forever()


asyncio.run(main())
