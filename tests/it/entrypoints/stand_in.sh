#!/box/bash
# A stand-in for a program of an image: writes one call down, then does what the rules of the case say, else ends with 0.
# Builtins alone, and its own bash under a name that nothing finds: the image around it need not have a shell.
program=$0
case $program in
    /usr/local/bin/* | /usr/local/sbin/* | /usr/bin/* | /usr/sbin/* | /bin/* | /sbin/*) program=${program##*/} ;;
    /*) ;;
    *) program=$(pwd -P)/${program#./} ;;
esac
input= given=0
# An image with /box/deaf has programs that leave stdin alone, which is the list of a loop of its script.
if [ ! -e /box/deaf ] && { [ -p /dev/stdin ] || [ -f /dev/stdin ]; }; then
    given=1
    IFS= read -r -d '' input
fi
while read -r key real effective others; do
    case $key in
        Uid:) uid=$effective ;;
        Gid:) gid=$effective ;;
        Groups:) groups="$real $effective $others" ;;
    esac
done </proc/self/status
mapfile -d '' environment </proc/self/environ

if [ ! -e "/box/quiet/${program##*/}" ]; then
    number=0
    while :; do
        printf -v file '/box/calls/%05d' $((number += 1))
        { set -C; : >"$file"; } 2>/dev/null && break
    done
    set +C
    # The last word tells that all of it is there.
    printf '%s\0' "$program" $# "$@" "$(pwd -P)" "$(umask)" "$uid" "$gid" "$groups" $given "$input" "${environment[@]}" "end of call" >>"$file"
fi

all="$program $*"
while IFS=$'\t' read -r index exit stays first pattern; do
    [[ "${all% }" == $pattern ]] || continue
    if [ "$first" != 0 ]; then
        for ((turn = 1; turn <= first; turn++)); do
            { set -C; : >"/box/turns/$index.$turn"; } 2>/dev/null && break
        done
        set +C
        [ $turn -le "$first" ] || continue
    fi
    IFS= read -r -d '' says <"/box/says/$index"
    printf %s "$says"
    if [ "$stays" = true ]; then
        trap 'exit 0' TERM INT QUIT HUP
        exec 9<>/box/hold
        while :; do read -r -t 0.1 -u 9; done
    fi
    exit "$exit"
done </box/rules
exit 0
