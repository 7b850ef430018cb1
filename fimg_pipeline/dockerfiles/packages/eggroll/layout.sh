# shellcheck shell=sh
# layout SOURCE TARGET: what a built checkout of eggroll leaves behind, in the folders its programs expect.

layout() {
    mkdir -p "$2/lib"
    for module in core roll_pair roll_site; do
        jar=
        for candidate in "$1/jvm/$module/target/"eggroll-*.jar; do
            case "$candidate" in
                *-sources.jar | *-tests.jar | *-javadoc.jar) ;;
                *) [ ! -f "$candidate" ] || jar=$candidate ;;
            esac
        done
        [ -n "$jar" ] || die "eggroll: jvm/$module/target has no eggroll-*.jar after the build"
        cp "$jar" "$2/lib/"
        cp "$1/jvm/$module/target/lib/"*.jar "$2/lib/"
    done
    for folder in bin conf data python deploy; do
        [ -d "$1/$folder" ] || die "eggroll: the checkout has no folder $folder"
        cp -R "$1/$folder" "$2/"
    done
    tables="$1/jvm/core/main/resources/create-eggroll-meta-tables.sql"
    if [ -f "$tables" ]; then
        cp "$tables" "$2/conf/"
    fi
}
