-- The role with which Keyturn sets the passwords of the roles in the policies (issuer `postgresql-role`). Run it as a
-- superuser, with those roles in place of app_a and app_b:
--   psql --file deploy/rights/postgresql-role.sql
-- and give the role a password with \password keyturn, or have pg_hba.conf ask it for a certificate.
CREATE ROLE keyturn LOGIN CREATEROLE CONNECTION LIMIT 16;

-- Before PostgreSQL 16 that lets it change every role but superusers. Since then it may change those alone that it
-- administers, and without INHERIT and SET it has no right of theirs.
SELECT current_setting('server_version_num')::int >= 160000 AS per_role \gset
\if :per_role
    GRANT app_a, app_b TO keyturn WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
\endif
