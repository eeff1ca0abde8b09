#!/bin/sh
# make-test-certificates.sh: a CA and certificates to try remote-relp-tls.conf and central-relp-tls.conf with. Needs openssl.
#
#     sh make-test-certificates.sh FOLDER NAME...
#     sh make-test-certificates.sh /etc/rsyslog-tls central.example.com web1.example.com
#
# makes in FOLDER, unless they are there already:
#     ca.pem, ca-key.pem          the CA. Whoever has ca-key.pem can make a certificate that everybody here believes: keep it
#                                 off the servers. Hosts get ca.pem only.
#     NAME-cert.pem, NAME-key.pem for each NAME: what goes to that host, with ca.pem. The name stands in it as subjectAltName,
#                                 which is what rsyslog compares with tls.permittedPeer.
#
# For tests and for small sites; where there is a PKI, its certificates do as well (PEM, with subjectAltName, good for client and
# server). They last DAYS days, 825 unless the variable says otherwise. A key is readable by its owner only: rsyslogd reads
# it as root at its start.
set -eu
if [ $# -lt 2 ]; then
    echo "usage: $0 FOLDER NAME..." >&2
    exit 64
fi
folder=$1
shift
days=${DAYS:-825}
umask 077
mkdir -p "$folder"
chmod 755 "$folder"
cd "$folder"

# Elliptic curves: both TLS libraries of librelp take them, and a handshake costs less than with RSA.
key() {
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

if [ ! -e ca.pem ]; then
    key ca-key.pem
    openssl req -x509 -new -key ca-key.pem -days "$days" -subj "/CN=rsyslog test CA" -out ca.pem \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
    chmod 644 ca.pem
fi
for name; do
    [ ! -e "$name-cert.pem" ] || continue
    key "$name-key.pem"
    openssl req -new -key "$name-key.pem" -subj "/CN=$name" -out "$name.csr"
    printf 'subjectAltName=DNS:%s\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n' \
        "$name" > "$name.ext"
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days "$days" -extfile "$name.ext" \
        -out "$name-cert.pem" 2>/dev/null
    chmod 644 "$name-cert.pem"
    rm "$name.csr" "$name.ext"
done
