#!/bin/sh
# Checks a request for Gatehouse before it is merged: prints the verdicts, or writes a report. Ends with 0 when it could be
# sent, with 1 when it would be refused, with 2 when the portal could not be asked or could not read it.
#
#   gatehouse-check.sh [--format text|sarif|junit] [--output FILE] request.yaml
#
# GATEHOUSE                 address of the portal
# GATEHOUSE_CLIENT_ID and GATEHOUSE_CLIENT_SECRET   of an application with client credentials and requests:read
# or GATEHOUSE_TOKEN        an access token, for example a JWT of an issuer that the portal trusts (gatehouse-token.sh)
set -eu
usage='usage: gatehouse-check.sh [--format text|sarif|junit] [--output FILE] request.yaml'
format=text output=
while [ $# -gt 1 ]; do
  case $1 in
    --format) format=$2 ;;
    --output) output=$2 ;;
    *) echo "$usage" >&2; exit 2 ;;
  esac
  shift 2
done
request=${1:?$usage}
: "${GATEHOUSE:?set GATEHOUSE to the address of the portal}"
case $format in
  text) accept=application/json ;;
  sarif) accept=application/sarif+json ;;
  junit) accept=application/junit+xml ;;
  *) echo "$usage" >&2; exit 2 ;;
esac
case $request in
  *.json) kind=application/json ;;
  *) kind=application/yaml ;;
esac

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

report=$(mktemp)
trap 'rm -f "$report"' EXIT
path=$(python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$request")
status=$(printf 'header = "Authorization: Bearer %s"\n' "$GATEHOUSE_TOKEN" |
  curl --config - --silent --show-error --retry 2 --output "$report" --write-out '%{http_code}' \
    "$GATEHOUSE/api/v1/requests/check?path=$path" --header "Accept: $accept" --header "Content-Type: $kind" \
    --data-binary "@$request") || refused "no answer"
case $status in
  200 | 422) ;;
  *) refused "$(cat "$report")" ;;
esac
[ -z "$output" ] || cp "$report" "$output"

# 422: the file does not even say a whole request; a report names the fields all the same.
python3 - "$format" "$status" "$report" <<'PYTHON'
import json, sys
from xml.etree import ElementTree

form, status, name = sys.argv[1:]
with open(name, encoding="utf-8") as file:
    text = file.read()
if form == "text" and status != "200":
    sys.exit(print(text, file=sys.stderr) or 2)
if form == "text":
    checks = json.loads(text)["checks"]
    for check in checks:
        why = ": " + check["reason"] if check.get("reason") else ""
        fix = " " + check["fix"] if check.get("fix") else ""
        print("{:7} {}{}{}".format(check["verdict"], check["title"], why, fix))
    failed = [check for check in checks if check["verdict"] == "fail"]
    print("{} of {} checks fail.".format(len(failed), len(checks)))
elif form == "sarif":
    results = json.loads(text)["runs"][0]["results"]
    failed = [result for result in results if result["level"] == "error"]
    for result in results:
        print("{:7} {}".format(result["level"], result["message"]["text"]))
else:
    failed = ElementTree.fromstring(text).findall(".//failure")
    for case in failed:
        print("fail    {}".format(case.get("message")))
sys.exit(2 if status != "200" else 1 if failed else 0)
PYTHON
