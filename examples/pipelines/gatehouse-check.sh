#!/bin/sh
# Checks a request for Gatehouse before it is merged: prints the verdicts; ends with 1 when it would be refused, with 2
# when the portal could not be asked or could not read it.
#
#   gatehouse-check.sh request.json
#
# GATEHOUSE                 address of the portal
# GATEHOUSE_CLIENT_ID and GATEHOUSE_CLIENT_SECRET   of an application with client credentials and requests:read
# or GATEHOUSE_TOKEN        an access token, for example a JWT of an issuer that the portal trusts
set -eu
request=${1:?usage: gatehouse-check.sh request.json}
: "${GATEHOUSE:?set GATEHOUSE to the address of the portal}"

refused() {
  printf '%s\n' "$1" >&2
  exit 2
}

# printf is part of the shell and curl reads its standard input: no secret stands in an argument.
if [ -z "${GATEHOUSE_TOKEN:-}" ]; then
  answer=$(printf 'user = "%s:%s"\n' "${GATEHOUSE_CLIENT_ID:?}" "${GATEHOUSE_CLIENT_SECRET:?}" |
    curl --config - --silent --show-error --fail-with-body --retry 2 "$GATEHOUSE/identity/o/api/token" \
      --data grant_type=client_credentials --data scope=requests:read) || refused "${answer:-no token}"
  GATEHOUSE_TOKEN=$(printf %s "$answer" | sed -n 's/.*"access_token": *"\([^"]*\)".*/\1/p')
fi

plan=$(printf 'header = "Authorization: Bearer %s"\n' "$GATEHOUSE_TOKEN" |
  curl --config - --silent --show-error --fail-with-body --retry 2 "$GATEHOUSE/api/v1/requests/check" \
    --header 'Content-Type: application/json' --data-binary "@$request") || refused "${plan:-no answer}"

printf '%s' "$plan" | python3 -c '
import json, sys
plan = json.load(sys.stdin)
checks = plan["checks"]
for check in checks:
    print("{verdict:7} {title}{why}".format(why=": " + check["reason"] if check.get("reason") else "", **check))
failed = [check for check in checks if check["verdict"] == "fail"]
print("{} of {} checks fail.".format(len(failed), len(checks)))
sys.exit(1 if failed else 0)
'
