# Read by the other scripts: checks the environment and offers `call`.
#
#   SERVER_URL    https://mdm.example.com
#   API_TOKEN     the API key of the server
#   CURL_OPTS     further options for curl, for example: --cacert ca.pem
set -eu
: "${SERVER_URL:?set SERVER_URL to the address of the server}"
: "${API_TOKEN:?set API_TOKEN to the API key of the server}"

# The key goes to curl through a configuration on standard input, so that it shows in no process list.
call() {
    printf 'user = "micromdm:%s"\n' "$(printf %s "$API_TOKEN" | sed 's/[\\"]/\\&/g')" |
        # shellcheck disable=SC2086  # CURL_OPTS holds words
        curl --config - --silent --show-error --fail-with-body ${CURL_OPTS:-} "$@"
}

# usage TEXT COUNT ARGS...: end with a usage line unless there are COUNT arguments.
usage() {
    text=$1 count=$2
    shift 2
    [ $# -eq "$count" ] && return
    echo "usage: $text" >&2
    exit 2
}
