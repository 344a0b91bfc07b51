#!/usr/bin/env bash
# A good client in shell and curl, for the GET of items only: an example for `labs judge`.
#   --url URL --n N --limit L --timeout T [--attempts 4] [--backoff 0.05] [--path items]
# Exit 0: all items were answered (404 is an answer). 1: items were given up. 2: nonsense flags.
#
# Each round asks for all that has no answer yet: L at a time, the next as soon as one is done. The
# pause is between rounds: in a process of xargs it would keep a permit. Each attempt is a new curl,
# so no connection is kept.
export LC_ALL=C main=$$ url='' n='' limit='' timeout='' attempts=4 backoff=0.05 path=items items=''
complain() { echo "client.sh: $1" >&2; exit 2; }
while [ $# -gt 0 ]; do
    [[ $1 =~ ^--(url|n|limit|timeout|attempts|backoff|path)$ ]] || complain "there is no flag $1"
    [ $# -gt 1 ] || complain "$1 has no value"
    printf -v "${1#--}" %s "$2"
    shift 2
done
whole='^(0|[1-9][0-9]{0,4}) [1-9][0-9]{0,3} [1-9]$' seconds='^[0-9]{1,3}(\.[0-9]{1,3})?$'
items=${url%/}/$path place='^http://[a-zA-Z0-9.-]+:[0-9]{1,5}(/[a-zA-Z0-9._~-]+)+$'
[[ $items =~ $place ]] || complain '--url or --path is none'
[[ "$n $limit $attempts" =~ $whole ]] || complain '--n, --limit or --attempts is not a count'
[[ $timeout =~ $seconds && $timeout =~ [1-9] ]] || complain '--timeout is not a time in seconds'
[[ $backoff =~ $seconds ]] || complain '--backoff is not a time in seconds'

attempt() { # ITEM: prints the item and the seconds of its Retry-After if it is to be tried again
    kill -0 "$main" 2>/dev/null || exit 255 # the client was ended: xargs ends, too
    local answer status after=0
    answer=$(curl -q -sg --noproxy '*' --max-time "$timeout" --output /dev/null --dump-header - \
        --write-out '%{http_code}' "$items/$1") || answer=000
    status=${answer: -3}
    [[ $status =~ ^(000|429|5..)$ ]] || return 0
    shopt -s nocasematch
    [[ $status =~ 429|503 && $answer =~ retry-after:\ *([0-9]{1,5}) ]] && after=${BASH_REMATCH[1]}
    echo "$1 $after"
}
export -f attempt

again=$(for ((i = 0; i < n; i += 1)); do echo "$i"; done)
for ((k = 1; k <= attempts; k += 1)); do
    [ -n "$again" ] || exit 0
    again=$(cut -d ' ' -f 1 <<<"$again" | xargs -n 1 -P "$limit" bash -c 'attempt "$1"' _) || exit 1
    # Not before the latest time that the service named, and longer each time, in part random.
    pause=$(awk -v seed=$RANDOM -v first="$backoff" -v k="$k" '$2 > latest { latest = $2 + 0 }
        END { srand(seed); print latest + first * 2 ^ (k - 1) * (0.5 + rand()) }' <<<"$again")
    [ -z "$again" ] || [ "$k" = "$attempts" ] || sleep "$pause"
done
[ -n "$again" ] || exit 0
echo "$(wc -l <<<"$again" | tr -d ' ') of $n items were given up" >&2
exit 1
