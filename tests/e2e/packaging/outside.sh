#!/bin/bash
# Boots a real systemd on a throw-away copy of this machine, runs inside.sh in it and leaves nothing behind.
# Usage, as root, in a mount namespace of its own: outside.sh FOLDER
# FOLDER is /share in there: it holds inside.sh and gets its output, and the console of the machine.
set -euo pipefail
share=$1

# What is mounted from here on is seen by nobody else and goes with this process.
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/copy
mount -t tmpfs tmpfs /run/copy
mkdir /run/copy/{changes,work,root}
mount -t overlay overlay -o lowerdir=/,upperdir=/run/copy/changes,workdir=/run/copy/work /run/copy/root
root=/run/copy/root
# In there, packages may start and stop services.
rm -f $root/usr/sbin/policy-rc.d

# Only what is needed is started: no service of the copied machine.
cat > $root/etc/systemd/system/trial.service <<'UNIT'
[Unit]
After=basic.target
[Service]
Type=oneshot
StandardOutput=file:/share/output
StandardError=inherit
ExecStart=-/bin/bash /share/inside.sh
ExecStopPost=/bin/systemctl exit 0
UNIT
cat > $root/etc/systemd/system/trial.target <<'UNIT'
[Unit]
Requires=basic.target
After=basic.target
Wants=trial.service
UNIT

# Which cgroups systemd-nspawn uses, and leaves behind empty.
leftovers() {
    local names path
    while IFS=: read -r _ names path; do
        case $names in
            '') echo "/sys/fs/cgroup/unified$path" "/sys/fs/cgroup$path" ;;
            name=systemd) echo "/sys/fs/cgroup/systemd$path" ;;
        esac
    done < /proc/self/cgroup
}
folders=$(leftovers)

# No network but its own loopback. Not registered anywhere.
timeout --kill-after=10 300 systemd-nspawn --quiet --directory=$root --bind="$share:/share" --private-network \
    --register=no --keep-unit --console=read-only --boot systemd.unit=trial.target < /dev/null > "$share/console" 2>&1 || true

for folder in $folders; do
    for name in payload supervisor; do
        [ ! -d "$folder/$name" ] || find "$folder/$name" -depth -type d -exec rmdir {} \; 2> /dev/null || true
    done
done
