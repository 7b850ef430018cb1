# shellcheck shell=sh
# Sourced instead of build.sh by RUN steps that change a Python environment.

. /run/fimg/build.sh

# What is built from source is to be the same every time: some packages write sets in the order these have, and what
# debuggers read names the folder of the build, which is never the same.
export PYTHONHASHSEED=0 CFLAGS=-g0
# What the environment holds, and in its first line the date it was resolved as of: images that add to it keep to both.
FIMG_LOCK=/data/projects/python/requirements.lock
FIMG_CACHE=/run/cache/python
UV_VERSION=0.13.9
# The folders of its cache: what is built from source, and all else.
UV_BUILT=sdists-v11
UV_DOWNLOADED='archive-v0 builds-v0 flat-index-v7 interpreter-v5 simple-v28 wheels-v8'
# Its builds for x86-64 and, by age of glibc, arm64.
UV_SUMS='d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19
    5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe
    ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375'
if [ -z "${SOURCE_DATE:-}" ] && [ -f "$FIMG_LOCK" ]; then
    SOURCE_DATE=$(sed -n '1s/^# as of //p' "$FIMG_LOCK")
fi
SOURCE_DATE=${SOURCE_DATE:-}
case "$SOURCE_DATE" in
    '' | [0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]) ;;
    *) die "SOURCE_DATE must be a date (YYYY-MM-DD), not '$SOURCE_DATE'" ;;
esac

uv() {
    [ -n "${fimg_uv:-}" ] || uv_start
    "$fimg_uv/bin/uv" "$@"
}

uv_start() {
    # Unpacked once for all steps: it is 60 MB, and most of them are done in a second.
    fimg_uv=$FIMG_CACHE/uv-$UV_VERSION-$(uname -m)
    if [ ! -d "$fimg_uv" ]; then
        fimg_new=$(mktemp -d $FIMG_CACHE/new.XXXXXX)
        {
            printf 'uv==%s' "$UV_VERSION"
            # shellcheck disable=SC2086  # one for each
            printf ' --hash=sha256:%s' $UV_SUMS
        } > /run/tmp/uv.txt
        # By environment: the pip of Debian 11 does not know the option.
        PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
            --no-cache-dir --require-hashes --target "$fimg_new" -r /run/tmp/uv.txt
        # Another step may have been faster.
        mv -T "$fimg_new" "$fimg_uv" 2> /run/tmp/why || rm -rf "$fimg_new"
    fi
    uv_cache
    export UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
    export UV_HTTP_TIMEOUT=300 UV_HTTP_RETRIES=5 UV_INDEX_STRATEGY=unsafe-best-match UV_CONFIG_FILE=/run/uv.toml
    # Whoever compiles a package first has its lock meanwhile, which may take long, above all under emulation.
    export UV_LOCK_TIMEOUT=7200
    # PyTorch's own index does not say when its files came. What FATE takes from it is pinned; whatever else it carries
    # has no date, so that it is taken from the others.
    echo 'exclude-newer-package = { torch = false, torchvision = false }' > /run/uv.toml
    uv_index "${PIP_INDEX_URL:-https://pypi.org/simple}" 'default = true'
    for fimg_url in ${PIP_EXTRA_INDEX_URL:-}; do
        uv_index "$fimg_url"
    done
    [ -z "$SOURCE_DATE" ] || export UV_EXCLUDE_NEWER="$SOURCE_DATE"
}

# uv_cache: what is downloaded is kept for all builds, what is built from source for those of the same date and system
# only: the tools that build it are resolved as of that date, and what they built is not to depend on who came first.
uv_cache() {
    fimg_day=${SOURCE_DATE:-today}-$(. /etc/os-release; echo "$ID-$VERSION_ID")
    export UV_CACHE_DIR="$FIMG_CACHE/of-$fimg_day"
    mkdir -p "$UV_CACHE_DIR" "$FIMG_CACHE/uv/$UV_BUILT/$fimg_day"
    link_once "../uv/$UV_BUILT/$fimg_day" "$UV_CACHE_DIR/$UV_BUILT"
    for fimg_folder in $UV_DOWNLOADED; do
        mkdir -p "$FIMG_CACHE/uv/$fimg_folder"
        link_once "../uv/$fimg_folder" "$UV_CACHE_DIR/$fimg_folder"
    done
    # What was built is unpacked there, too, and linked to as seen from one folder further up.
    link_once ../archive-v0 "$FIMG_CACHE/uv/$UV_BUILT/archive-v0"
    # Whoever tidies it has to know who is using it.
    : >> "$FIMG_CACHE/uv/.lock"
    link_once ../uv/.lock "$UV_CACHE_DIR/.lock"
}

