#!/bin/sh
# How every container of the deployment starts: secrets from files, then the command as the user fimg, with the settings
# of /etc/fimg/.env in its environment.
set -eu

for file in /run/secrets/*; do
    name=${file##*/}
    case $name in
    '*' | *[!A-Z0-9_]* | [0-9]*) continue ;; # no variable's name: a README, an editor's copy
    esac
    export "$name=$(cat "$file")"
done

groups=$(id -g fimg)
if [ -S /var/run/docker.sock ]; then groups="$groups,$(stat -c %g /var/run/docker.sock)"; fi
# Docker makes what is mounted and not there as root's.
for folder in "$DAGSTER_HOME" "$FIMG_HOME" "$BUNDLE_DIR"; do
    if [ "$(stat -c %u "$folder")" -eq 0 ]; then chown fimg: "$folder"; fi
done
# ssh takes keys from their owner alone.
if [ -d files/ssh ]; then
    rm -rf /home/fimg/.ssh && cp -r files/ssh /home/fimg/.ssh
    chown -R fimg: /home/fimg/.ssh && chmod -R go= /home/fimg/.ssh
fi
# Nor can everybody read the key to an engine. Here docker's client looks for them unless DOCKER_CERT_PATH says otherwise.
for file in files/tls/*.pem; do
    if [ ! -e "$file" ]; then continue; fi
    install -D --owner fimg --group fimg --mode 400 "$file" "/home/fimg/.docker/${file##*/}"
done
# Then in another folder: in that of .env Dagster would let the file win over what is set here.
exec setpriv --reuid fimg --regid fimg --groups "$groups" -- \
    fimg exec -- sh -c 'cd "$FIMG_HOME" && exec "$@"' sh "$@"
