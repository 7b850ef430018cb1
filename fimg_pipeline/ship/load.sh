#!/bin/sh
{
# Loads the images of this folder into a Docker engine: verifies the files, loads them, verifies what was loaded.
#
#   sh load.sh             every bundle of the folder
#   sh load.sh fate        this one
#
# DOCKER is the client, "docker" unless it is set (DOCKER="sudo docker"). Nothing but a POSIX shell and Docker 18 or later
# is needed. Ends with 0 when every image is there as it was saved, with 1 when not, and says why.
#
# All of it stands in braces: a shell that finds no end of them runs nothing and fails.
set -eu
unset CDPATH

content='
@CONTENT@
'

say() { printf '%s\n' "$*"; }

die() {
    printf 'load.sh: %s\n' "$*" >&2
    exit 1
}

docker() { command ${DOCKER:-docker} "$@"; }

# all KIND: the lines of that kind, without it. of KIND BUNDLE: those of a bundle, without both.
all() { say "$content" | sed -n "s/^$1 //p"; }
of() { all "$1" | sed -n "s/^$2 //p"; }

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
    [ ${#wanted} -eq 64 ] || die "SHA256SUMS has no line for $1 as it was written: carry it here again"
    found=$(sums "$1")
    [ "${found%% *}" = "$wanted" ] ||
        die "$1 is damaged: its SHA-256 is ${found%% *}, not $wanted; carry it here again"
}

# has_layers CHAIN: does an image of the engine begin with these layers?
has_layers() {
    printf '%s\n' "$on_engine" | awk -v wanted="$1 " 'index($0, wanted) == 1 { found = 1 } END { exit !found }'
}

# lacking BUNDLE: what it stands on and the engine has not.
lacking() {
    if [ -n "$(of needs "$1")" ]; then
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
            say "$1.images leaves out what is on this engine once $(of since "$1") is loaded, and these are not there:"
            say "$missing"
        }
    fi
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
    found=$(docker image inspect --format '{{.Id}}' "$1" 2> /dev/null) || found=
    [ "$found" = "$2" ] || has_same_layers "$1" "$3"
}

# An engine that keeps its images in containerd names them by something else.
has_same_layers() {
    found=$(docker image inspect --format '{{range .RootFS.Layers}}{{.}} {{end}}' "$1" 2> /dev/null) || found=
    [ "$found" = "$2 " ] &&
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
    case $0 in */*) cd -- "${0%/*}/" ;; esac
    [ -f SHA256SUMS ] || die "SHA256SUMS is missing: carry the whole folder, and run load.sh in it"
    verify load.sh
    verify images.lock.json
    known=$(all bundle)
    unsaved=
    [ $# -gt 0 ] || {
        # shellcheck disable=SC2086  # one argument for each
        set -- $known
        unsaved=$(all unsaved)
    }
    [ $# -gt 0 ] || die "there is no bundle here: carry the folder here again"
    for bundle in "$@"; do
        # shellcheck disable=SC2086  # on one line
        say "$known" | grep -Fqx -e "$bundle" || die "there is no bundle '$bundle' here, but:" $known
        [ -n "$(of file "$bundle")" ] && [ -n "$(of image "$bundle")" ] || die "nothing is known of bundle '$bundle'"
    done
    docker version > /dev/null || die "no Docker engine answers (see above); DOCKER=\"sudo docker\" may help"
    architecture=$(docker version --format '{{.Server.Arch}}')
    platform=$(all platform)
    [ "$architecture" = "$platform" ] || say "note: these images are for $platform, and this engine runs on $architecture"

    # All of it before anything is loaded.
    lacking=
    for bundle in "$@"; do
        say "verifying $bundle"
        for file in $(of file "$bundle"); do verify "$file"; done
        found=$(lacking "$bundle")
        [ -z "$found" ] || lacking="$lacking
$found"
    done
    [ -z "$lacking" ] || die "it can't be loaded here:$lacking"
    for bundle in "$@"; do
        say "loading $bundle"
        load "$bundle" || die "docker load failed (see above)"
        check_images "$bundle"
        say "$bundle: $(of image "$bundle" | sed -n '$=') images loaded and verified"
    done
    # shellcheck disable=SC2086  # on one line
    [ -z "$unsaved" ] || die "what there was is loaded, but fimg save has not finished this folder; it lacks:" $unsaved
}

main "$@"
exit
}
