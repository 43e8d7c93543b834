"""One supervisor for the embedded servers, web, workers, beat and the sandbox.

Nothing here starts when it is imported. What cannot work raises StackError, whose text is one
sentence that says what to do.
"""


class StackError(Exception):
    """What cannot work, and what to do about it, in one sentence; shown without a traceback."""
