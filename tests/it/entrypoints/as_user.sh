#!/box/bash
# gosu, su-exec and s6-setuidgid for a script that is recorded: the command as that user, with its groups; the first two set HOME as well.
as=$1 home=/
shift
while IFS=: read -r name _ uid gid _ of _; do
    if [ "${as%%:*}" = "$name" ] || [ "${as%%:*}" = "$uid" ]; then
        as=$uid${as#"${as%%:*}"} user=$name primary=$gid home=$of
        break
    fi
done </etc/passwd
group=${as#*:}
[ "$group" != "$as" ] || group=${primary:-0}
[ "${0##*/}" = s6-setuidgid ] || export HOME=$home
if [ -n "${user:-}" ]; then groups=--init-groups; else groups=--clear-groups; fi
exec setpriv --reuid "${as%%:*}" --regid "$group" "$groups" "$@"
