# enter.sh ROOT USER:GROUP DIRECTORY SHARED yes|no COMMAND...: COMMAND in the image below ROOT, as a container's first process.
# Runs in a mount, pid and uts namespace of its own; SHARED has bash, portcullis and their libraries. `yes`: the programs of this machine
# are in the image too, behind its own, as a script that is recorded needs them.
set -e
root=$1 who=$2 directory=$3 shared=$4 programs=$5
shift 5
path=$PATH PATH=/usr/sbin:/usr/bin:/sbin:/bin
chroot=$(command -v chroot)
echo host >/proc/sys/kernel/hostname
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$shared" "$root/box/shared"
if [ "$programs" = yes ]; then
    mkdir -p "$root.work" "$root/etc/alternatives"
    mount -t overlay overlay -o "lowerdir=/usr,upperdir=$root/usr,workdir=$root.work" "$root/usr"
    mount --bind /etc/alternatives "$root/etc/alternatives"
fi
PATH=$path
exec "$chroot" --userspec="+${who%:*}:+${who#*:}" --groups= "$root" /box/bash -c 'cd "$1" && shift && exec "$@"' box "$directory" "$@"
