#!/bin/sh
# entrypoint.sh PORT REGISTRY: the registry is on PORT of loopback here too, so that it has one name for both engines.
set -eu
socat "TCP-LISTEN:$1,bind=127.0.0.1,fork,reuseaddr" "TCP:$2" &
mkdir -p /run/sshd
/usr/sbin/sshd
exec dockerd --host=unix:///var/run/docker.sock --host=tcp://0.0.0.0:2376 --bip=172.31.250.1/24 \
  --tlsverify --tlscacert=/tls/ca.pem --tlscert=/tls/cert.pem --tlskey=/tls/key.pem
