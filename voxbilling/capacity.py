"""How many of what: each number must fit into the next, and a test holds them to it.

A web process has places for requests of each kind (voxbilling/lanes.py). Whoever has one may use a
database connection: so all places ≤ pool, and all pools together ≤ what PostgreSQL accepts. A
request that waits for a connection would answer Vapi too late (7.5 s). Threads without a place only
wait, so there are enough for a thousand requests at once, and more than that are refused nothing:
they wait for a thread.
"""

WEB_WORKERS = 2
WEB_THREADS_PER_WORKER = 600
WEBHOOK_PLACES = 6
PROVIDER_PLACES = 3
OTHER_PLACES = 6
WORKER_THREADS = 6
# One more than all places: readiness is asked for outside of them.
DATABASE_POOL_MAX_CONNECTIONS = 16
# Two web workers and the Celery worker at their full pools, beat, the tests' and operators'
# own commands, and what PostgreSQL reserves for superusers.
POSTGRES_MAX_CONNECTIONS = 100
