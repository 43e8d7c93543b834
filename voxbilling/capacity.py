"""How many of what: each number must fit into the next, and a test holds them to it.

A web process has places for requests of each kind (voxbilling/lanes.py). Whoever has one may use a
database connection: so all places ≤ pool, and all pools together ≤ what PostgreSQL accepts. A
request that waits for a connection would answer Vapi too late (7.5 s). Threads without a place only
wait. A thousand requests at once, which the kernel shares out evenly, find room to wait in any
lane; more are refused. Whatever waits in both, there are threads left for webhooks.
"""

WEB_WORKERS = 2
WEB_THREADS_PER_WORKER = 1300
WEBHOOK_PLACES = 6
PROVIDER_PLACES = 3
OTHER_PLACES = 6
WAITING_PER_LANE = 600
# Celery's worker for calls, and the one that waits for Stripe, Twilio and the mail server.
WORKER_THREADS = 6
PROVIDER_WORKER_THREADS = 10
# One more than all places: readiness is asked for outside of them.
DATABASE_POOL_MAX_CONNECTIONS = 16
# Two web workers and two Celery workers at their full pools, beat, the tests' and operators' own
# commands, and what PostgreSQL reserves for superusers.
POSTGRES_MAX_CONNECTIONS = 100
