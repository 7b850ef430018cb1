# shellcheck shell=sh
# compile_graph SOURCE FOLDER: wheels of what FATE's requirements-graph-nn.txt (in SOURCE) names and what is compiled
# against torch: in FOLDER/cpu against the torch of the images for the CPU, in FOLDER/cuda against that of those for
# CUDA. They are empty where PYG_FIND_LINKS says who has builds.

compile_graph() {
    mkdir -p "$2/cpu" "$2/cuda"
    if index_enabled pyg PYG_FIND_LINKS; then
        say "nothing is compiled: PYG_FIND_LINKS names builds"
        return 0
    fi
    fimg_before=
    for fimg_kind in cpu cuda; do
        python_indexes "$fimg_kind"
        python_adapt "$1/requirements.txt" "$1/requirements-graph-nn.txt"
        grep --extended-regexp "^($(echo "$FIMG_ON_TORCH" | tr ' ' '|'))[^a-z-]" /run/tmp/requirements.in \
            > /run/tmp/on-torch || return 0
        ! grep --invert-match '==' /run/tmp/on-torch || die "FATE does not say which version it is, so it can't be compiled"
        fimg_torch=$(sed -n 's/^torch==//p' /run/tmp/requirements.in)
        [ -n "$fimg_torch" ] || die "FATE's requirements pin no torch to compile against"
        if [ "$fimg_torch" = "$fimg_before" ]; then
            # The same torch, the same wheels.
            rmdir "$2/cuda"
            ln -s cpu "$2/cuda"
            return 0
        fi
        fimg_before=$fimg_torch
        compile_against "$fimg_torch" "$2/$fimg_kind"
    done
}

# compile_against VERSION FOLDER: wheels of the packages in /run/tmp/on-torch for that torch.
compile_against() {
    rm -rf /environment
    python_create /environment
    uv pip install --quiet --python /environment/bin/python "torch==$1"
    # Each package is a dozen extensions: the compiler takes one after the other unless it is told.
    printf '[build_ext]\nparallel = %s\n' "$(nproc)" > "$HOME/.pydistutils.cfg"
    export PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:-} ${PYTORCH_INDEX_URL:+${PYTORCH_INDEX_URL%/}/$fimg_flavour}"
    say "compiling against torch $1: $(tr '\n' ' ' < /run/tmp/on-torch)"
    /environment/bin/python -m pip wheel --quiet --disable-pip-version-check --no-cache-dir --no-deps \
        --no-build-isolation --wheel-dir "$2" --requirement /run/tmp/on-torch
    rm -rf /environment
}
