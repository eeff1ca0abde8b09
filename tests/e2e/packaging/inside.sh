#!/bin/bash
# Runs inside of a booted systemd (outside.sh): installs the package, uses it, breaks it, removes it.
# Prints what it does; the last line is "everything holds" or the reason why not.

exec 2>&1
pipe=/run/fifo-bridge/pipe
config=/etc/fifo-bridge/fifo-bridge.toml

fail() {
    echo "FAILED: $*"
    echo "--- journal"
    journalctl --no-pager --output=short-precise -u 'fifo-bridge*' -u 'rsyslog*' | tail -80
    ls -la /run/fifo-bridge /var/lib/fifo-bridge
    exit 1
}
step() { echo "== $*"; }
# must WHAT COMMAND...: the command succeeds
must() { local what=$1; shift; "$@" || fail "$what"; }
# same WHAT EXPECTED GOT
same() { [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"; }
# eventually WHAT COMMAND...: the command succeeds within 30 s
eventually() {
    local what=$1 end=$((SECONDS + 30)); shift
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "waited for: $what"
        sleep 0.05
    done
}
active() { systemctl --quiet is-active "$@"; }
record() { echo "~local3|info|Jan  1 00:00:00|$1"; }
cli() { redis-cli "$@"; }
# has N: the list has so many records
has() { [ "$(cli llen rsyslog)" = "$1" ]; }
# Writes the records 1 to $1 for a second or two. The descriptor is open from the first to the last.
load() { exec 8<>$pipe; for i in $(seq 1 "$1"); do record "$i" >&8; [ $((i % 20)) != 0 ] || sleep 0.003; done; }
# arrived N: these records are in the list, once and in order, and nothing else
arrived() {
    eventually "$1 records in the list" has "$1"
    cli lrange rsyslog 0 -1 > /tmp/got
    for i in $(seq 1 "$1"); do record "$i"; done > /tmp/wanted
    cmp --silent /tmp/got /tmp/wanted || fail "the list differs: $(diff /tmp/got /tmp/wanted | head -5)"
    cli del rsyslog > /dev/null
}

step "install the package"
must "dpkg -i" dpkg --install /share/fifo-bridge.deb
must "the user" getent passwd fifo-bridge
same "folder of the pipe" "fifo-bridge fifo-bridge 755" "$(stat -c '%U %G %a' /run/fifo-bridge)"
active fifo-bridge.service && fail "the service was started by the installation"
systemctl --quiet is-enabled fifo-bridge.service && fail "the service was enabled by the installation"
must "systemd-analyze verify" systemd-analyze verify --man=yes fifo-bridge.service fifo-bridge.socket
same "what verify says" "" "$(systemd-analyze verify --man=yes fifo-bridge.service fifo-bridge.socket 2>&1)"
must "hardening" systemd-analyze security --no-pager --threshold=15 fifo-bridge.service > /dev/null

step "start it"
systemd-run --quiet --unit=trial-redis /usr/bin/redis-server --port 6379 --save '' --dir /tmp
eventually "Redis" cli ping
must "enable --now" systemctl enable --now fifo-bridge.service
must "socket and service" active fifo-bridge.socket
must "socket enabled" systemctl --quiet is-enabled fifo-bridge.socket
same "pipe" "fifo-bridge fifo-bridge 660 fifo" "$(stat -c '%U %G %a %F' $pipe)"
same "spool" "fifo-bridge 700" "$(stat -c '%U %a' /var/lib/fifo-bridge/spool)"
journalctl -u fifo-bridge.service | grep --quiet "took over the pipe $pipe from systemd" || fail "the pipe is not systemd's"
journalctl -u fifo-bridge.service | grep --quiet "reading $pipe (1048576 bytes)" || fail "the pipe is not 1 MiB"
status() { systemctl show --property=StatusText fifo-bridge.service | grep --quiet pushed; }
eventually "a status text" status
must "check" runuser -u fifo-bridge -- fifo-bridge check
must "status" fifo-bridge status
load 1000; arrived 1000; exec 8>&-

step "killed, with records in the pipe that nobody else holds"
systemctl kill --signal=KILL fifo-bridge.service
exec 8<>$pipe; for i in 1 2 3; do record $i >&8; done; exec 8>&-
arrived 3

step "restarted under load"
load 3000 & loader=$!
sleep 0.3; must "restart" systemctl restart fifo-bridge.service
wait $loader; arrived 3000

step "a bad configuration is refused by a reload"
cp $config /tmp/good.toml
echo 'unknown = 1' >> $config
systemctl reload fifo-bridge.service && fail "a reload took a bad configuration"
must "it goes on" active fifo-bridge.service
load 100; arrived 100; exec 8>&-

step "a bad configuration at the start: the pipe is kept, and it heals by itself"
systemctl restart fifo-bridge.service && fail "a bad configuration was taken"
exec 8<>$pipe; for i in 1 2 3; do record $i >&8; done; exec 8>&-
sleep 3
must "the socket is still there" active fifo-bridge.socket
starts=$(journalctl -u fifo-bridge.service | grep --count 'status=78')
[ "$starts" -le 5 ] || fail "started $starts times within seconds"
cp /tmp/good.toml $config
arrived 3
must "reload" systemctl reload fifo-bridge.service

step "stopped and started under load, the socket first"
exec 9<>$pipe   # in place of rsyslogd, which holds the pipe too
load 3000 & loader=$!
sleep 0.2; must "stop" systemctl stop fifo-bridge.socket; must "stop" systemctl stop fifo-bridge.service
for round in 1 2 3 4 5 6 7; do   # more starts than systemd's default limit
    must "start" systemctl start fifo-bridge.service
    must "socket" active fifo-bridge.socket
    must "stop" systemctl stop fifo-bridge.socket; must "stop" systemctl stop fifo-bridge.service
done
must "start" systemctl start fifo-bridge.service
must "socket" active fifo-bridge.socket
wait $loader; arrived 3000; exec 9>&-

step "a write starts it"
must "stop" systemctl stop fifo-bridge.service
exec 8<>$pipe; record 1 >&8; exec 8>&-
arrived 1

step "the watchdog ends a bridge that hangs"
mkdir -p /etc/systemd/system/fifo-bridge.service.d
printf '[Service]\nWatchdogSec=1\n' > /etc/systemd/system/fifo-bridge.service.d/trial.conf
systemctl daemon-reload; must "restart" systemctl restart fifo-bridge.service
sleep 3; same "restarts of a bridge that lives" 0 "$(systemctl show --property=NRestarts --value fifo-bridge.service)"
systemctl kill --signal=STOP --kill-whom=main fifo-bridge.service
restarted() { [ "$(systemctl show --property=NRestarts --value fifo-bridge.service)" -ge 1 ]; }
eventually "the watchdog" restarted

step "a password by credential"
cli config set requirepass secret > /dev/null
cli() { REDISCLI_AUTH=secret redis-cli "$@"; }
(umask 077; echo secret > /etc/fifo-bridge/redis-password)
sed 's/^#LoadCredential=redis-password/LoadCredential=redis-password/' /usr/lib/systemd/system/fifo-bridge.service > /etc/systemd/system/fifo-bridge.service
grep --quiet '^LoadCredential=redis-password:/etc/fifo-bridge/redis-password' /etc/systemd/system/fifo-bridge.service || fail "no credential"
rm -r /etc/systemd/system/fifo-bridge.service.d
systemctl daemon-reload; must "restart" systemctl restart fifo-bridge.service
load 10; arrived 10; exec 8>&-
rm /etc/systemd/system/fifo-bridge.service
cli config set requirepass '' > /dev/null
cli() { redis-cli "$@"; }
systemctl daemon-reload; must "restart" systemctl restart fifo-bridge.service

step "rsyslog, as the README says"
cp /share/root/usr/share/doc/fifo-bridge/examples/rsyslog-conf/central-relp-pipe.conf /etc/rsyslog.d/
must "rsyslogd -N1" rsyslogd -N1
must "rsyslog" systemctl restart rsyslog.service
logger --priority local3.info --tag trial "hello from rsyslog"
said() { cli lrange rsyslog 0 -1 | grep --quiet 'hello from rsyslog'; }
eventually "the record of logger" said
must "rsyslog" systemctl stop rsyslog.service syslog.socket
cli del rsyslog > /dev/null

step "upgraded under load"
load 3000 & loader=$!
sleep 0.3; must "dpkg -i" dpkg --install /share/fifo-bridge.deb
wait $loader; arrived 3000
must "still running" active fifo-bridge.service fifo-bridge.socket

step "removed: what waits stays"
must "dpkg -r" dpkg --remove fifo-bridge
active fifo-bridge.service && fail "it runs although it was removed"
active fifo-bridge.socket && fail "the socket listens although it was removed"
must "spool" test -d /var/lib/fifo-bridge/spool
must "settings" test -f $config
find /etc/systemd/system -name 'fifo-bridge*' | grep . && fail "links were left behind"

step "purged: nothing stays but the user"
must "dpkg -P" dpkg --purge fifo-bridge
for path in /var/lib/fifo-bridge /run/fifo-bridge /etc/fifo-bridge /usr/share/doc/fifo-bridge /usr/sbin/fifo-bridge; do
    [ ! -e $path ] || fail "$path was left behind"
done

echo "everything holds"
