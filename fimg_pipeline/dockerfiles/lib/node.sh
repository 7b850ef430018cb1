# shellcheck shell=sh
# Sourced instead of build.sh by RUN steps that use Node.js.

. /run/fimg/build.sh

# node_install FOLDER: Node.js 16 and npm from the npm registry (needs curl); FATE-Board's tools want that version.
node_install() {
    fimg_registry=${NPM_CONFIG_REGISTRY:-https://registry.npmjs.org}
    fimg_registry=${fimg_registry%/}
    case $(uname -m) in
        x86_64) fimg_cpu=x64 fimg_sum=beac4ccc5765fdb13c04e944c12ea385a96491d73505565c06e79413097571a0 ;;
        aarch64) fimg_cpu=arm64 fimg_sum=dc0829dfc4cfc8f6cbeced1b226f26a4531990e2cce465f5e65da2f8432426c7 ;;
        *) die "no Node.js for $(uname -m) is known here" ;;
    esac
    fetch "$fimg_registry/node-linux-$fimg_cpu/-/node-linux-$fimg_cpu-16.20.2.tgz" "$fimg_sum" /run/tmp/node.tgz
    fetch "$fimg_registry/npm/-/npm-8.19.4.tgz" \
        2667a1b8300f315d223e43c307fbe946eb8b97792af399424ef67ea9cb0a72f6 /run/tmp/npm.tgz
    mkdir -p "$1/bin" "$1/lib/npm"
    tar -xzf /run/tmp/node.tgz -C "$1" --strip-components=1 --no-same-owner
    tar -xzf /run/tmp/npm.tgz -C "$1/lib/npm" --strip-components=1 --no-same-owner
    chmod 755 "$1/bin/node" "$1/lib/npm/bin/npm-cli.js"
    ln -sf ../lib/npm/bin/npm-cli.js "$1/bin/npm"
}

# node_use FOLDER: makes `node` and `npm` those of node_install, with the settings of the build.
node_use() {
    export PATH="$1/bin:$PATH" npm_config_cache=/run/cache/npm npm_config_update_notifier=false
    export npm_config_fund=false npm_config_audit=false npm_config_fetch_retries=4
}
