"""A standby of a running PostgreSQL, which follows it by streaming until it is promoted."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.components.postgres import Postgres, programs
from tests.support.components.process import Component, as_user, own_folder
from tests.support.emulators import free_port
from tests.support.waiting import in_the_end


@contextmanager
def standby_of(primary: Postgres) -> Iterator[Postgres]:
    """Another server with all that the primary has; asynchronous, unless the primary is told otherwise."""
    user = "postgres" if os.geteuid() == 0 else None
    rules = primary.sockets / "data" / "pg_hba.conf"
    rules.write_text(f"local replication postgres trust\n{rules.read_text()}")
    primary.run("SELECT pg_reload_conf()")
    with own_folder(user) as folder:
        data, port = folder / "data", free_port()
        copying = ["-D", str(data), "-h", str(primary.sockets), "-p", str(primary.port)]
        subprocess.run(
            [
                programs() / "pg_basebackup",
                *copying,
                "-U",
                "postgres",
                "-R",
                "-c",
                "fast",
                "-X",
                "stream",
                "--no-sync",
            ],
            cwd=folder,
            check=True,
            timeout=120,
            **as_user(user),
        )
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(f"port = {port}\nunix_socket_directories = '{folder}'\n")
        is_ready = [str(programs() / "pg_isready"), "-q", "-h", str(folder), "-p", str(port)]
        component = Component(
            [programs() / "postgres", "-D", data],
            folder,
            lambda: subprocess.run(is_ready, check=False).returncode == 0,
            user=user,
            stop_signal=signal.SIGINT,
        )
        with component.running(killed=True):
            yield Postgres(component, folder, port, primary.ca_file)


def wait_until_equal(primary: Postgres, standby: Postgres) -> None:
    """Return when the standby has all that was written at the primary until now."""
    written = primary.run("SELECT pg_current_wal_flush_lsn()")
    in_the_end(
        lambda: standby.run(f"SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn") == "True"
    )


def cut_off(standby: Postgres) -> None:
    """Have it get nothing more of what the primary writes."""
    standby.run("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
    in_the_end(lambda: standby.run("SELECT count(*) FROM pg_stat_wal_receiver") == "0")


def promote(standby: Postgres) -> None:
    """Make it a primary, whatever became of the other one."""
    assert standby.run("SELECT pg_promote()") == "True"
