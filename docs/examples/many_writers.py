"""Many tasks do jobs at once and record each through one client: what was started, what came of it.

python docs/examples/many_writers.py --jobs 200 --workers 20
"""

import argparse

import trio

from lognode.client import AsyncClient, Draft, connect_async


async def do_job(client: AsyncClient, job: int) -> None:
    started = await client.append(Draft(kind="job.started", subject=f"job:{job}"))
    await trio.sleep(0.001)  # the work
    done = Draft(kind="job.done", subject=f"job:{job}", caused_by=started["id"], data={"square": job * job})
    # A job may take its time, but not for ever. Nothing is half recorded when this ends the wait.
    with trio.fail_after(60):
        await client.append(done)


async def work(client: AsyncClient, jobs: trio.MemoryReceiveChannel[int]) -> None:
    async with jobs:
        async for job in jobs:
            await do_job(client, job)


async def main(jobs: int, workers: int) -> None:
    begin = trio.current_time()
    async with connect_async() as client, trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[int](0)
        async with send, receive:
            for _ in range(workers):
                nursery.start_soon(work, client, receive.clone())
            for job in range(jobs):
                await send.send(job)
    rate = 2 * jobs / (trio.current_time() - begin)
    print(f"{jobs} jobs by {workers} workers: {2 * jobs} spans, {rate:.0f} a second")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Record jobs from many tasks through one client.")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=20)
    arguments = parser.parse_args()
    trio.run(main, arguments.jobs, arguments.workers)
