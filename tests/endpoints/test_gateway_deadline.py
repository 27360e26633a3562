"""The time limit of the hot path."""

import asyncio

import pytest

from endpoints.gateways.builtin.deadline import Deadline


def test_what_takes_too_long_is_a_timeout_and_the_task_lives_on() -> None:
    async def main() -> int:
        with pytest.raises(TimeoutError), Deadline(0.01):
            await asyncio.sleep(5)
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(main()) == 0


def test_what_ends_in_time_passes() -> None:
    async def main() -> int:
        with Deadline(0.02):
            await asyncio.sleep(0)
        await asyncio.sleep(0.04)
        return 7

    assert asyncio.run(main()) == 7


def test_an_error_inside_stays_that_error() -> None:
    async def main() -> None:
        with pytest.raises(KeyError), Deadline(5):
            raise KeyError

    asyncio.run(main())


def test_a_cancellation_from_outside_stays_one() -> None:
    async def main() -> None:
        async def work() -> None:
            with Deadline(5):
                await asyncio.sleep(5)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
