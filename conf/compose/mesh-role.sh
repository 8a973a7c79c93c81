#!/bin/sh
# Run once by the postgres image, before the database takes anyone: the store's role and its database.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$MESH_PASSWORD" --username postgres <<'SQL'
CREATE ROLE mesh LOGIN PASSWORD :'password';
CREATE DATABASE mesh OWNER mesh;
SQL
