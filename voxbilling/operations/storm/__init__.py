"""Thousands of short calls while everything goes wrong, and a judgement that does its own sums."""
