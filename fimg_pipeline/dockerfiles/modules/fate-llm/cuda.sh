# shellcheck shell=sh
# cuda_install: NVIDIA's CUDA 11.7 toolkit (as PyTorch 1.13.1 was built with) when the index 'cuda' is enabled.
# CUDA_APT_REPOSITORY is the apt source it is on: URL SUITE [COMPONENT...]; NVIDIA's for Debian 11 has that version.

CUDA_PACKAGES='cuda-compiler-11-7 cuda-cudart-dev-11-7 libcublas-dev-11-7 libcurand-dev-11-7 libcusolver-dev-11-7
    libcusparse-dev-11-7'

cuda_install() {
    if ! index_enabled cuda CUDA_APT_REPOSITORY; then
        say "no CUDA toolkit: CUDA_APT_REPOSITORY is not configured, so DeepSpeed can't compile operations of its own"
        return 0
    fi
    # Debian has no key for it; the transport vouches for a host that was named on purpose.
    apt_source "deb [trusted=yes] $CUDA_APT_REPOSITORY"
    cuda_find
    # shellcheck disable=SC2086  # one argument for each
    apt_install g++ $CUDA_PACKAGES
    ln -sfn cuda-11.7 /usr/local/cuda
}

# cuda_find: an error that names the setting when the toolkit is not there.
cuda_find() {
    apt_configure
    apt-get update -q -o Dir::Etc::sourcelist=/run/sources.d/fimg.list -o Dir::Etc::sourceparts=/dev/null \
        -o APT::Get::List-Cleanup=false > /run/tmp/why 2>&1 ||
        die "CUDA_APT_REPOSITORY can't be read as an apt source: $(sed -n '/^E: /{p;q}' /run/tmp/why)"
    for cuda_package in $CUDA_PACKAGES; do
        apt-cache show "$cuda_package" > /run/tmp/why 2>&1 ||
            die "the apt source that CUDA_APT_REPOSITORY names has no $cuda_package"
    done
}
