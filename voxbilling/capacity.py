"""How many of what: each number must fit into the next, and a test holds them to it.

One web process answers at most WEB_THREADS_PER_WORKER requests at once, and each of its threads
may hold one database connection: so threads ≤ pool, and all pools together ≤ what PostgreSQL
accepts. A thread that waits for a connection would answer Vapi too late (7.5 s).
"""

WEB_WORKERS = 2
WEB_THREADS_PER_WORKER = 12
WORKER_THREADS = 6
DATABASE_POOL_MAX_CONNECTIONS = 12
# Two web workers and the Celery worker at their full pools, beat, the tests' and operators'
# own commands, and what PostgreSQL reserves for superusers.
POSTGRES_MAX_CONNECTIONS = 100
