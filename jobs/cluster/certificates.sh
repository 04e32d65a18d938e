#!/bin/sh
# Certificates for a driver and its workers: an authority of their own, and one certificate for each
# side. Whoever holds one of these keys can have any work done by the workers.
#
# usage: certificates.sh FOLDER [NAME...]
#
# Each NAME is a host name or an address by which the workers are called. The first one goes into
# --tls-name (or tls_name of the job file): one name for all workers. Without one it is lookback-workers.
#
# Called again it keeps the authority and makes both certificates again: do so before they expire. After
# a key was lost begin with another folder, for the certificates of an authority cannot be called back.
set -eu
folder=${1:?usage: certificates.sh FOLDER [NAME...]}
shift
[ $# -gt 0 ] || set -- lookback-workers
days=${LOOKBACK_DAYS:-365} # for which the two certificates are valid; the authority's is for ten years

umask 077
mkdir -p "$folder"
cd "$folder"

names=
for name in "$@"; do
    case $name in
    *:*) kind=IP ;;
    *[!0-9.]*) kind=DNS ;;
    *) kind=IP ;;
    esac
    names=${names:+$names,}$kind:$name
done

key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

if [ ! -e ca.key ]; then
    key ca.key
    openssl req -new -x509 -key ca.key -sha256 -days 3650 -subj "/CN=lookback authority" -out ca.pem \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign"
fi

# A worker also calls other workers, so its certificate serves both sides.
for who in driver worker; do
    case $who in
    driver) usage=clientAuth alt= ;;
    worker) usage=serverAuth,clientAuth alt=subjectAltName=$names ;;
    esac
    key "$who.key"
    openssl req -new -key "$who.key" -subj "/CN=lookback $who" -out "$who.csr"
    printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" \
        "extendedKeyUsage=$usage" "$alt" >"$who.ext"
    openssl x509 -req -in "$who.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days "$days" \
        -extfile "$who.ext" -out "$who.pem" 2>/dev/null
    openssl verify -CAfile ca.pem "$who.pem" >/dev/null
    rm "$who.csr" "$who.ext"
done

echo "made in $PWD, valid for $days days, for workers called $*:"
echo "  driver: ca.pem driver.pem driver.key"
echo "  worker: ca.pem worker.pem worker.key"
echo "keep ca.key apart from both: it makes more of them"
