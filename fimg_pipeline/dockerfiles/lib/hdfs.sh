# shellcheck shell=sh
# hdfs_build FOLDER: compiles libhdfs.so into FOLDER. By it pyarrow, and so FATE, reaches HDFS. Hadoop gives it out within
# its own archive only, which no package registry has; the source of pydoop holds the same files (Apache License 2.0).

. /run/fimg/python.sh

PYDOOP='pydoop==2.0.0 --hash=sha256:c7eb2ad8c36d2a75dc1c6cee701928334614f2e862a70798b0cb278e3102f77d'

hdfs_build() {
    apt_install gcc libc6-dev openjdk-17-jdk-headless
    python_headers
    # To download a source, pip asks it for its requirements, which needs the build tools of its time.
    python_create /environment
    echo "$PYDOOP" > /run/tmp/pydoop.txt
    /environment/bin/python -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
        --no-build-isolation --no-binary :all: --require-hashes --dest /run/tmp --requirement /run/tmp/pydoop.txt ||
        die "the source of libhdfs (${PYDOOP%% *}) can't be had from ${PIP_INDEX_URL:-PyPI} (PIP_INDEX_URL)"
    tar -xzf /run/tmp/pydoop-*.tar.gz -C /run/tmp
    cd /run/tmp/pydoop-*/src/libhdfs
    # For the stack traces in its errors: Hadoop 3 has that library's successor.
    grep -q org/apache/commons/lang/ exception.c || die "libhdfs: exception.c is another"
    sed -i 's|org/apache/commons/lang/|org/apache/commons/lang3/|' exception.c
    jdk=/usr/lib/jvm/java-17-openjdk-$(dpkg --print-architecture)
    mkdir -p "$1"
    gcc -shared -fPIC -O2 -w "$CFLAGS" -I"$jdk/include" -I"$jdk/include/linux" -I. -Iinclude -Ios/posix \
        hdfs.c jni_helper.c exception.c common/htable.c os/posix/*.c \
        -L"$jdk/lib/server" -ljvm -Wl,-rpath,/usr/lib/jvm/java-17/lib/server -o "$1/libhdfs.so"
    settle "$1"
}
