"""Vapi, as far as voxbilling talks to it: phone numbers, live calls, and their control URLs."""
