"""Who looks at pages, and what they read on them."""

import re

from tests.factories import MembershipFactory

# What a browser sends when a page asks for its part that refreshes.
PART = {"HX-Request": "true"}


def sign_in(client, organization, role="owner"):
    user = MembershipFactory(organization=organization, role=role).user
    client.force_login(user)
    return user


def text_of(response):
    content = b"".join(response) if response.streaming else response.content
    return re.sub(r"\s+", " ", content.decode())


def links(response):
    """The pages before and after this one, as (rel, address)."""
    found = re.findall(r'rel="(prev|next)" href="([^"]+)"', response.content.decode())
    return [(rel, address.replace("&amp;", "&")) for rel, address in found]
