#!/bin/sh
# Makes voxbilling's database and its three roles; postgres' image runs it once, on an empty volume.
#
#   voxbilling_owner  owns the database and every table in it. Only `migrate` signs in as it.
#   voxbilling_app    reads and writes rows, and owns nothing: it cannot drop, truncate or alter a
#                     table, nor turn off the triggers that keep the ledger append-only. Web, the
#                     worker and beat sign in as it.
#   voxbilling_tenant reads the rows of one organization, as row-level security lets it. Nobody
#                     signs in as it: voxbilling_app becomes it while it reads for a customer.
#
# For a server that is run by others, run it once as a role that may create roles and databases:
#   POSTGRES_USER=… DATABASE_OWNER_PASSWORD=… DATABASE_APP_PASSWORD=… PGHOST=… docker/postgres/roles.sh
set -eu

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 \
    --username "$POSTGRES_USER" --dbname postgres <<'SQL'
-- Read here and not given as arguments, which any user of the machine could see.
\getenv owner_password DATABASE_OWNER_PASSWORD
\getenv app_password DATABASE_APP_PASSWORD

CREATE ROLE voxbilling_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE voxbilling_app LOGIN PASSWORD :'app_password';
-- A row that somebody keeps locked must not keep every request waiting. Vapi's wait less (3 s).
ALTER ROLE voxbilling_app SET lock_timeout = '10s';
-- Roles belong to the cluster: another database of it may have made this one.
SELECT 'CREATE ROLE voxbilling_tenant NOLOGIN'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'voxbilling_tenant') \gexec
-- Not inherited: its rights come with SET ROLE only.
GRANT voxbilling_tenant TO voxbilling_app WITH INHERIT FALSE, SET TRUE;
-- Outside PostgreSQL's superusers, a role can make a database for a role only if it belongs to it.
GRANT voxbilling_owner TO CURRENT_USER;
CREATE DATABASE voxbilling OWNER voxbilling_owner;

-- TEMP too: a temporary table hides a real one of the same name.
REVOKE ALL ON DATABASE voxbilling FROM PUBLIC;
GRANT CONNECT ON DATABASE voxbilling TO voxbilling_app;

\connect voxbilling
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO voxbilling_app;
-- What migrations will make. TRUNCATE, REFERENCES, TRIGGER and MAINTAIN are left out.
ALTER DEFAULT PRIVILEGES FOR ROLE voxbilling_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO voxbilling_app;
ALTER DEFAULT PRIVILEGES FOR ROLE voxbilling_owner IN SCHEMA public
    GRANT USAGE ON SEQUENCES TO voxbilling_app;
SQL
