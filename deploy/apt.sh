#!/bin/sh
# apt.sh ARGUMENTS...: apt-get ARGUMENTS in an image's build, by APT_MIRROR and APT_SECURITY_MIRROR where they are set.
# An own CA of the network, for what is fetched here, is /run/ca.crt: it is in no layer.
set -eu

# from_mirror ARCHIVE MIRROR: in whichever of its two forms an image has its sources.
from_mirror() {
    mirror=$(printf '%s' "${2%/}" | sed 's/[&,\\]/\\&/g')
    [ -z "$mirror" ] || find /etc/apt -name '*.list' -o -name '*.sources' |
        xargs --no-run-if-empty sed -E -i "s,https?://(deb|security)\\.debian\\.org/$1/?([[:space:]]|\$),$mirror\\2,"
}

packages=${APT_MIRROR:-}
packages=${packages%/}
security=${APT_SECURITY_MIRROR:-}
# Beside it, as the settings have it, unless it is said.
case $packages in */debian) security=${security:-$packages-security} ;; esac
from_mirror debian "$packages"
from_mirror debian-security "$security"
cat > /run/apt.conf << END
Acquire::https::CaInfo "/run/ca.crt";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
END
export APT_CONFIG=/run/apt.conf DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get --yes --no-install-recommends "$@"
rm -rf /var/lib/apt/lists/* /run/apt.conf
