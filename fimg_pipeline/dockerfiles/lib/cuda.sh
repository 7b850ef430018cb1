# shellcheck shell=sh
# Sourced instead of build.sh by RUN steps that have to do with NVIDIA's CUDA 11.7 toolkit (PyTorch 1.13.1 was built
# with that one). CUDA_APT_REPOSITORY, the optional index 'cuda', is the apt source it is on: URL SUITE [COMPONENT...];
# NVIDIA's for Debian 11 has that version.

. /run/fimg/build.sh

CUDA_PACKAGES='cuda-compiler-11-7 cuda-cudart-dev-11-7 libcublas-dev-11-7 libcurand-dev-11-7 libcusolver-dev-11-7
    libcusparse-dev-11-7'

# cuda_find: when the index is configured, the source in the settings of this step; an error that names the setting when
# the toolkit is not there.
cuda_find() {
    index_enabled cuda CUDA_APT_REPOSITORY || return 0
    # Debian has no key for it; the transport vouches for a host that was named on purpose.
    apt_source "deb [trusted=yes] $CUDA_APT_REPOSITORY"
    apt_configure
    apt-get update -q -o Dir::Etc::sourcelist=/run/sources.d/fimg.list -o Dir::Etc::sourceparts=/dev/null \
        -o APT::Get::List-Cleanup=false > /run/tmp/why 2>&1 ||
        die "CUDA_APT_REPOSITORY can't be read as an apt source: $(sed -n '/^E: /{p;q}' /run/tmp/why)"
    for cuda_package in $CUDA_PACKAGES; do
        apt-cache show "$cuda_package" > /run/tmp/why 2>&1 ||
            die "the apt source that CUDA_APT_REPOSITORY names has no $cuda_package"
    done
}

# cuda_install: the toolkit and the compiler it works with, when the index is configured.
cuda_install() {
    if ! index_enabled cuda CUDA_APT_REPOSITORY; then
        say "no CUDA toolkit: CUDA_APT_REPOSITORY is not configured, so DeepSpeed can't compile operations of its own"
        return 0
    fi
    cuda_find
    # shellcheck disable=SC2086  # one argument for each
    apt_install g++ $CUDA_PACKAGES
    ln -sfn cuda-11.7 /usr/local/cuda
}
