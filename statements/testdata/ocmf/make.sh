#!/bin/sh
# Makes the signed records of this folder with openssl: a session of two records on each curve.
# Each run makes new keys, so the records differ; the tests hold for any run.
#
# A file has lines "key HEX" (DER, SubjectPublicKeyInfo) and "record OCMF|...|...".
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }

session() { # curve, name in OCMF, SE
    out="$2.txt"
    openssl ecparam -name "$1" -genkey -noout -out "$work/key.pem"
    openssl ec -in "$work/key.pem" -pubout -outform DER -out "$work/pub.der" 2>/dev/null
    echo "# Two records of a session, signed on $2 by openssl." >"$out"
    echo "key $(hex "$work/pub.der")" >>"$out"
    page=41
    for reading in \
        '{"TM":"2026-03-28T23:30:00,000+0100 S","TX":"B","RV":2935.60,"RI":"1-b:1.8.0","RU":"kWh","RT":"AC","EF":"","ST":"G"}' \
        '{"TM":"2026-03-29T03:15:30,000+0200 S","TX":"E","RV":2965.101,"RI":"1-b:1.8.0","RU":"kWh","RT":"AC","EF":"","ST":"G"}'
    do
        page=$((page + 1))
        printf '{"FV":"1.0","GI":"NX","GS":"808829900001","PG":"T%s","MS":"BQ27400330016","IS":true,"IL":"HEARSAY","IF":["RFID_PLAIN"],"IT":"ISO14443","ID":"1F2D3A4F5506C7","RD":[%s]}' \
            "$page" "$reading" >"$work/payload"
        openssl dgst -sha256 -sign "$work/key.pem" -out "$work/sig.der" "$work/payload"
        if [ "$3" = base64 ]; then
            sig="\"SA\":\"ECDSA-$2-SHA256\",\"SE\":\"base64\",\"SD\":\"$(openssl base64 -A -in "$work/sig.der")\""
        else
            sig="\"SA\":\"ECDSA-$2-SHA256\",\"SD\":\"$(hex "$work/sig.der")\""
        fi
        echo "record OCMF|$(cat "$work/payload")|{$sig}" >>"$out"
    done
}

session prime256v1 secp256r1 hex
session secp384r1 secp384r1 base64
session secp256k1 secp256k1 hex
session brainpoolP256r1 brainpool256r1 hex
