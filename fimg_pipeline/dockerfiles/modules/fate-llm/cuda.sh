# shellcheck shell=sh
# cuda_install: NVIDIA's CUDA 11.7 toolkit (as PyTorch 1.13.1 was built with) when the index 'cuda' is enabled.
# CUDA_APT_REPOSITORY is the apt source it is on: URL SUITE [COMPONENT...], e.g. `https://host/cuda/repos/debian11 /`.

cuda_install() {
    if ! index_enabled cuda CUDA_APT_REPOSITORY; then
        say "no CUDA toolkit: CUDA_APT_REPOSITORY is not configured, so DeepSpeed can't compile operations of its own"
        return 0
    fi
    # Debian has no key for it; the transport vouches for a host that was named on purpose.
    apt_source "deb [trusted=yes] $CUDA_APT_REPOSITORY"
    apt_install g++ cuda-compiler-11-7 cuda-cudart-dev-11-7 libcublas-dev-11-7 libcusparse-dev-11-7 \
        libcusolver-dev-11-7 libcurand-dev-11-7
    ln -sfn cuda-11.7 /usr/local/cuda
}
