"""The pages on which customers see their calls."""
