"""How templates write amounts: {{ balance_pence|pounds }}."""

from django import template

from wallets import formats

register = template.Library()
register.filter("pounds", formats.pounds)
