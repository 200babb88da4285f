#!/bin/sh
# A whole driver in shell: each line that is appended to a file becomes an event.
#   dispatch create eventdrivertype lines ./lines.sh
#   dispatch create eventdriver lines --set file=/var/log/doors.txt
set -u

file=
for setting in "$@"; do
    case $setting in
    --file=?*) file=${setting#--file=} ;;
    --dispatch-api-endpoint=*) ;; # for programs of the original; K_SINK says more
    *) echo "there is no setting $setting; allowed is --file=PATH" >&2; exit 1 ;;
    esac
done
[ -n "$file" ] || { echo "the setting --file is required" >&2; exit 1; }
authorization="Authorization: Bearer $DISPATCH_TOKEN"

# Standard input ends with the hub: then this ends too, with all it started.
exec 3<&0
{ cat <&3 >/dev/null; kill -TERM 0; } &

# How far an earlier life came: the number of the last line the hub has. Asked until there is an answer.
until line=$(curl --silent --fail --max-time 30 --header "$authorization" "$K_SINK/checkpoint"); do sleep 1; done
line=${line:-0}

# Sends one event until the hub has it, never sooner again than the hub said. Id and source are made of what
# happened and not of now: sent twice it is still one event. The checkpoint is stored with the event or not at all.
send() {
    while :; do
        set -- $(printf '%s' "$text" | curl --silent --output /dev/null --max-time 30 \
            --write-out '%{http_code} %header{retry-after}' --header "$authorization" \
            --header "Dispatch-Checkpoint: $(printf '%s' "$line" | base64)" \
            --header 'ce-specversion: 1.0' --header "ce-id: $line" \
            --header "ce-source: /lines/$DISPATCH_DRIVER_NAME" --header 'ce-type: example.line' \
            --header 'content-type: text/plain; charset=utf-8' --data-binary @- "$K_SINK")
        case $1 in
        2??) return ;;
        404 | 408 | 409 | 429) ;;
        4??) echo "the hub refuses line $line for ever ($1): left out" >&2; return ;;
        esac
        sleep "${2:-1}"
    done
}

tail -n "+$((line + 1))" -F "$file" | while IFS= read -r text; do
    line=$((line + 1))
    [ -z "$text" ] || send
done
