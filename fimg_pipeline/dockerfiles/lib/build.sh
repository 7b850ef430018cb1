# shellcheck shell=sh
# Sourced by every RUN step that installs something:
#
#   RUN --mount=type=tmpfs,target=/run --mount=type=bind,source=lib/build.sh,target=/run/fimg/build.sh \
#       --mount=type=secret,id=ca --mount=type=secret,id=network \
#       --mount=type=cache,id=fimg-apt,target=/run/cache/apt,sharing=private \
#       . /run/fimg/build.sh; \
#       apt_install curl; \
#       ln -s ...
#
# The commands of such a step are separated by semicolons: this file sets -e, which `&&` would switch off within the
# functions to its left, so that their failures went unnoticed.
#
# /run is a tmpfs of the step, so whatever is written below it (caches, temporary files, mount points, settings that
# carry credentials) never reaches a layer. README.md beside this folder lists the functions and the settings.

set -eu
umask 022

FIMG_EPOCH=315619200
FIMG_MARK=/run/fimg-started

mkdir -p /run/tmp /run/home /run/cache
chmod 1777 /run/tmp
: > "$FIMG_MARK"
# File times tick every few milliseconds: what follows must be newer than the mark, not as old as it.
sleep 0.02

export TMPDIR=/run/tmp HOME=/run/home LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
# By their plain names: /usr/bin/cc is a link by way of /etc, which a step that borrows /usr does not have.
export CC=gcc CXX=g++
export PYTHONDONTWRITEBYTECODE=1 SOURCE_DATE_EPOCH="$FIMG_EPOCH"

say() { printf 'fimg: %s\n' "$*"; }

die() {
    printf 'fimg: error: %s\n' "$*" >&2
    exit 1
}

# ---------------------------------------------------------------------------------------------- network settings

if [ -f /run/secrets/network ]; then
    . /run/secrets/network
fi
# Programs disagree about the case of these names.
for fimg_name in http_proxy https_proxy no_proxy; do
    fimg_upper=$(printf %s "$fimg_name" | tr '[:lower:]' '[:upper:]')
    eval "fimg_value=\${$fimg_name:-\${$fimg_upper:-}}"
    [ -z "$fimg_value" ] || export "$fimg_name=$fimg_value" "$fimg_upper=$fimg_value"
done
if [ -s /run/secrets/ca ]; then
    export SSL_CERT_FILE=/run/secrets/ca CURL_CA_BUNDLE=/run/secrets/ca GIT_SSL_CAINFO=/run/secrets/ca
    export PIP_CERT=/run/secrets/ca REQUESTS_CA_BUNDLE=/run/secrets/ca
    export NODE_EXTRA_CA_CERTS=/run/secrets/ca npm_config_cafile=/run/secrets/ca
fi

# index_enabled NAME VARIABLE: is the optional index NAME to be used, which VARIABLE says the place of? EXTRA_INDEXES lists
# the names, which makes them part of what a build depends on; the variable, which may hold a password, comes with the
# secret, and also where nothing depends on it.
index_enabled() {
    case " ${EXTRA_INDEXES:-} " in
        *" $1 "*) ;;
        *) return 1 ;;
    esac
    eval "fimg_value=\${$2:-}"
    [ -n "$fimg_value" ] || die "index '$1' is asked for (EXTRA_INDEXES), but $2 is not set"
}

# ---------------------------------------------------------------------------------------------- Debian packages

apt_configure() {
    mkdir -p /run/cache/apt/archives/partial /run/cache/apt/lists/partial
    {
        echo 'Dir::Cache "/run/cache/apt";'
        echo 'Dir::Cache::archives "archives";'
        echo 'Dir::State::lists "/run/cache/apt/lists";'
        echo 'Dir::Log "/run/tmp";'
        echo 'APT::Install-Recommends "false";'
        echo 'APT::Keep-Downloaded-Packages "true";'
        echo 'APT::Sandbox::User "root";'
        echo 'APT::Update::Error-Mode "any";'
        echo 'Acquire::Retries "3";'
        echo 'Acquire::Languages "none";'
        echo 'Dpkg::Use-Pty "false";'
        echo 'Dpkg::Options { "--force-confold"; };'
        if [ -s /run/secrets/ca ]; then
            echo 'Acquire::https::CaInfo "/run/secrets/ca";'
        fi
        echo 'Dir::Etc::sourceparts "/run/sources.d";'
        if [ -n "${APT_MIRROR:-}${APT_SECURITY_MIRROR:-}" ]; then
            echo 'Dir::Etc::sourcelist "/run/sources.list";'
        fi
    } > /run/apt.conf
    mkdir -p /run/sources.d
    if [ -n "${APT_MIRROR:-}${APT_SECURITY_MIRROR:-}" ]; then
        fimg_release=$(. /etc/os-release && echo "$VERSION_CODENAME")
        fimg_key='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
        fimg_mirror=${APT_MIRROR:-http://deb.debian.org/debian}
        fimg_security=${APT_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
        {
            echo "deb $fimg_key ${fimg_mirror%/} $fimg_release main"
            echo "deb $fimg_key ${fimg_mirror%/} $fimg_release-updates main"
            # Where the image itself has none, there are none any more.
            if grep -rqs '^[^#]*-security' /etc/apt/sources.list /etc/apt/sources.list.d; then
                echo "deb $fimg_key ${fimg_security%/} $fimg_release-security main"
            fi
        } > /run/sources.list
    elif [ -d /etc/apt/sources.list.d ]; then
        cp -r /etc/apt/sources.list.d/. /run/sources.d
    fi
    export APT_CONFIG=/run/apt.conf
}

# apt_source LINE: one more source for the apt_install of this step; it may carry credentials.
apt_source() {
    mkdir -p /run/sources.d
    printf '%s\n' "$1" >> /run/sources.d/fimg.list
}

# apt_install PACKAGE...: nothing but the packages stays in the layer (no lists, archives or logs).
apt_install() {
    apt_configure
    apt-get update -q || die "apt: the package lists can't be fetched (APT_MIRROR names a mirror)"
    # Slim images lack it, and the JDK packages put links there.
    mkdir -p /usr/share/man/man1
    apt-get install -q -y "$@"
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig /var/cache/debconf/*-old \
        /var/lib/dpkg/*-old /tmp/hsperfdata_* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
}

# fetch URL SHA256 FILE: a download that is what it should be, or an error.
fetch() {
    curl --retry 4 --fail --silent --show-error --location --output "$3" "$1"
    echo "$2  $3" | sha256sum --check --status || die "$1 is not the file expected (SHA-256 $2)"
}

# ---------------------------------------------------------------------------------------------- layers that repeat

# settle PATH...: gives everything this step created or changed below PATH one fixed time. The same files on two
# parents are then the same layer, which is stored and shipped once.
settle() {
    find "$@" -cnewer "$FIMG_MARK" -print0 | xargs -0 -r touch --no-dereference --date="@$FIMG_EPOCH"
}
