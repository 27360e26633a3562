#!/bin/sh
# Prints an access token for Gatehouse without a secret that is kept anywhere: the job proves who it is by the short-lived
# token of its own platform, and the organisation's issuer (for example Keycloak) answers with the JWT that the portal
# takes (docs/oauth.md, "Tokens of an issuer outside").
#
# GATEHOUSE_ISSUER_TOKEN_ENDPOINT   token endpoint of that issuer
# GATEHOUSE_CLIENT_ID               application there, trusted for this repository; registered in the portal as external
# GATEHOUSE_ID_TOKEN                the platform's token; on GitHub it is fetched, in a pod it may stand in
# GATEHOUSE_ID_TOKEN_FILE           a file instead
set -eu
: "${GATEHOUSE_ISSUER_TOKEN_ENDPOINT:?}" "${GATEHOUSE_CLIENT_ID:?}"

field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }

proof=${GATEHOUSE_ID_TOKEN:-}
if [ -z "$proof" ] && [ -n "${GATEHOUSE_ID_TOKEN_FILE:-}" ]; then
  proof=$(cat "$GATEHOUSE_ID_TOKEN_FILE")
elif [ -z "$proof" ]; then
  proof=$(printf 'header = "Authorization: Bearer %s"\n' "${ACTIONS_ID_TOKEN_REQUEST_TOKEN:?no token of a platform}" |
    curl --config - --silent --show-error --fail --retry 2 --get "${ACTIONS_ID_TOKEN_REQUEST_URL:?}" \
      --data-urlencode "audience=$GATEHOUSE_ISSUER_TOKEN_ENDPOINT" | field value)
fi

# RFC 7523, section 2.2: the platform's token is the client's proof. It is read from standard input, not an argument.
answer=$(printf 'data = "client_assertion=%s"\n' "$proof" |
  curl --config - --silent --show-error --fail-with-body --retry 2 "$GATEHOUSE_ISSUER_TOKEN_ENDPOINT" \
    --data grant_type=client_credentials --data scope=requests:read \
    --data-urlencode "client_id=$GATEHOUSE_CLIENT_ID" \
    --data-urlencode client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer) || {
  printf '%s\n' "${answer:-no answer of the issuer}" >&2
  exit 2
}
printf '%s\n' "$answer" | field access_token
