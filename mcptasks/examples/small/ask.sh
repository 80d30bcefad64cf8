#!/usr/bin/env bash
# Asks the server of this directory, with the token in $TOKEN, and prints its answer:
#
#   ask.sh call FRAMES   calls render; the answer names a task
#   ask.sh get ID        says how the task stands
#   ask.sh cancel ID     cancels it
set -euo pipefail
command -v curl >/dev/null || { echo "curl is missing; on Debian: apt-get install curl" >&2 && exit 69; }
: "${TOKEN:?set it to the token of the server}"
case "$# ${1-}" in
"2 call") method=tools/call name=render params='"name": "render", "arguments": {"frames": '$2'}' ;;
"2 get" | "2 cancel") method=tasks/$1 name=$2 params='"taskId": "'$2'"' ;;
*) echo "ask.sh call FRAMES | get ID | cancel ID" >&2 && exit 64 ;;
esac
# Each request names its protocol version, and declares that the client has tasks.
meta='"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
	"io.modelcontextprotocol/clientInfo": {"name": "curl", "version": "1"},
	"io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}}'
curl -sS -w '\n' --fail-with-body http://127.0.0.1:8080/ -H "Authorization: Bearer $TOKEN" \
	-H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
	-H 'Mcp-Protocol-Version: 2026-07-28' -H "Mcp-Method: $method" -H "Mcp-Name: $name" \
	-d '{"jsonrpc": "2.0", "id": 1, "method": "'$method'", "params": {'"$params, $meta"'}}' |
	sed -n 's/.*"result":{"_meta":{[^}]*}},\(.*\)}$/{\1/p; s/.*"error":\(.*\)}$/error: \1/p'
