"""The schema and the page that shows it."""

import re
from html.parser import HTMLParser

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command

from voxbilling.api.views import schema

DOCS = "/api/docs/"


class References(HTMLParser):
    """Everything that a page loads."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("src", "href", "action")]


@pytest.fixture
def document(client):
    return client.get("/api/schema/").json()


def operations(document):
    return [
        (f"{method.upper()} {address}", operation)
        for address, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_given_the_schema_then_it_is_valid_and_nothing_in_it_was_guessed(tmp_path):
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yml"))


def test_given_the_schema_then_every_endpoint_has_words_examples_and_shapes_of_errors(document):
    assert document["openapi"].startswith("3.")
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert {"400", "401", "429", "503"} <= set(operation["responses"]), name
        for status, response in operation["responses"].items():
            if status >= "400":
                assert response["description"], name
                shape = response["content"]["application/json"]["schema"]["$ref"]
                properties = document["components"]["schemas"][shape.rsplit("/", 1)[1]][
                    "properties"
                ]
                assert {"error", "code"} <= set(properties), name
        successes = [
            response["content"]["application/json"]
            for status, response in operation["responses"].items()
            if status < "300"
        ]
        assert successes, name
        assert any("examples" in success for success in successes), name
        if "requestBody" in operation:
            assert "413" in operation["responses"], name
            assert list(operation["requestBody"]["content"]) == ["application/json"], name


def test_given_an_endpoint_for_an_organization_then_its_header_and_its_token_are_named(document):
    schemes = document["components"]["securitySchemes"]
    assert schemes == {"jwtAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    for name, operation in operations(document):
        if "/api/auth/" in name:
            assert "security" not in operation or {} in operation["security"], name
            continue
        assert operation["security"] == [{"jwtAuth": []}], name
        header = next(each for each in operation["parameters"] if each["name"] == "X-Org-Id")
        assert header["in"] == "header"
        assert not header.get("required"), name
        assert {"403", "404"} <= set(operation["responses"]), name


def test_given_the_schema_then_it_names_every_address_that_takes_tokens(document):
    """A view that is not documented would not be tried by test_schema_is_true."""
    from django.urls import get_resolver
    from rest_framework.views import APIView

    def views(patterns, prefix=""):
        for pattern in patterns:
            address = prefix + str(pattern.pattern)
            if hasattr(pattern, "url_patterns"):
                yield from views(pattern.url_patterns, address)
            elif issubclass(getattr(pattern.callback, "cls", object), APIView):
                yield "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", address)

    served = set(views(get_resolver().url_patterns))

    assert served - {"/api/schema/", DOCS} == set(document["paths"])


def test_given_the_schema_then_it_is_made_once(client):
    client.get("/api/schema/")
    made = schema()

    assert client.get("/api/schema/").content == made
    assert schema() is made


def test_given_the_docs_then_the_page_and_what_it_loads_are_our_own(client):
    answer = client.get(DOCS)
    page = answer.content.decode()
    script = client.get(DOCS, {"script": ""})

    references = References()
    references.feed(page)
    assert len(references.found) >= 4
    for reference in references.found:
        assert re.match(r"/(?!/)", reference), reference
        if reference.startswith("/static/"):
            assert finders.find(reference.removeprefix("/static/")), reference
    assert not re.search(r"https?://", page + script.content.decode())
    # Swagger UI would otherwise ask validator.swagger.io about the schema.
    assert '"validatorUrl": null' in script.content.decode()
    assert '"/api/schema/"' in script.content.decode().replace("\\u002D", "-").replace("\\/", "/")
    assert script["Content-Type"] == "application/javascript"


def test_given_the_docs_then_the_browser_lets_them_load_from_nowhere_else(client):
    policy = client.get(DOCS)["Content-Security-Policy"]

    assert policy.startswith("default-src 'self';")
    assert "http" not in policy
    assert "*" not in policy


def test_given_the_docs_of_a_site_with_an_inline_script_then_this_one_has_none(client):
    """The policy would keep it from running."""
    page = client.get(DOCS).content.decode()

    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.S)
    assert scripts
    assert all("src=" in attributes and not content.strip() for attributes, content in scripts)
