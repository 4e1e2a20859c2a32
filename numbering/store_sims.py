"""That a SIM is verified, in SQL (DEV-01, DEV-03): one transaction, and a revision that every node sees within a second."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from config.database import writing
from numbering.store import lock_revision, record_changes
from numbering.tables import DeviceRow


class SqlSims:
    """Writes what calls have shown; all methods raise `config.database.DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def verified(self, device: str, sim: str) -> bool:
        """The device has this SIM, and it is verified; False when there is no such device any more.

        Another user's device that was said to have the SIM has it no longer: numbers pass from hand to hand, and who has just
        called with it holds it.
        """
        async with writing(self._engine) as connection:
            await lock_revision(connection)
            found = (
                await connection.execute(
                    select(DeviceRow.user, DeviceRow.sim, DeviceRow.sim_verified).where(
                        DeviceRow.ref == device
                    )
                )
            ).one_or_none()
            if found is None:
                return False
            others = select(DeviceRow.ref).where(DeviceRow.sim == sim, DeviceRow.user != found.user_ref)
            lost = [str(ref) for ref in (await connection.execute(others)).scalars()]
            if (found.sim, found.sim_verified) == (sim, True) and not lost:
                return True
            if lost:
                await connection.execute(
                    update(DeviceRow).where(DeviceRow.ref.in_(lost)).values(sim=None, sim_verified=False)
                )
            await connection.execute(
                update(DeviceRow).where(DeviceRow.ref == device).values(sim=sim, sim_verified=True)
            )
            await record_changes(connection, {"device": [device, *lost]})
            return True

    async def changed(self, device: str, sim: str) -> None:
        """The device has another SIM than ``sim``: that one is not verified any more."""
        async with writing(self._engine) as connection:
            await lock_revision(connection)
            done = await connection.execute(
                update(DeviceRow)
                .where(DeviceRow.ref == device, DeviceRow.sim == sim, DeviceRow.sim_verified)
                .values(sim_verified=False)
            )
            if done.rowcount:
                await record_changes(connection, {"device": [device]})