# link_once TARGET LINK: a link, which another step may be making at this moment.
link_once() {
    [ -L "$2" ] || ln -s "$1" "$2" 2> /run/tmp/why || [ -L "$2" ] || die "$(cat /run/tmp/why)"
}

# uv_index URL [SETTING]: one more package index. Mirrors often don't say how long their answers hold, and uv would
# download every file anew; but a file of a package index never changes.
uv_index() {
    printf '[[index]]\nurl = "%s"\n%s\ncache-control = { files = "max-age=365000000, immutable" }\n' "$1" "${2:-}" \
        >> /run/uv.toml
}

# python_headers: pip and Python.h for a base whose Python is Debian's; others have them.
python_headers() {
    python3 -c 'import os, pip, sysconfig; os.stat(sysconfig.get_paths()["include"] + "/Python.h")' 2> /run/tmp/why ||
        apt_install python3-dev python3-pip
}

# python_create FOLDER: a virtual environment with the build tools FATE's requirements can live with
# (pulsar-client 2.10.2 has metadata that pip 24.1 and later refuse).
python_create() {
    uv venv --quiet --python "$(command -v python3)" "$1"
    # These are fixed by hand, so the date of the source does not limit them.
    (
        unset UV_EXCLUDE_NEWER
        uv pip install --quiet --python "$1/bin/python" pip==24.0 setuptools==65.7.0 wheel==0.40.0
    )
}

# python_indexes VARIANT: lets uv know the optional indexes with builds for VARIANT, which is cpu or cuda.
python_indexes() {
    fimg_variant=$1
    case "$1" in
        cpu) fimg_flavour=cpu ;;
        cuda) fimg_flavour=cu117 ;;
        *) die "python_indexes: unknown variant $1" ;;
    esac
    # Before anything is added to the settings that its first call makes.
    uv --version
    fimg_indexes=
    fimg_sources=PyPI
    [ -z "${PIP_INDEX_URL:-}" ] || fimg_sources=PIP_INDEX_URL
    [ -z "${PIP_EXTRA_INDEX_URL:-}" ] || fimg_sources="$fimg_sources PIP_EXTRA_INDEX_URL"
    if index_enabled pytorch PYTORCH_INDEX_URL; then
        fimg_indexes=pytorch
        fimg_sources="$fimg_sources PYTORCH_INDEX_URL"
        uv_index "${PYTORCH_INDEX_URL%/}/$fimg_flavour"
    fi
    if index_enabled pyg PYG_FIND_LINKS; then
        fimg_indexes="$fimg_indexes pyg"
        fimg_sources="$fimg_sources PYG_FIND_LINKS"
        python_find_links "${PYG_FIND_LINKS%/}/torch-1.13.0+$fimg_flavour.html"
    fi
}

# python_find_links PLACE: one more page or folder of packages for uv.
python_find_links() {
    export UV_FIND_LINKS="${UV_FIND_LINKS:+$UV_FIND_LINKS,}$1"
}

# python_adapt FILE...: requirement files of FATE, adapted to the indexes there are (requirements.py says what and why),
# as /run/tmp/requirements.in; what of it is compiled as /run/tmp/compiled; and of what the environment has, to be kept,
# /run/tmp/constraints. After python_indexes.
python_adapt() {
    if [ ! -f "$FIMG_LOCK" ]; then
        : > /run/tmp/constraints
    elif [ "$fimg_variant" = cuda ]; then
        # A build for the CPU (1.13.1+cpu) gives way to the one for CUDA.
        sed '/+/d' "$FIMG_LOCK" > /run/tmp/constraints
    else
        cp "$FIMG_LOCK" /run/tmp/constraints
    fi
    python3 /run/fimg/requirements.py --variant "$fimg_variant" --indexes "$fimg_indexes" \
        --constraints /run/tmp/constraints --compiled /run/tmp/compiled --output /run/tmp/requirements.in "$@"
}

# python_requirements VARIANT FILE...: adapts requirement files of FATE for VARIANT (cpu or cuda), resolves them as of
# SOURCE_DATE beside what the environment has, and installs the result. What is compiled against torch is taken from the
# package `graph`, which has to be mounted at /run/graph then.
python_requirements() {
    python_indexes "$1"
    shift
    [ ! -d /run/graph ] || python_find_links "/run/graph/$fimg_variant"
    python_adapt "$@"
    set --
    for fimg_name in $(sed 's/[^A-Za-z0-9._-].*//' /run/tmp/compiled); do
        set -- "$@" --only-binary "$fimg_name"
    done
    python_take "FATE's requirements" /run/tmp/constraints "$@"
    python_finish
}

