"""A bounded cache of planned calls, shared by the operations.

Keys are signatures: shapes, strides, dtypes and arguments, never data. When the cache is full the
oldest entry goes; a program with more live signatures than that plans some of them again.
"""


class BoundedCache(dict):
    """A dict that forgets its oldest entry when it grows past `limit`."""

    def __init__(self, limit):
        super().__init__()
        self._limit = limit

    def remember(self, key, value):
        """Add an entry, dropping the oldest ones beyond the limit."""
        self[key] = value
        while len(self) > self._limit:
            try:
                del self[next(iter(self))]
            except (StopIteration, KeyError, RuntimeError):
                break  # another thread was faster
