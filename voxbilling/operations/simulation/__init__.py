"""Simulated callers: organizations to try things with, and calls played over HTTP as Vapi would."""