# python_take WHAT CONSTRAINTS [OPTION...]: resolves /run/tmp/requirements.in, which is called WHAT, as of SOURCE_DATE and
# installs that.
python_take() {
    fimg_what=$1
    fimg_constraints=$2
    shift 2
    say "resolving as of ${SOURCE_DATE:-today}"
    python_known > /run/tmp/requirements.lock
    uv pip compile --quiet --python "$VIRTUAL_ENV/bin/python" --no-header --constraints "$fimg_constraints" "$@" \
        --no-emit-package pip --no-emit-package setuptools --no-emit-package wheel \
        --output-file /run/tmp/requirements.lock /run/tmp/requirements.in 2> /run/tmp/why ||
        die "$fimg_what can't be resolved as of ${SOURCE_DATE:-today} with ${fimg_sources:-the indexes there are}: $(cat /run/tmp/why)"
    uv pip install --no-deps "$@" -r /run/tmp/requirements.lock
}

# python_known: the versions that were taken before as of SOURCE_DATE, on machines of this kind. uv prefers what is in the
# file it writes to, also where its author has withdrawn it since.
python_known() {
    sed -n "/^# as of $SOURCE_DATE on $(uname -m)\$/,/^\$/{/^[^#]/p}" /run/fimg/known-versions.txt
}

# python_install REQUIREMENT...: installs into the environment without moving what is there.
python_install() {
    printf '%s\n' "$@" > /run/tmp/requirements.in
    python_take "$*" "$FIMG_LOCK"
    python_finish
}

# python_project FOLDER...: installs checkouts (they stay as they are) with the build tools of the environment.
python_project() {
    for fimg_project in "$@"; do
        python_wheel "$fimg_project" /run/tmp/projects "$VIRTUAL_ENV/bin/python" --no-build-isolation
    done
    python_install /run/tmp/projects/*.whl
    python_replace /run/tmp/projects
}

# python_wheel FOLDER TARGET PYTHON [OPTION...]: a wheel of a checkout, which stays as it is, in the folder TARGET; made
# with PYTHON and options of `uv build`.
python_wheel() {
    fimg_source=/run/tmp/wheel-$(basename "$1")
    cp -r "$1" "$fimg_source"
    fimg_target=$2
    fimg_python=$3
    shift 3
    uv build --quiet --wheel --python "$fimg_python" --out-dir "$fimg_target" "$@" "$fimg_source"
}

# python_replace FOLDER: installs the wheels in a folder in place of what the environment has of their names. By name and
# version, as from an index: pip would note down where a file was.
python_replace() {
    fimg_folder=$1
    set --
    for fimg_wheel in "$fimg_folder"/*.whl; do
        fimg_wheel=${fimg_wheel##*/}
        fimg_name=${fimg_wheel%%-*}
        fimg_version=${fimg_wheel#*-}
        set -- "$@" "$fimg_name==${fimg_version%%-*}"
    done
    uv pip install --no-index --find-links "$fimg_folder" --no-deps --reinstall "$@"
    python_finish
}

# python_finish: the end of every change to the environment. Byte code is checked against the source's hash: it does not
# depend on file times, and edits in a container still count.
python_finish() {
    uv pip freeze --python "$VIRTUAL_ENV/bin/python" > /run/tmp/installed
    {
        echo "# as of $SOURCE_DATE"
        sed '/ @ /d; /^pip==/d' /run/tmp/installed
    } > /run/tmp/frozen
    # What a compiler wrote before influences what it writes next, hence the fixed portions and their order.
    find "$VIRTUAL_ENV/lib" -name '*.py' -cnewer "$FIMG_MARK" -print0 | LC_ALL=C sort -z |
        xargs -0 -r -n 200 -P "$(nproc)" "$VIRTUAL_ENV/bin/python" /run/fimg/bytecode.py
    # Two of FATE's packages put theirs there, and whose it is would be chance.
    rm -f "$VIRTUAL_ENV/README.md"
    # Of the one who made it: nobody is to lock an image's environment.
    rm -f "$VIRTUAL_ENV/.lock"
    # Others may be using the cache: then it is tidied another time.
    UV_LOCK_TIMEOUT=1 uv cache prune --quiet --cache-dir $FIMG_CACHE/uv 2> /run/tmp/why || true
    cmp -s /run/tmp/frozen "$FIMG_LOCK" || cp /run/tmp/frozen "$FIMG_LOCK"
    settle "${VIRTUAL_ENV%/*}"
}
