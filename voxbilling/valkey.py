"""What it is like when Valkey does not answer: whoever can do without it catches these."""

from redis.exceptions import RedisError

# What times out while redis-py connects may come out of it as a ValueError: "I/O operation on
# closed file".
UNREACHABLE = (RedisError, OSError, ValueError)
