# The least rights of Keyturn at a KV version 2 engine that is mounted at secret/, for the paths below payments/.
# Repeat the three blocks for each team, and put your own mount in the place of secret/.
#
#   vault policy write keyturn deploy/rights/vault-kv2.hcl          (or: bao policy write ...)

# Writes a version with check-and-set, and reads it back.
path "secret/data/payments/*" {
  capabilities = ["create", "read", "update"]
}

# Reads version numbers, writes Keyturn's marks into custom_metadata.
path "secret/metadata/payments/*" {
  capabilities = ["create", "read", "update"]
}

# Destroys one old version by its number, once its key is revoked.
path "secret/destroy/payments/*" {
  capabilities = ["create", "update"]
}

# Asks what the token may do, before a key is made. The policy `default` grants this too.
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# Renews the token of a login before it runs out; without it Keyturn logs in anew. `default` grants this too.
path "auth/token/renew-self" {
  capabilities = ["update"]
}
