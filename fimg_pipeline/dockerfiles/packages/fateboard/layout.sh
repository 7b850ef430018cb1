# shellcheck shell=sh
# layout SOURCE TARGET: what a built checkout of FATE-Board leaves behind, in the folders its program expects.

layout() {
    jar=
    for candidate in "$1/target/"fateboard-*.jar; do
        case "$candidate" in
            *-sources.jar | *-tests.jar | *-javadoc.jar) ;;
            *) [ ! -f "$candidate" ] || jar=$candidate ;;
        esac
    done
    [ -n "$jar" ] || die "fateboard: target/ has no fateboard-*.jar after the build"
    mkdir -p "$2/conf" "$2/ssh"
    cp "$jar" "$2/"
    ln -s "$(basename "$jar")" "$2/fateboard.jar"
    install -m 755 "$1/bin/service.sh" "$2/service.sh"
    cp "$1/src/main/resources/application.properties" "$2/conf/"
    if [ -f "$1/src/main/resources/ssh.properties" ]; then
        cp "$1/src/main/resources/ssh.properties" "$2/ssh/"
    else
        : > "$2/ssh/ssh.properties"
    fi
}
