#!/bin/sh
trap 'echo "load.sh is cut off: carry it here again" >&2; exit 1' EXIT
# Loads the images of this folder into a Docker engine: verifies the files, loads them, verifies what was loaded.
#
#   sh load.sh             every bundle of the folder
#   sh load.sh fate        this one
#
# DOCKER is the client, "docker" unless it is set (DOCKER="sudo docker"). Nothing but a POSIX shell and Docker 18 or later
# is needed. Ends with 0 when every image is there as it was saved, with 1 when not, and says why.
set -eu

content() {
    cat << 'END_OF_CONTENT'
@CONTENT@
END_OF_CONTENT
}

say() { printf '%s\n' "$*"; }

die() {
    printf 'load.sh: %s\n' "$*" >&2
    exit 1
}

docker() { command ${DOCKER:-docker} "$@"; }

# of KIND BUNDLE: the lines of that kind, without kind and bundle.
of() { content | sed -n "s/^$1 $2 //p"; }

sums() {
    if command -v sha256sum > /dev/null; then
        sha256sum "$@"
    elif command -v shasum > /dev/null; then
        shasum -a 256 "$@"
    else
        die "neither sha256sum nor shasum is here to verify the files with"
    fi
}

# verify FILE: it is here and what SHA256SUMS says.
verify() {
    [ -f "$1" ] || die "$1 is missing: carry the whole folder"
    wanted=$(sed -n "s/  $1\$//p" SHA256SUMS)
    [ -n "$wanted" ] || die "SHA256SUMS does not know $1"
    found=$(sums "$1")
    [ "${found%% *}" = "$wanted" ] ||
        die "$1 is damaged: its SHA-256 is ${found%% *}, not $wanted; carry it here again"
}

# has_layers CHAIN: does an image of the engine begin with these layers?
has_layers() {
    printf '%s\n' "$on_engine" | awk -v wanted="$1 " 'index($0, wanted) == 1 { found = 1 } END { exit !found }'
}

check_base() {
    [ -n "$(of needs "$1")" ] || return 0
    case $(docker info --format '{{.DriverStatus}}') in
        *io.containerd.snapshotter*)
            die "this bundle leaves out layers, and this engine keeps its images in containerd, which can't load such" ;;
    esac
    ids=$(docker image ls --quiet --no-trunc) || die "the engine does not list its images (see above)"
    ids=$(say "$ids" | sort -u)
    on_engine=
    # shellcheck disable=SC2086  # one argument for each
    [ -z "$ids" ] || on_engine=$(docker image inspect --format '{{range .RootFS.Layers}}{{.}} {{end}}' $ids)
    missing=$(of needs "$1" | while read -r base layers; do has_layers "$layers" || say "  $base"; done | sort -u)
    [ -z "$missing" ] || {
        printf 'load.sh: %s.images leaves out what is on this engine once %s is loaded, and these are not there:\n%s\n' \
            "$1" "$(of since "$1")" "$missing" >&2
        exit 1
    }
}

load() {
    of file "$1" | {
        set --
        while read -r file; do set -- "$@" "$file"; done
        cat "$@"
    } | docker load
}

# as_saved REFERENCE ID LAYERS: is the image there, and the one that was saved?
as_saved() {
    found=$(docker image inspect --format '{{.Id}}' "$1" 2> /dev/null) || return 1
    [ "$found" != "$2" ] || return 0
    # An engine that keeps its images in containerd names them by something else.
    [ "$(docker image inspect --format '{{range .RootFS.Layers}}{{.}} {{end}}' "$1")" = "$3 " ] &&
        case $(docker info --format '{{.DriverStatus}}') in *io.containerd.snapshotter*) true ;; *) false ;; esac
}

check_images() {
    wrong=$(of image "$1" | while read -r reference id layers; do
        # A client that reads its input (ssh, exec -i) must not read the list.
        as_saved "$reference" "$id" "$layers" < /dev/null || say "  $reference ($id)"
    done)
    [ -z "$wrong" ] || {
        printf 'load.sh: loaded, but these images are not there as they were saved:\n%s\n' "$wrong" >&2
        exit 1
    }
}

main() {
    cd "$(dirname "$0")"
    [ -f SHA256SUMS ] || die "SHA256SUMS is missing: carry the whole folder"
    known=$(content | sed -n 's/^bundle //p')
    [ $# -gt 0 ] || {
        # shellcheck disable=SC2086  # one argument for each
        set -- $known
    }
    for bundle in "$@"; do
        say "$known" | grep -Fqx -e "$bundle" || die "there is no bundle '$bundle' here, but: $(say "$known" | tr '\n' ' ')"
    done
    docker version > /dev/null || die "no Docker engine answers (see above); DOCKER=\"sudo docker\" may help"
    architecture=$(docker version --format '{{.Server.Arch}}')
    platform=$(content | sed -n 's/^platform //p')
    [ "$architecture" = "$platform" ] || say "note: these images are for $platform, and this engine runs on $architecture"

    # All of it before anything is loaded.
    for bundle in "$@"; do
        say "verifying $bundle"
        for file in $(of file "$bundle") images.lock.json; do verify "$file"; done
        check_base "$bundle"
    done
    for bundle in "$@"; do
        say "loading $bundle"
        load "$bundle" || die "docker load failed (see above)"
        check_images "$bundle"
        say "$bundle: $(of image "$bundle" | wc -l | tr -d ' ') images loaded and verified"
    done
}

trap - EXIT; main "$@"
