"""Customers' pages about phone numbers, below /numbers/."""
