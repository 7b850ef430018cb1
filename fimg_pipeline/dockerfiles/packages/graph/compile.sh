# shellcheck shell=sh
# compile_graph SOURCE FOLDER: wheels of what FATE's requirements (in SOURCE) name and what is compiled against torch
# (requirements.py says which that is): in FOLDER/cpu against the torch of the images for the CPU, in FOLDER/cuda against
# that of those for CUDA. They are empty where there is no such thing, or PYG_FIND_LINKS says who has builds.

compile_graph() {
    mkdir -p "$2/cpu" "$2/cuda"
    # The second torch is known to be there before a quarter of an hour goes into the first. By itself: which indexes uv
    # knows is the next one's again afterwards.
    (find_torch cuda "$1")
    fimg_before=
    for fimg_kind in cpu cuda; do
        python_indexes "$fimg_kind"
        python_adapt "$1/requirements.txt" "$1/requirements-graph-nn.txt"
        if [ ! -s /run/tmp/compiled ]; then
            say "nothing is compiled: FATE names nothing that is, or PYG_FIND_LINKS who has builds"
            # That these are there is known now, not when the first image wants them.
            uv pip compile --quiet --no-deps --python "$(command -v python3)" /run/tmp/requirements.in \
                > /run/tmp/found 2> /run/tmp/why ||
                die "FATE's requirements can't be had from $fimg_sources: $(cat /run/tmp/why)"
            continue
        fi
        ! grep --invert-match '==' /run/tmp/compiled || die "FATE does not say which version, so it can't be compiled"
        fimg_torch=$(torch_version)
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

# find_torch VARIANT SOURCE: the torch that FATE's requirements pin for VARIANT is in one of the indexes, or an error.
find_torch() {
    python_indexes "$1"
    python_adapt "$2/requirements.txt" "$2/requirements-graph-nn.txt"
    fimg_torch=$(torch_version)
    [ -n "$fimg_torch" ] && [ -s /run/tmp/compiled ] || return 0
    echo "torch==$fimg_torch" > /run/tmp/torch.in
    uv pip compile --quiet --no-deps --python "$(command -v python3)" /run/tmp/torch.in > /run/tmp/found 2> /run/tmp/why ||
        die "torch $fimg_torch can't be had from $fimg_sources: $(cat /run/tmp/why)"
}

torch_version() { sed -n 's/^[Tt]orch==\([^; ]*\).*/\1/p' /run/tmp/requirements.in; }

# compile_against VERSION FOLDER: wheels of what /run/tmp/compiled names, for that torch.
compile_against() {
    rm -rf /environment
    python_create /environment
    uv pip install --quiet --python /environment/bin/python "torch==$1" 2> /run/tmp/why ||
        die "torch $1 can't be had from $fimg_sources: $(cat /run/tmp/why)"
    # Each package is a dozen extensions: the compiler takes one after the other unless it is told.
    printf '[build_ext]\nparallel = %s\n' "$(nproc)" > "$HOME/.pydistutils.cfg"
    export PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:-} ${PYTORCH_INDEX_URL:+${PYTORCH_INDEX_URL%/}/$fimg_flavour}"
    say "compiling against torch $1: $(tr '\n' ' ' < /run/tmp/compiled)"
    /environment/bin/python -m pip wheel --quiet --disable-pip-version-check --no-cache-dir --no-deps \
        --no-build-isolation --wheel-dir "$2" --requirement /run/tmp/compiled ||
        die "what is compiled against torch can't be had from $fimg_sources, or not compiled (see above)"
    rm -rf /environment
}
